"""A network that sees an image through a sliding window: it needs memory for one window, whatever the image's size."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from inverseform.arrays import array_functions


def slide(
    logits_of: Callable[[Any], Any],
    images: Float[Any, "batch 3 height width"],
    *,
    window: tuple[int, int],
    overlap: float,
) -> Float[Any, "batch classes height width"]:
    """Logits of every pixel: the mean of what the network gives for it in each window that covers it.

    Windows lie and are averaged as mmsegmentation does it (EncoderDecoder.slide_inference: logits, each window of the
    same weight), but that an image smaller than the window is padded at the right and below with 0, the mean of the
    training images, as the networks pad; every window has one shape. The network runs on one window at a time; kept
    besides are the sums, of batch x classes x height x width floats of 32 bits.

    Args:
        logits_of: From a window of the images to its logits, at its size.
        images: Normalised.
        window: Height and width in pixels.
        overlap: Of neighbouring windows, as a share of the window's side, in [0, 1).
    """
    space = array_functions(images)
    height, width = images.shape[-2:]
    padded = _padded(images, window)
    rows, columns = (starts(padded.shape[axis - 2], window[axis], overlap=overlap) for axis in (0, 1))
    sums: Any = None
    for top in rows:
        for left in columns:
            place = (..., slice(top, top + window[0]), slice(left, left + window[1]))
            logits = space.asarray(logits_of(padded[place]), dtype=space.float32)
            if sums is None:
                shape = (*logits.shape[:2], *padded.shape[-2:])
                sums = space.zeros(shape, dtype=space.float32, device=logits.device)
            sums[place] += logits
    # Windows lie in rows and columns: how many cover a pixel is a product.
    sums /= _covers(sums, rows, window[0], axis=-2)[:, None]
    sums /= _covers(sums, columns, window[1], axis=-1)
    return sums[..., :height, :width]


def starts(side: int, window: int, *, overlap: float) -> list[int]:
    """Where windows begin along a side that is no shorter than they are: they cover it, and none sticks out.

    The last is shifted inwards, so that it overlaps more than the others.

    >>> starts(10, 4, overlap=0.25)
    [0, 3, 6]
    >>> starts(11, 4, overlap=0.25)
    [0, 3, 6, 7]
    """
    stride = max(1, window - round(window * overlap))
    return [*range(0, side - window, stride), side - window]


def _padded(images: Any, window: tuple[int, int]) -> Any:  # noqa: ANN401 (an array of numpy or torch)
    """Images at least as large as the window."""
    height, width = images.shape[-2:]
    if height >= window[0] and width >= window[1]:
        return images
    shape = (*images.shape[:2], max(height, window[0]), max(width, window[1]))
    padded = array_functions(images).zeros(shape, dtype=images.dtype, device=images.device)
    padded[..., :height, :width] = images
    return padded


def _covers(sums: Any, begins: list[int], window: int, *, axis: int) -> Any:  # noqa: ANN401 (an array of numpy or torch)
    """How many windows cover each row, or each column."""
    space = array_functions(sums)
    counts = space.zeros((sums.shape[axis],), dtype=space.float32, device=sums.device)
    for begin in begins:
        counts[begin : begin + window] += 1
    return counts
