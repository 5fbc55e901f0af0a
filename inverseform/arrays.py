"""What numpy and torch compute alike, by the names of the array standard that both have.

An array goes through its own library and stays on its device; numpy alone is imported here, so that an exported network
is used where torch is absent.
"""

from typing import Any

import numpy as np
from jaxtyping import Float


def array_functions(array: Any) -> Any:  # noqa: ANN401 (numpy and torch name the same functions alike)
    """The module that an array belongs to."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def softmax(logits: Float[Any, "batch classes height width"]) -> Float[Any, "batch classes height width"]:
    """Class probabilities, finite for logits of any size."""
    space = array_functions(logits)
    powers = space.exp(logits - space.amax(logits, 1, keepdims=True))
    powers /= space.sum(powers, 1, keepdims=True)
    return powers


def mirrored(maps: Float[Any, "batch channels height width"]) -> Float[Any, "batch channels height width"]:
    """Left and right exchanged, as a copy: few networks take numpy's views that run backwards."""
    backwards = array_functions(maps).arange(maps.shape[-1] - 1, -1, -1, device=maps.device)
    return _taken(maps, backwards, axis=-1)


def bilinear(
    maps: Float[Any, "batch channels height width"], size: tuple[int, int]
) -> Float[Any, "batch channels rows columns"]:
    """Maps of 32 bits at another size (rows, columns), as torch's `F.interpolate` with align_corners=False gives them.

    Without antialiasing, as cv2.INTER_LINEAR too: what is shrunk to less than half leaves out pixels. The size that it
    has already gives the same array.
    """
    for axis, length in ((-2, size[0]), (-1, size[1])):
        if maps.shape[axis] != length:
            maps = _stretched(maps, length, axis=axis)
    return maps


def _stretched(maps: Any, length: int, *, axis: int) -> Any:  # noqa: ANN401 (an array of numpy or torch)
    """Each new cell along an axis a blend of the two old ones that its centre lies between."""
    space, old = array_functions(maps), maps.shape[axis]
    centres = space.arange(length, dtype=space.float64, device=maps.device) + 0.5
    # As torch does it: the ratio has 32 bits, and a place is rounded to them once, by a fused multiply-add. At 2000
    # pixels another rounding shows in the fourth digit.
    ratio = float(np.float32(old) / np.float32(length))
    places = space.clip(space.asarray(centres * ratio - 0.5, dtype=space.float32), 0, None)
    before = space.clip(space.asarray(places, dtype=space.int64), 0, old - 1)
    after = space.clip(before + 1, 0, old - 1)
    share = places - space.asarray(before, dtype=space.float32)
    low, high = (_taken(maps, cells, axis=axis) for cells in (before, after))
    share = share[:, None] if axis == -2 else share
    # In place: these maps hold every class at full size.
    low *= 1 - share
    high *= share
    low += high
    return low


def _taken(maps: Any, cells: Any, *, axis: int) -> Any:  # noqa: ANN401 (arrays of numpy or torch)
    """Rows or columns of maps; the two libraries name this differently, and indexing is slow in numpy."""
    return maps.take(cells, axis) if isinstance(maps, np.ndarray) else maps.index_select(axis, cells)
