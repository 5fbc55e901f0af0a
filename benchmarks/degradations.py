"""Time of each degradation alone and of all together, for a batch of tiles on one thread.

    python -m benchmarks.degradations

Each with probability 0.3, and all with those of params.yaml; then how long tiles take to be cut. Prints medians of
several runs, in time of the thread (what else the machine does is not counted), and the machine.
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from jaxtyping import Float
from torch import Tensor

from benchmarks.timing import median_ms
from inverseform.boundary import boundaries
from inverseform.degradation import DEGRADATIONS, DegradationParams, degrade
from inverseform.pairs import cut
from inverseform.transform import TransformRanges, draw, identity

COUNT, RUNS, PROBABILITY = 128, 15, 0.3
STRENGTHS = {"jitter_pixels": 3.0, "thick_radius": 3, "blur_sigma": 3.0, "clutter": 0.9, "noise": 0.3}
NONE = {**dict.fromkeys(DEGRADATIONS, 0.0), **STRENGTHS}


def scene(height: int, width: int) -> Float[Tensor, "1 height width"]:
    """Boundaries of labels in patches."""
    coarse = torch.randint(0, 9, (1, 1, height // 24, width // 24), generator=torch.Generator().manual_seed(0))
    labels = torch.nn.functional.interpolate(coarse.float(), size=(height, width), mode="nearest")[0].long()
    return boundaries(labels, num_classes=9)[0][0]


def measured(function: Callable[[], object]) -> float:
    """Median milliseconds of the thread: the machine may have other work."""
    return median_ms(function, repeats=RUNS, clock=time.thread_time)


def main() -> None:
    """Print the tables."""
    torch.set_num_threads(1)
    print(f"{COUNT} tiles, 1 thread, torch {torch.__version__}, {platform.processor() or platform.machine()}")
    written = yaml.safe_load(Path("params.yaml").read_text())["train_inverse"]["degradation"]
    rows = {name: {**NONE, name: PROBABILITY} for name in DEGRADATIONS}
    rows["all"] = {**dict.fromkeys(DEGRADATIONS, PROBABILITY), **STRENGTHS}
    rows["none"], rows["as in params.yaml"] = NONE, written
    print("| degradation, with probability 0.3 | tile 64, ms | tile 128, ms |\n|:--|--:|--:|")
    seeds, boundary = torch.arange(COUNT) * 7919, scene(360, 480)
    origins = torch.randint(0, 200, (COUNT, 2), generator=torch.Generator().manual_seed(1))
    still = identity(COUNT, like=boundary)
    tiles = {side: cut(boundary, origins, still, tile=side).float() for side in (64, 128)}
    for name, values in rows.items():
        params = DegradationParams.model_validate(values, strict=False)
        times = [measured(lambda params=params, each=each: degrade(each, seeds, params)) for each in tiles.values()]
        print(f"| {name} | {times[0]:.2f} | {times[1]:.2f} |")
    ranges = TransformRanges(translation=0.2, scale=(0.85, 1.18), rotation=12.0, shear=8.0, perspective=0.1)
    print("\n| cut, ms per 128 tiles | tile 64 | tile 128 |\n|:--|--:|--:|")
    for name, theta in (
        ("identity", still),
        ("affine", draw(COUNT, ranges, degrees_of_freedom=6, generator=torch.Generator().manual_seed(0))),
        ("homography", draw(COUNT, ranges, degrees_of_freedom=8, generator=torch.Generator().manual_seed(0))),
    ):
        times = [
            measured(lambda side=side, theta=theta: cut(boundary, origins, theta, tile=side)) for side in (64, 128)
        ]
        print(f"| {name} | {times[0]:.2f} | {times[1]:.2f} |")


if __name__ == "__main__":
    main()
