"""Time of the mean boundary accuracy of one image: ours beside a dilation and an erosion for each class and radius.

python -m benchmarks.mba            # 1024 x 2048, 19 classes

The plain way is written with OpenCV where it can be imported, else with scipy. Both are first checked to agree. They
take turns on one thread, and the clock is that of the process: other work on the machine does not count. With numpy in
the comparison, leave OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE unset.
"""

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.timing import median_ms
from inverseform.metrics.boundary import BoundaryAccuracy, count, ellipse, mean_accuracy, radii


def scene(height: int, width: int, *, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rectangles of random classes, and a prediction that is the same two pixels farther right."""
    random = np.random.default_rng(0)
    labels = np.zeros((height, width), dtype=np.uint8)
    for _ in range(300):
        top, left = random.integers(0, height), random.integers(0, width)
        labels[top : top + random.integers(8, 200), left : left + random.integers(8, 200)] = random.integers(0, classes)
    return torch.from_numpy(np.roll(labels, 2, axis=1)), torch.from_numpy(labels)


def plain(predicted: np.ndarray, labels: np.ndarray, *, classes: int) -> float:
    """The definition as it reads."""
    gradient, shares = _gradient(), []
    for radius in radii(*labels.shape):
        rows = [ellipse(radius)[abs(row)] for row in range(-radius, radius + 1)]
        kernel = np.array([[abs(column) <= half for column in range(-radius, radius + 1)] for half in rows])
        region = np.zeros(labels.shape, dtype=bool)
        for name in range(classes):
            region |= gradient(labels == name, kernel)
        shares.append((predicted == labels)[region].mean())
    return float(np.mean(shares))


def _gradient() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    try:
        import cv2
    except ImportError:
        from scipy import ndimage

        return lambda mask, kernel: (
            ndimage.binary_dilation(mask, kernel) & ~ndimage.binary_erosion(mask, kernel, border_value=1)
        )
    return lambda mask, kernel: cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_GRADIENT, kernel.astype(np.uint8)) > 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=1024)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--repeats", type=int, default=7, help="of each way, in every turn")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    one_thread()
    predicted, labels = scene(given.height, given.width, classes=given.classes)
    windows = [ellipse(radius) for radius in radii(given.height, given.width)]

    def mba() -> float | None:
        return mean_accuracy(count(predicted, labels, windows=windows))

    def whole() -> float | None:
        return BoundaryAccuracy().update(predicted, labels)

    def theirs() -> float:
        return plain(predicted.numpy(), labels.numpy(), classes=given.classes)

    if abs((whole() or 0.0) - theirs()) > 1e-12:
        raise SystemExit(f"the two do not agree: {whole()} and {theirs()}")
    print(f"{given.height} x {given.width}, {given.classes} classes, radii {radii(given.height, given.width)}")
    print(f"{platform.processor() or platform.machine()}, one thread, milliseconds of the processor, torch", end=" ")
    print(f"{torch.__version__}; per class and radius: {'OpenCV' if _has_opencv() else 'scipy'}; equal to 1e-12")
    print(f"{'mBA':>10}{'mBA and accuracy within':>26}{'per class and radius':>24}{'ratios':>16}")
    for _ in range(given.turns):
        ours = median_ms(mba, repeats=given.repeats, clock=time.process_time)
        all_of_it = median_ms(whole, repeats=given.repeats, clock=time.process_time)
        slow = median_ms(theirs, repeats=min(given.repeats, 3), clock=time.process_time)
        print(f"{ours:10.1f}{all_of_it:26.1f}{slow:24.1f}{slow / ours:10.1f}{slow / all_of_it:6.1f}")


def one_thread() -> None:
    """Both ways on one thread, so that a ratio does not say how busy the other cores are."""
    torch.set_num_threads(1)
    if _has_opencv():
        import cv2

        cv2.setNumThreads(1)


def _has_opencv() -> bool:
    try:
        import cv2  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    main()
