"""odsF, oisF and AP of edge detectors on BSDS500: ours beside `pyedgeeval` and beside the benchmark's own program.

    python -m benchmarks.edges --data bsds500 --release BSDS500 --work DIR --detectors ucm
    python -m benchmarks.edges --data bsds500 --release BSDS500 --work DIR --images 10 --peer edgeenv/bin/python

`--data` has test/images/*.jpg and test/boundaries/*.png, the share of the annotators who marked a pixel. Shares do not
tell who drew what, so nested annotators are made of them: what anybody marked, what two marked, ... Their values are
not those of BSDS500. `--release`, a checkout of github.com/BIDS/BSDS500 and in it the folder BSDS500, has the
annotators themselves, and for the detector `ucm` (gPb-owt-ucm) maps and the figures that the benchmark's MATLAB program
gave.

`pyedgeeval` is GPL and is never imported here: `--peer` is the Python of an environment with it and with
opencv-python-headless, scikit-image and scipy, and runs benchmarks/edges_peer.py. Both sides deal the images out to
`--processes`, in turns: first ours, then the peer, detector by detector. Maps are 8 bits deep, as the benchmark's are.
"""

import argparse
import json
import multiprocessing
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from inverseform.data.bsds500 import annotation
from inverseform.data.matlab import read_mat
from inverseform.metrics.edges import EdgeScores
from inverseform.settings import InputError

Grey = np.ndarray
"""Height by width, 0 to 1."""


def sobel(image: Grey) -> Grey:
    """Gradient magnitude, of the image's largest."""
    from skimage.filters import sobel

    return _of_largest(sobel(image))


def canny(image: Grey) -> Grey:
    """Gradient magnitude on the ridges of Canny's suppression, before any threshold: all of his thresholds at once."""
    from scipy.ndimage import gaussian_filter, sobel
    from skimage.feature import canny

    smooth = gaussian_filter(image, 2)
    ridges = canny(image, sigma=2, low_threshold=0, high_threshold=0)
    return _of_largest(np.hypot(sobel(smooth, 0), sobel(smooth, 1)) * ridges)


def _of_largest(magnitude: Grey) -> Grey:
    return magnitude / max(magnitude.max(), 1e-9)


DETECTORS: dict[str, Callable[[Grey], Grey]] = {"sobel": sobel, "canny": canny}


def nested(shares: np.ndarray) -> np.ndarray:
    """Annotators that agree with shares of 0 to 255: of n, the i-th has marked what at least i did.

    Raises:
        InputError: No number of annotators gives these shares.
    """
    levels = np.unique(shares)
    for people in range(1, 13):
        steps = np.arange(people + 1)
        if np.isin(levels, [np.floor(255 * steps / people), np.rint(255 * steps / people)]).all():
            return np.stack([shares >= int(255 * step / people) for step in steps[1:]])
    raise InputError(
        f"shares of {levels.tolist()}: not 255 x i / n for any n up to 12; give boundaries/*.png of --data"
    )


def prepare(given: argparse.Namespace, detector: str) -> list[Path]:
    """A file of map and annotators for each image."""
    photos = sorted((given.data / "test" / "images").glob("*.jpg"))
    if not photos:
        raise InputError(f"--data {given.data}: holds no test/images/*.jpg; name the folder of bsds500")
    files = []
    for photo in photos[:: max(1, len(photos) // given.images)][: given.images]:
        if given.release:
            path = given.release / "data" / "groundTruth" / "test" / f"{photo.stem}.mat"
            annotators = annotation(path, annotator="median").edges > 0
        else:
            annotators = nested(np.asarray(Image.open(given.data / "test" / "boundaries" / f"{photo.stem}.png")))
        if detector == "ucm":
            # On a grid of twice the size, where the edges between pixels have places of their own.
            (doubled,) = read_mat(given.release / "ucm2" / "test" / f"{photo.stem}.mat", "ucm2")
            probability = doubled[2::2, 2::2]
        else:
            grey = np.asarray(Image.open(photo).convert("L"), dtype=np.float64) / 255
            probability = np.rint(255 * DETECTORS[detector](grey)) / 255
        files.append(given.work / f"{detector}_{photo.stem}.npz")
        np.savez(files[-1], probability=probability.astype(np.float64), annotators=annotators)
    return files


def one(file: Path) -> tuple[EdgeScores, float]:
    """The scores of one image, and the seconds of a core."""
    torch.set_num_threads(1)
    scores = EdgeScores()
    start = time.process_time()
    with np.load(file) as image:
        scores.update(torch.from_numpy(image["probability"]), torch.from_numpy(image["annotators"]))
    return scores, time.process_time() - start


def ours(files: list[Path], processes: int) -> tuple[EdgeScores, float]:
    """The scores of the set, and the seconds of all cores; images are dealt out one by one."""
    whole, seconds = EdgeScores(), 0.0
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        for each, spent in pool.imap_unordered(one, files):
            seconds += spent
            whole.counts += each.counts
            whole.best += each.best
            whole.images += each.images
    return whole, seconds


def theirs(files: list[Path], given: argparse.Namespace) -> dict[str, Any]:
    """The same from `pyedgeeval`."""
    program = Path(__file__).with_name("edges_peer.py")
    command = [str(given.peer), str(program), str(given.processes), *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=given.work)
    return json.loads(done.stdout.splitlines()[-1])


def measure(given: argparse.Namespace, detector: str) -> None:
    """Print the rows of one detector."""
    files = prepare(given, detector)
    start = time.perf_counter()
    whole, seconds = ours(files, given.processes)
    minutes, found = (time.perf_counter() - start) / 60, whole.scores()
    people = "annotators of the release" if given.release else "annotators nested by share"
    print(f"\n{detector}, {len(files)} images, {people}, {given.processes} processes")
    print(f"{'':24}{'odsF':>8}{'at':>8}{'oisF':>8}{'AP':>8}{'minutes':>9}{'of a core':>11}")
    _row("ours", [found.ods, found.threshold, found.ois, found.ap], minutes, seconds / 60)
    if detector == "ucm" and len(files) == 200:
        table = given.release / "ucm2" / "test_eval"
        at, _, _, ods, _, _, ois, ap = np.loadtxt(table / "eval_bdry.txt")
        _row("MATLAB, as released", [ods, at, ois, ap])
        recall, precision = np.loadtxt(table / "eval_bdry_thr.txt")[:, 1:3].T
        mine = whole.counts.double()
        off = [
            mine[:, 0] / mine[:, 1] - torch.from_numpy(recall),
            mine[:, 2] / mine[:, 3] - torch.from_numpy(precision),
        ]
        print("ours - MATLAB over the thresholds: " + ", ".join(
            f"{name} {float(each.min()):+.5f} to {float(each.max()):+.5f}"
            for name, each in zip(("recall", "precision"), off, strict=True)))  # fmt: skip
    if given.peer:
        other = theirs(files, given)
        values = [other[name] for name in ("ods", "threshold", "ois", "ap")]
        _row("pyedgeeval", values, other["seconds"] / 60, other["of_cores"] / 60)
        off = np.abs(np.asarray(other["counts"]) / whole.counts.numpy().clip(1) - 1)[:, [0, 2, 3]].max(0)
        names = ("annotated matched", "predicted matched", "predicted")
        print("greatest relative difference of counts: "
              + ", ".join(f"{name} {value:.5f}" for name, value in zip(names, off, strict=True)))  # fmt: skip


def _row(name: str, values: list[float | None], *minutes: float) -> None:
    cells = "".join(f"{'none' if value is None else format(value, '.4f'):>8}" for value in values)
    times = "".join(f"{value:>{width}.2f}" for value, width in zip(minutes, (9, 11), strict=False))
    print(f"{name:24}{cells}{times}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="bsds500, with test/images and test/boundaries")
    parser.add_argument("--release", type=Path, help="BSDS500 as released, for its annotators and gPb-owt-ucm")
    parser.add_argument("--work", type=Path, required=True, help="folder for what both sides read")
    parser.add_argument("--detectors", nargs="+", default=[*DETECTORS], choices=[*DETECTORS, "ucm"])
    parser.add_argument("--images", type=int, default=200, help="so many of the 200, evenly taken (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--peer", type=Path, help="the Python of an environment with pyedgeeval")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if "ucm" in given.detectors and not given.release:
        parser.error("--detectors ucm: its maps are in the release; give --release BSDS500")
    for detector in given.detectors:
        measure(given, detector)


if __name__ == "__main__":
    main()
