"""Time to add a batch to the counts of mean intersection over union: ours beside torchmetrics.

python -m benchmarks.miou            # 4 x 512 x 1024, 19 classes

Both are first checked to agree on the IoU of each class. torchmetrics does not look whether the ids fit; ours does. It
is given the batch in 8 bits, as ours is, and in 64, which is what it counts in. They take turns on one thread, and the
clock is that of the process: other work on the machine does not count.
"""

import argparse
import platform
import time
from functools import partial
from importlib.metadata import version

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from benchmarks.timing import median_ms
from inverseform.metrics.segmentation import Confusion
from inverseform.sample import IGNORE_INDEX


def batch(size: tuple[int, ...], *, classes: int) -> tuple[Tensor, Tensor]:
    """Predictions of which seven in ten are right, and labels of which one in twenty is not known."""
    generator = torch.Generator().manual_seed(0)
    labels, other = (torch.randint(0, classes, size, generator=generator).byte() for _ in range(2))
    chance = torch.rand(size, generator=generator)
    return labels.where(chance < 0.7, other), labels.where(chance.roll(1) >= 0.05, IGNORE_INDEX)


def check(predicted: Tensor, labels: Tensor, *, classes: int) -> None:
    """Stop unless both find the same.

    Raises:
        SystemExit: They do not.
    """
    ours, theirs = Confusion(classes), jaccard(classes)
    ours.update(predicted, labels)
    theirs.update(predicted, labels)
    found = torch.tensor([float("nan") if value is None else value for value in ours.scores().iou])
    if not torch.allclose(found, theirs.compute(), rtol=0, atol=1e-6):
        raise SystemExit(f"the two do not agree: {found.tolist()} and {theirs.compute().tolist()}")


def jaccard(classes: int) -> MulticlassJaccardIndex:
    """Of torchmetrics, as fast as it can be had."""
    return MulticlassJaccardIndex(classes, average=None, ignore_index=IGNORE_INDEX, validate_args=False)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(4, 512, 1024), help="batch, height, width")
    parser.add_argument("--classes", type=int, nargs="+", default=(2, 11, 19, 40, 150))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{' x '.join(map(str, given.size))}, {platform.processor() or platform.machine()}, one thread, milliseconds",
        end="",
    )
    print(f" of the processor, torch {torch.__version__}, torchmetrics {version('torchmetrics')}; IoU equal to 1e-6")
    print(f"{'classes':>7}{'ours':>8}{'torchmetrics':>14}{'of 64 bits':>12}{'ratios':>14}")
    for classes in given.classes:
        predicted, labels = batch(tuple(given.size), classes=classes)
        check(predicted, labels, classes=classes)
        wide = predicted.long(), labels.long()
        for _ in range(given.turns):
            ours, theirs = Confusion(classes), jaccard(classes)
            calls = (partial(ours.update, predicted, labels), partial(theirs.update, predicted, labels))
            one, two, three = (
                median_ms(call, repeats=given.repeats, clock=time.process_time)
                for call in (*calls, partial(theirs.update, *wide))
            )
            print(f"{classes:7}{one:8.1f}{two:14.1f}{three:12.1f}{two / one:8.1f}{three / one:6.1f}")


if __name__ == "__main__":
    main()
