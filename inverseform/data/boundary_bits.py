"""The boundary map of one label map of 8 bits, packed as the sample store keeps it: `boundary.boundaries`, for ingest.

The definition is that of `inverseform.boundary`, which its tests hold this room to, bit for bit. There it serves any
device, type and batch; here, on arrays of bytes and without numbers between 0 and 1, it takes a tenth of the time.
"""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from inverseform.boundary import BoundaryParams
from inverseform.sample import IGNORE_INDEX

BOUNDARY = 1
"""Bit of a pixel on a boundary."""
VALID = 2
"""Bit of a pixel of which that is known."""
_BAND = 1 << 17
"""Pixels of a band: a dozen arrays of so many bytes stay in a core's cache."""

Window = list[list[Shaped[np.ndarray, "*pixels"]]]
"""The 3x3 neighbours of some pixels, by row and column."""


def boundary_bits(
    labels: UInt8[np.ndarray, "height width"], params: BoundaryParams
) -> UInt8[np.ndarray, "height width"]:
    """BOUNDARY and VALID of each pixel; labels are class ids below 255, or 255 where the class is not known."""
    height, width = labels.shape
    ignored = labels == IGNORE_INDEX
    padded = np.pad(labels, 1, mode="edge")
    edge = np.empty_like(ignored)
    band = max(1, _BAND // width)
    for top in range(0, height, band):
        rows = slice(top, min(top + band, height))
        edge[rows] = _edges(_window(padded[top : rows.stop + 2], rows.stop - top, width), params)
    known = ~ignored
    hidden = spread(ignored, 1)
    _without_ignored(edge, padded, hidden & known, params)
    edge &= known
    boundary = spread(edge, params.radius - 1) & known
    valid = (boundary | ~spread(hidden, params.radius - 1)) & known
    return boundary.view(np.uint8) | (valid.view(np.uint8) << 1)


def spread(mask: Bool[np.ndarray, "height width"], radius: int) -> Bool[np.ndarray, "height width"]:
    """Whether any pixel of the square of a radius is set, in a number of steps that grows with the logarithm of it."""
    for axis in (0, 1):
        reach = 0
        while reach < radius:
            # No further than what is covered and one more: at the frame, a longer step would begin outside of it.
            step = min(radius - reach, reach + 1)
            lines, wider = np.moveaxis(mask, axis, 0), mask.copy()
            shifted = np.moveaxis(wider, axis, 0)
            shifted[step:] |= lines[:-step]
            shifted[:-step] |= lines[step:]
            mask, reach = wider, reach + step
    return mask


def _without_ignored(
    edge: Bool[np.ndarray, "height width"],
    padded: UInt8[np.ndarray, "height+2 width+2"],
    near: Bool[np.ndarray, "height width"],
    params: BoundaryParams,
) -> None:
    """Decide anew, in place, where a known pixel has an ignored neighbour: that takes the class of the pixel itself."""
    rows, columns = np.divmod(np.flatnonzero(near), near.shape[1])
    wide = padded.shape[1]
    corner = rows * wide + columns
    flat = padded.ravel()
    own = flat[corner + wide + 1]
    window: Window = [[flat[corner + down * wide + right] for right in range(3)] for down in range(3)]
    taken = [[np.where(ids == IGNORE_INDEX, own, ids) for ids in row] for row in window]
    edge[rows, columns] = _edges(taken, params)


def _window(padded: UInt8[np.ndarray, "tall wide"], height: int, width: int) -> Window:
    return [[padded[down : down + height, right : right + width] for right in range(3)] for down in range(3)]


def _edges(window: Window, params: BoundaryParams) -> Bool[np.ndarray, "*pixels"]:
    return _sobel(window) if params.operator == "sobel" else _unequal(window)


def _sobel(window: Window) -> Bool[np.ndarray, "*pixels"]:
    """`boundary._balanced` of columns and of rows, with the comparisons that both need made once."""
    (a, b, c), (d, _, f), (g, h, i) = window
    across = (a == c) & (g == i)
    down = (a == g) & (c == i)
    diagonals = (a == i) & (c == g)
    columns = ((d == f) & (across | diagonals)) | (down & (a == f) & (c == d))
    rows = ((b == h) & (down | diagonals)) | (across & (a == h) & (g == b))
    return ~(columns & rows)


def _unequal(window: Window) -> Bool[np.ndarray, "*pixels"]:
    centre = window[1][1]
    differs = np.zeros(centre.shape, dtype=bool)
    for row in window:
        for neighbour in row:
            differs |= neighbour != centre
    return differs
