"""Synthesize beside a loop over torchvision's `affine` on single tiles: pairs per second, bytes per pair, peak memory.

    python -m benchmarks.synthesize                      # on scenes drawn for it
    python -m benchmarks.synthesize --samples DIR        # on a folder that ingest wrote

The loop takes tiles of the same samples, transforms each by itself, and writes with the same Parquet writer. Both have
one core, and their runs take turns. Memory is the peak of a process of its own for N and for 10 N pairs: of the stage,
and of one epoch of batches read by PairStore, as train_inverse reads them.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from components import stage
from components.pair_params import SynthesizeParams
from components.synthesize import synthesize, write_shard
from components.tiles import tiles
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data import pair_store
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.pair_store import Origin, Pairs, PairStore
from inverseform.data.sample_store import DatasetInfo, SampleStore, write_info, write_samples
from inverseform.data.stored_sample import stored
from inverseform.pairs import crop
from inverseform.params import load_section
from inverseform.transform import compose

HEIGHT, WIDTH, CLASSES, IMAGES = 360, 480, 6, 32
BATCH = 256


def draw_samples(folder: Path) -> None:
    """Samples of random rectangles, as large as CamVid's."""
    info = DatasetInfo(
        source="drawn", classes=tuple("abcdef"), colours=((0, 0, 0),) * CLASSES,
        boundary=BoundaryParams(operator="sobel", radius=1), counts={"train": IMAGES, "val": IMAGES},
    )  # fmt: skip
    folder.mkdir(parents=True)
    for split in info.counts:
        rows = (_scene(f"{split}-{n}", torch.Generator().manual_seed(n)) for n in range(IMAGES))
        write_samples(folder, info, split, rows, shard_bytes=1 << 27)
    write_info(folder, info)


def _scene(name: str, generator: torch.Generator):  # noqa: ANN202 (a row of the store)
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.uint8)
    for _ in range(24):
        top, left, high, wide, klass = (
            int(torch.randint(most, (), generator=generator)) for most in (HEIGHT, WIDTH, 150, 150, CLASSES)
        )
        labels[0, top : top + high, left : left + wide] = klass
    edge, valid = boundaries(labels, num_classes=CLASSES)
    image = (labels[0, ..., None].expand(-1, -1, 3) * 40).contiguous().numpy()
    return stored(name, Reading(encode_png(image), image, labels[0].numpy()), edge[0], valid[0])


def loop_of_torchvision(params: SynthesizeParams, store: SampleStore, folder: Path) -> None:
    """The first shard of train, made one tile at a time."""
    settings = {"tile": params.tile}
    pair_store.write(folder / "train", 0, _one_by_one(params, store), settings=settings)


def _one_by_one(params: SynthesizeParams, store: SampleStore) -> Iterator[tuple[Pairs, Origin]]:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import RandomAffine
    from torchvision.transforms.v2.functional import affine

    ranges = params.ranges
    shift = ranges.translation / 2
    random = RandomAffine(ranges.rotation, (shift, shift), ranges.scale, ranges.shear)
    generator = torch.Generator().manual_seed(params.seed)
    count, each = min(params.shard_pairs, params.train_pairs), params.pairs_per_sample
    for sample, places in tiles(params, store, "train", turn=0, count=count, each=each, generator=generator):
        still = crop(sample.boundary, places, params.tile)
        moved, theta = [], []
        for tile in still:
            chosen = random.make_params([tile[None]])
            moved.append(affine(tile[None], **chosen, interpolation=InterpolationMode.NEAREST)[0])
            theta.append(_theta(chosen, params.tile))
        seed = torch.randint(2**40, (len(places),), generator=generator)
        pairs = Pairs(still > 0.5, torch.stack(moved) > 0.5, torch.cat(theta), seed)
        yield pairs, Origin([sample.name] * len(places), places)


def _theta(chosen: dict, tile: int) -> Tensor:
    shift = torch.tensor([chosen["translate"]]) * 2 / tile
    angle, shear = (torch.tensor([math.radians(degrees)]) for degrees in (chosen["angle"], chosen["shear"][0]))
    return compose(shift, torch.full((1, 2), chosen["scale"]), angle, shear.tan())


def speed(params: SynthesizeParams, samples: Path, folder: Path, *, runs: int) -> tuple[list[float], list[float]]:
    """Pairs per second of both ways, run by run in turn; the first of each does not count."""
    store = SampleStore.open(samples)
    count = min(params.shard_pairs, params.train_pairs)
    ours, loop = [], []
    for _ in range(runs + 1):
        for found, make in (
            (ours, lambda: write_shard(params, store, folder, "train", 0)),
            (loop, lambda: loop_of_torchvision(params, store, folder)),
        ):
            begun = time.perf_counter()
            make()
            found.append(count / (time.perf_counter() - begun))
    return ours[1:], loop[1:]


def peak(what: str, params: SynthesizeParams, samples: Path, pairs: Path) -> tuple[float, dict]:
    """Peak memory in MiB of a process that makes pairs, or that reads an epoch of them; and what it reports."""
    command = [sys.executable, "-m", "benchmarks.synthesize", "--measure", what, "--settings", params.model_dump_json()]
    command += ["--samples", str(samples), "--pairs", str(pairs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    return report.pop("mib"), report


def measured(what: str, params: SynthesizeParams, samples: Path, pairs: Path) -> dict:
    """What such a process does."""
    torch.set_num_threads(1)
    report = {}
    if what == "make":
        paths = {"samples": samples, "pairs": pairs, "checkpoints": pairs.with_name(f"{pairs.name}-checkpoints")}
        report = stage.run(synthesize, params, paths)
    else:
        store = PairStore(pairs, "train")
        store.moments(params.degrees_of_freedom)
        for step in range(-(-len(store) // BATCH)):
            store.batch(step, BATCH, seed=1)
    # Not getrusage: its peak begins with that of the process which started this one.
    (high,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {**report, "mib": int(high.split()[1]) / 1024}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, help="a folder that ingest wrote (default: drawn scenes)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--pairs-count", type=int, default=32768, help="N (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--measure", choices=["make", "read"], help=argparse.SUPPRESS)
    parser.add_argument("--settings", help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        params = SynthesizeParams.model_validate_json(given.settings)
        print(json.dumps(measured(given.measure, params, given.samples, given.pairs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _report(given, Path(folder))


def _report(given: argparse.Namespace, folder: Path) -> None:
    samples = given.samples or folder / "samples"
    if not given.samples:
        draw_samples(samples)
    params = load_section(given.params, "synthesize", SynthesizeParams)
    torch.set_num_threads(1)
    source = SampleStore.open(samples).info.source
    print(f"samples: {source}; tile {params.tile}; medians of {given.runs}")
    print(f"torch {torch.__version__}, {platform.platform()}, {platform.processor()}\n")
    print("| figure | synthesize | beside | ratio | to reach |\n|---|--:|--:|--:|--:|")
    ours, loop = (statistics.median(found) for found in speed(params, samples, folder, runs=given.runs))
    print(f"| pairs per second, one core | {ours:.0f} | {loop:.0f} (torchvision) | {ours / loop:.1f} | 8 |")
    found = {}
    for factor in (1, 10):
        some = params.model_copy(update={"train_pairs": factor * given.pairs_count})
        pairs = folder / f"pairs-{factor}"
        found["make", factor], report = peak("make", some, samples, pairs)
        found["read", factor], _ = peak("read", some, samples, pairs)
        if factor == 1:
            stored, raw = report["bytes_per_pair"], 2 * params.tile**2
            print(f"| bytes per pair | {stored:.0f} | {raw} (8-bit tiles) | 1/{raw / stored:.1f} | 1/10 |")
    for what, words in (("make", "synthesize"), ("read", "an epoch read")):
        one, ten = found[what, 1], found[what, 10]
        print(f"| peak MiB, {words}, 10 N | {ten:.0f} | {one:.0f} (N = {given.pairs_count}) | {ten / one:.2f} | 1.1 |")


if __name__ == "__main__":
    main()
