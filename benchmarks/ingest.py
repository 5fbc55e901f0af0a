"""Ingest beside the decoding that it cannot do without, and its samples read back beside the files they came from.

    python -m benchmarks.ingest                                       # on scenes of 1024x2048 drawn for it
    python -m benchmarks.ingest --params recipes/camvid.yaml --raw data/raw

Both sides have the same processes, and their runs take turns; `--cpu` counts the seconds that cores worked, for a
machine that is busy otherwise. Decoding is the reader's own (bytes to arrays, with its
checks), and PIL's alone. Reading back is in one process, each sample once in a random order, each time after the files
were put out of the cache: into tensors of image, labels, boundary and valid from the store, of image and labels from
the files. Memory is the peak of a process of its own for N and for 10 N drawn images.
"""

import argparse
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from components.ingest import IngestParams, ingest
from components.processes import processes
from inverseform.boundary import BoundaryParams
from inverseform.data import open_dataset
from inverseform.data.dataset import Source
from inverseform.data.folder import FolderParams, FolderSource
from inverseform.data.procedural import COLOURS, DrawnScene, ProceduralParams
from inverseform.data.sample_store import SampleStore
from inverseform.params import load_section

SIZE = (1024, 2048)
PART = 16
"""Files that a process decodes in one go."""
SHARD_MIB = 16
"""So that there are many shards to a process, as a whole data set has them at the usual size."""


def draw(raw: Path, images: int) -> IngestParams:
    """A folder of drawn scenes, as large as those of Cityscapes: images as PNG, labels as PNG of ids."""
    data = ProceduralParams(name="procedural", train=images, val=1, test=1, size=SIZE, seed=1)
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (raw / split / kind).mkdir(parents=True)
        for number in range(images if split == "train" else 1):
            reading = DrawnScene(data, split, number).read()
            Image.fromarray(reading.image).save(raw / split / "images" / f"{number:04d}.png", compress_level=1)
            Image.fromarray(reading.labels).save(raw / split / "labels" / f"{number:04d}.png")
    classes = tuple(f"class {number}" for number in range(len(COLOURS)))
    own = FolderParams(name="folder", label_format="ids", classes=classes, colours=COLOURS, ignore_index=255)
    return IngestParams(data=own, boundary=BoundaryParams(operator="sobel", radius=1), workers=2, shard_mib=SHARD_MIB)


def by_reader(sources: tuple[Source, ...]) -> int:
    """Decode by the reader alone; how many there were."""
    return sum(source.read().labels.size > 0 for source in sources)


def by_pil(sources: tuple[FolderSource, ...]) -> int:
    """Decode by PIL alone, without a check."""
    for source in sources:
        np.asarray(Image.open(source.image).convert("RGB"))
        np.asarray(Image.open(source.labels))
    return len(sources)


class Clock:
    """Seconds of a call: by the wall, or of all cores by this process and those that it began and that ended."""

    def __init__(self, *, cpu: bool, workers: int) -> None:
        self._cpu, self._workers = cpu, workers

    def __call__(self, function: Callable[[], object]) -> float:
        """Call it."""
        begun = self._now()
        function()
        return self._now() - begun

    def _now(self) -> float:
        if not self._cpu:
            return time.perf_counter()
        # As if the cores had shared it evenly.
        return sum(os.times()[:4]) / self._workers


def writing(params: IngestParams, raw: Path, folder: Path, runs: int, timed: Clock) -> dict[str, list[float]]:
    """Images per second of ingest, of the reader and of PIL, run by run."""
    sources = [source for some in open_dataset(params.data, raw).splits.values() for source in some]

    def decode(function: Callable) -> None:
        with processes(params.workers) as spread:
            assert sum(spread(function, [tuple(sources[n : n + PART]) for n in range(0, len(sources), PART)])) == len(
                sources
            )

    def whole() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        ingest(params, raw=raw, samples=folder / "samples", checkpoints=folder / "checkpoints")

    found: dict[str, list[float]] = {"ingest": [], "reader": [], "pil": []}
    for _ in range(runs + 1):
        found["reader"].append(len(sources) / timed(lambda: decode(by_reader)))
        found["pil"].append(len(sources) / timed(lambda: decode(by_pil)))
        found["ingest"].append(len(sources) / timed(whole))
    # The first of each does not count.
    return {name: rates[1:] for name, rates in found.items()}


def reading(params: IngestParams, raw: Path, samples: Path, runs: int, timed: Clock) -> dict[str, list[float]]:
    """Samples per second read back in random order, from the store and from the files."""
    sources = list(open_dataset(params.data, raw).splits["train"])
    order = random.Random(0).sample(range(len(sources)), len(sources))

    def from_store() -> None:
        store = SampleStore.open(samples)
        for index in order:
            store.sample("train", index)

    def from_files() -> None:
        for index in order:
            found = sources[index].read()
            torch.from_numpy(found.image).permute(2, 0, 1).contiguous(), torch.from_numpy(found.labels)

    rates: dict[str, list[float]] = {"store": [], "files": []}
    for _ in range(runs):
        for name, function, folder in (("store", from_store, samples), ("files", from_files, raw)):
            forget(folder)
            rates[name].append(len(order) / timed(function))
    return rates


def forget(folder: Path) -> None:
    """Put the files of a folder out of the system's cache, and no others."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak(images: int, folder: Path) -> float:
    """Peak memory in MiB of a process that ingests drawn images."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--measure", str(images), "--work", str(folder)]
    return float(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def measured(images: int, folder: Path) -> float:
    """What such a process does: in itself, so that the peak is that of one worker as well."""
    data = ProceduralParams(name="procedural", train=images, val=1, test=1, size=(256, 512), seed=0)
    params = IngestParams(data=data, boundary=BoundaryParams(operator="sobel", radius=1), workers=1, shard_mib=64)
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    ingest(params, raw=folder / "raw", samples=folder / f"s{images}", checkpoints=folder / f"c{images}")
    (high,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(high.split()[1]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, help="settings whose section ingest reads --raw")
    parser.add_argument("--raw", type=Path, help="a data set laid out as data/raw/README.md says")
    parser.add_argument("--images", type=int, default=192, help="how many to draw without --raw (default: %(default)s)")
    parser.add_argument("--memory-images", type=int, default=100, help="N (default: %(default)s; 0 to leave it out)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="count the seconds that cores worked")
    parser.add_argument("--work", type=Path, help="where to write (default: a folder for temporary files)")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.measure:
        print(json.dumps(measured(given.measure, given.work)))
        return
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        _report(given, Path(folder))


def _medians(rates: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(found) for name, found in rates.items()}


def _report(given: argparse.Namespace, folder: Path) -> None:
    raw = given.raw or folder / "raw"
    params = load_section(given.params, "ingest", IngestParams) if given.params else draw(raw, given.images)
    print(f"{raw}, {params.workers} processes, medians of {given.runs}")
    print(f"torch {torch.__version__}, {platform.platform()}, {platform.processor()}\n")
    print("| figure | here | beside | ratio | to reach |\n|---|--:|--:|--:|--:|")
    clock, alone = Clock(cpu=given.cpu, workers=params.workers), Clock(cpu=given.cpu, workers=1)
    rates = _medians(writing(params, raw, folder / "out", given.runs, clock))
    for beside, words, aim in (("reader", "the reader alone", "0.85"), ("pil", "PIL alone", "")):
        here, there = rates["ingest"], rates[beside]
        print(f"| images per second, ingest | {here:.0f} | {there:.0f} ({words}) | {here / there:.2f} | {aim} |")
    back = _medians(reading(params, raw, folder / "out" / "samples", given.runs, alone))
    ratio = back["store"] / back["files"]
    print(f"| samples per second, shuffled | {back['store']:.0f} | {back['files']:.0f} (files) | {ratio:.2f} | 1.0 |")
    if given.memory_images:
        one, ten = (peak(factor * given.memory_images, folder / "memory") for factor in (1, 10))
        print(f"| peak MiB, ingest, 10 N | {ten:.0f} | {one:.0f} (N = {given.memory_images}) | {ten / one:.2f} | 1.1 |")


if __name__ == "__main__":
    main()
