"""Boundaries of labels: comparing ids, as `boundary.boundaries` does, against a Sobel filter on one-hot maps.

    python -m benchmarks.boundaries

Both give the same map, which is checked first. Prints medians of several runs and the machine.
"""

import platform

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from benchmarks.timing import median_ms
from inverseform.boundary import boundaries

HEIGHT, WIDTH, RUNS = 512, 1024, 5


def one_hot_sobel(labels: Int64[Tensor, "batch height width"], classes: int) -> Float[Tensor, "batch 1 height width"]:
    """An indicator map a class, each under both kernels: the plain way."""
    maps = F.pad(F.one_hot(labels, classes).movedim(-1, 1).float(), (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    both = torch.stack([kernel, kernel.T])[:, None].repeat(classes, 1, 1, 1)
    return (F.conv2d(maps, both, groups=classes) != 0).any(dim=1, keepdim=True).float()


def blobs(classes: int) -> Int64[Tensor, "1 height width"]:
    """Labels in patches, as segmentations are."""
    coarse = torch.randint(0, classes, (1, 1, HEIGHT // 32, WIDTH // 32), generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse.float(), size=(HEIGHT, WIDTH), mode="nearest")[0].long()


def main() -> None:
    """Print the table."""
    print(f"{HEIGHT}x{WIDTH}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.processor()}")
    print("| classes | ours, ms | one-hot Sobel, ms | ratio |\n|--:|--:|--:|--:|")
    for classes in (2, 19, 150):
        labels = blobs(classes)
        small = labels.to(torch.uint8)
        if not torch.equal(boundaries(small, num_classes=classes)[0], one_hot_sobel(labels, classes)):
            raise SystemExit(f"the two ways differ for {classes} classes")
        ours = median_ms(lambda labels=small, classes=classes: boundaries(labels, num_classes=classes), repeats=RUNS)
        plain = median_ms(lambda labels=labels, classes=classes: one_hot_sobel(labels, classes), repeats=RUNS)
        print(f"| {classes} | {ours:.1f} | {plain:.1f} | {plain / ours:.1f} |")


if __name__ == "__main__":
    main()
