"""A step of segmentation training: what InverseForm, our loop and our loader cost, and what a second process brings.

    python -m benchmarks.training_step [--size PIXELS] [--batch N] [--turns N] [--threads N]

HRNet-W18-Small-v2 with its boundary head, random weights, drawn scenes, eq. (6). Four trainings take turns:

- a plain loop in torch alone, gamma 0, its batches in memory;
- our loop (`inverseform.training.loop`) on the same batches, gamma 0: what the loop costs;
- the same with gamma 0.3 and the packaged inverse network: what InverseForm costs;
- our loop with gamma 0, its batches loaded in the loop from a store of samples: what loading costs at most, as
  `machine.workers` would load ahead.

Prints medians, and medians of the quotients within a turn, so that a busy moment of the machine falls on both sides.
Then examples per second of two gloo processes and of one, a thread each, on the same global batch.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from components.ingest import IngestParams, ingest
from components.segmentation_batches import Batch, Batches
from components.train_segmentation import TrainSegmentationParams, loss_function
from inverseform import InverseFormLoss, networks
from inverseform.boundary_aware import BoundaryAwareLoss
from inverseform.data.sample_store import SampleStore
from inverseform.params import load_section
from inverseform.training.batches import Part
from inverseform.training.checkpoint import Place
from inverseform.training.launch import Machine, launch
from inverseform.training.loop import train
from inverseform.training.optimiser import build, learning_rate

SCENES, KEPT, WARM = 16, 2, 2
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
Steps = Iterator[object]


class Bench(NamedTuple):
    """What all trainings share."""

    params: TrainSegmentationParams
    store: SampleStore
    machine: Machine
    folder: Path

    def network(self) -> networks.Segmenter:
        """The same random weights each time."""
        torch.manual_seed(0)
        return networks.build(self.params.network, num_classes=len(self.store.info.classes))

    def criterion(self, gamma: float) -> BoundaryAwareLoss:
        """Eq. (6)."""
        params, group = self.params.loss.model_copy(update={"gamma": gamma}), self.machine.group
        inverse, classes = InverseFormLoss.pretrained(group=group), len(self.store.info.classes)
        return BoundaryAwareLoss.of(params, inverse, num_classes=classes, group=group)

    def loader(self) -> Batches:
        """Batches from the store."""
        return Batches(self.store, self.params.augment, seed=1)

    def memory(self) -> Callable[[Part], Batch]:
        """A few of the same batches, again and again, from memory."""
        loader, size = self.loader(), self.params.optimiser.batch // self.machine.processes
        first = self.machine.rank * size
        kept = [loader(Part(step, first, size, step * self.params.optimiser.batch + first)) for step in range(KEPT)]
        return lambda part: kept[part.step % KEPT]._replace(step=part.step)

    def loop(self, name: str, *, gamma: float, batches: Callable[[Part], Batch]) -> Steps:
        """Our loop."""
        given = self.params.model_copy(update={"loss": self.params.loss.model_copy(update={"gamma": gamma})})
        loss = loss_function(self.criterion(gamma), given, mean=MEAN, std=STD)
        place = Place(self.folder / name, {}, {})
        return train(self.network(), batches, loss, given.optimiser, machine=self.machine, place=place)

    def plain(self) -> Steps:
        """The loop that anybody would write."""
        network, criterion, batches = self.network().train(), self.criterion(0.0), self.memory()
        optimiser = build(self.params.optimiser, network.parameters())
        for step in range(self.params.optimiser.steps):
            batch = batches(Part(step, 0, self.params.optimiser.batch, 0))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.params.optimiser, step)
            prediction = network(networks.normalise(batch.images, mean=MEAN, std=STD))
            terms = criterion(prediction.segmentation, batch.labels, boundary_logits=prediction.boundary)
            optimiser.zero_grad(set_to_none=True)
            terms.total.backward()
            optimiser.step()
            yield terms.total.item()


def opened(folder: Path, size: int, batch: int) -> Bench:
    """Scenes of a size, and the settings of params.yaml but for what the table is about."""
    # Rows of the curve ask for more: with so many steps there is none among those that are timed.
    changes = {
        "augment": {"crop": [size, size]}, "optimiser": {"batch": batch, "steps": 100_000},
        "validation": {"every": None},
    }  # fmt: skip
    params = load_section(
        Path("params.yaml"), "train_segmentation", TrainSegmentationParams, overrides=json.dumps(changes)
    )
    samples = folder / "samples"
    if not samples.exists():
        drawn = {"name": "procedural", "train": SCENES, "val": 1, "test": 1, "size": [size, size], "seed": 0}
        made = load_section(Path("params.yaml"), "ingest", IngestParams, overrides=json.dumps({"data": drawn}))
        (folder / "raw").mkdir()
        ingest(made, raw=folder / "raw", samples=samples, checkpoints=folder / "ingest")
    return Bench(params, SampleStore.open(samples), launch(params.machine), folder)


def turns(steps: dict[str, Steps], count: int) -> dict[str, list[float]]:
    """Seconds of each step, all trainings in turn; the first rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(count + WARM):
        for name, each in steps.items():
            begun = time.perf_counter()
            next(each)
            times[name].append(time.perf_counter() - begun)
    return {name: each[WARM:] for name, each in times.items()}


def quotient(times: dict[str, list[float]], one: str, other: str) -> float:
    """Median of the quotients within a turn."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def examples_per_second(folder: Path, size: int, batch: int, count: int) -> float:
    """Of our loop with InverseForm on this process and those beside it."""
    torch.set_num_threads(1)
    bench = opened(folder, size, batch)
    steps = bench.loop("shared", gamma=0.3, batches=bench.memory())
    found = turns({"": steps}, count)[""]
    return batch / statistics.median(found)


def processes(folder: Path, size: int, batch: int, count: int, number: int) -> float:
    """The same, of so many processes that are started for it."""
    command = [sys.executable, "-m"]
    if number > 1:
        command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(number), "-m"]
    command += ["benchmarks.training_step", "--share", str(folder), "--size", str(size), "--batch", str(batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--turns", str(count)], capture_output=True, text=True, check=True, env=environment
    )
    # torchrun lets all processes print; they are in step.
    return float(done.stdout.split()[0])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="height and width of the crops (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4, help="(default: %(default)s)")
    parser.add_argument("--turns", type=int, default=7, help="steps that count (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of the first table (default: %(default)s)")
    parser.add_argument("--share", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.share is not None:
        print(examples_per_second(given.share, given.size, given.batch, given.turns), flush=True)
        return
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = opened(folder, given.size, given.batch)
        steps = {
            "plain loop": bench.plain(),
            "our loop": bench.loop("loop", gamma=0.0, batches=bench.memory()),
            "our loop, InverseForm": bench.loop("inverse", gamma=0.3, batches=bench.memory()),
            "our loop, loading": bench.loop("loading", gamma=0.0, batches=bench.loader()),
        }
        times = turns(steps, given.turns)
        print(
            f"HRNet-W18-Small-v2, batch {given.batch} of {given.size}x{given.size}, {given.threads} threads, "
            f"{given.turns} turns; torch {torch.__version__}, {platform.machine()}\n\n"
            "| training | s a step | against | quotient | to reach |\n|---|--:|---|--:|--:|"
        )
        for one, other, aim in (
            ("plain loop", None, ""),
            ("our loop", "plain loop", 1.05),
            ("our loop, InverseForm", "our loop", 1.02),
            ("our loop, loading", "our loop", 1.05),
        ):
            found = f"{quotient(times, one, other):.3f}" if other else ""
            print(f"| {one} | {statistics.median(times[one]):.3f} | {other or ''} | {found} | {aim} |", flush=True)
        rates = [[processes(folder, given.size, given.batch, given.turns, n) for n in (1, 2)] for _ in range(2)]
        print("\n| | one process | two processes | quotient | to reach |\n|---|--:|--:|--:|--:|")
        for one, two in rates:
            print(f"| examples per second, a thread each | {one:.2f} | {two:.2f} | {two / one:.2f} | 1.6 |")


if __name__ == "__main__":
    main()
