"""Labels to boundary maps: one operator for ingest, pairs, loss and metrics.

Convention, stated once. A boundary map is 1 on both sides of every border between two known classes: 2 pixels wide at
radius 1, and 2 more with each radius. There is none at the frame of the image (the labels go on beyond it) and none
against ignored pixels. `valid` goes with it: 0 where an ignored pixel hides the answer. Class 0 is like any other.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer, Shaped
from pydantic import Field
from torch import Tensor

from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

Operator = Literal["sobel", "inequality"]


class BoundaryParams(Settings):
    """How boundaries are made from labels."""

    operator: Operator
    """sobel: the paper's; a pixel counts where the Sobel response of some class's indicator map is not zero.
    inequality: a pixel counts where any of its eight neighbours has another class; it keeps lines of one pixel."""
    radius: int = Field(ge=1, le=64)
    """Pixels on each side of a border."""


def boundaries(
    labels: Integer[Tensor, "batch height width"],
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
    operator: Operator = "sobel",
    radius: int = 1,
) -> tuple[Float[Tensor, "batch 1 height width"], Float[Tensor, "batch 1 height width"]]:
    """Boundary map of a label map, and where it is known (sec. 3.5).

    The Sobel test is exact per class, at a cost that does not grow with the number of classes: the weighted sums of
    two columns' indicator vectors are equal only if the columns hold the same classes with the same weights, which
    is decided by comparing ids (`_balanced`). A Sobel filter on the ids themselves misses borders where ids cancel.

    Args:
        labels: Class ids in [0, num_classes), or `ignore_index`; any integer type.
        num_classes: How many classes there are.
        ignore_index: Label of a pixel whose class is not known.
        operator: `sobel` (the paper) or `inequality`; see `BoundaryParams`.
        radius: Pixels on each side of a border.

    Returns:
        boundary: 1.0 on a boundary, else 0.0.
        valid: 1.0 where that is known: not an ignored pixel, and not one that saw no boundary
            but has an ignored pixel within the radius.

    Raises:
        InputError: A label is neither a class nor `ignore_index`. (Not looked for on a GPU, where it would cost a
            synchronisation.)

    >>> boundaries(torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]]), num_classes=2)[0].int().squeeze()
    tensor([[0, 1, 1, 0],
            [0, 1, 1, 0]], dtype=torch.int32)
    """
    # torch wraps a number that 8 bits cannot hold: as uint8, 256 classes would be 0 and -1 the label 255.
    ids = labels.short() if labels.dtype.itemsize == 1 else labels
    ignored = ids == ignore_index
    if not labels.is_cuda and not torch.compiler.is_compiling():
        _check(ids, ignored, num_classes, ignore_index)
    window = _window(labels, ignored)
    # An edge test sees one pixel to each side: the first pixel of the radius, and the dilation adds the others.
    edge = (_sobel(window) if operator == "sobel" else _unequal(window)) & ~ignored
    boundary = _dilate(edge[:, None].float(), radius - 1) * ~ignored[:, None]
    hidden = _dilate(ignored[:, None].float(), radius)
    # A boundary that was seen stays one, whatever an ignored pixel near it hides.
    valid = torch.maximum(boundary, 1 - hidden) * ~ignored[:, None]
    return boundary, valid


def probability_boundaries(
    probabilities: Float[Tensor, "batch classes height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """Boundary map of class probabilities, differentiable: the soft twin of `boundaries` at radius 1.

    The largest total-variation distance, half the L1 difference, between a pixel's probabilities and those of its
    eight neighbours; in [0, 1]. On one-hot probabilities it is the inequality operator.
    """
    height, width = probabilities.shape[-2:]
    largest = probabilities.new_zeros(probabilities.shape[0], height, width)
    # Half of the eight neighbours: the other half are the same pairs, seen from their other pixel.
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here, there = _neighbours(height, width, down, right)
        distance = (probabilities[..., *here] - probabilities[..., *there]).abs().sum(dim=1) / 2
        # Both pixels of the pair see the difference; padding with zeros changes no maximum.
        for rows, columns in (here, there):
            around = (columns.start, width - columns.stop, rows.start, height - rows.stop)
            largest = torch.maximum(largest, F.pad(distance, around))
    return largest[:, None]


def _check(labels: Tensor, ignored: Tensor, num_classes: int, ignore_index: int) -> None:
    wrong = ~ignored & ((labels < 0) | (labels >= num_classes))
    if wrong.any():
        batch, row, column = (int(i) for i in wrong.nonzero()[0])
        raise InputError(
            f"labels hold {int(labels[batch, row, column])} (sample {batch}, row {row}, column {column}): ids go from "
            f"0 to {num_classes - 1}, or are ignore_index={ignore_index}; set num_classes or ignore_index"
        )


def _window(
    labels: Integer[Tensor, "batch height width"], ignored: Bool[Tensor, "batch height width"]
) -> list[list[Integer[Tensor, "batch height width"]]]:
    """The 3x3 neighbours of every pixel, by row and column.

    An ignored neighbour takes the pixel's own class, one beyond the frame that of the pixel at the frame nearest to it:
    neither brings in a class that was not there, so neither makes a boundary.
    """
    height, width = labels.shape[-2:]
    padded, unknown = _pad(labels), _pad(ignored)
    window = []
    for top in range(3):
        row = []
        for left in range(3):
            part = (slice(None), slice(top, top + height), slice(left, left + width))
            row.append(torch.where(unknown[part], labels, padded[part]))
        window.append(row)
    return window


def _pad(maps: Shaped[Tensor, "batch height width"]) -> Shaped[Tensor, "batch height+2 width+2"]:
    """Maps with their frame repeated once around them; by concatenation, as F.pad cannot repeat integers."""
    wide = torch.cat([maps[..., :1], maps, maps[..., -1:]], dim=-1)
    return torch.cat([wide[:, :1], wide, wide[:, -1:]], dim=1)


def _sobel(window: list[list[Integer[Tensor, "batch height width"]]]) -> Bool[Tensor, "batch height width"]:
    """Whether the Sobel response of any class's indicator map is not zero."""
    # The middle column, and the middle row, has the weight 0 in its kernel.
    columns = list(zip(*window, strict=True))
    return ~(_balanced(columns[0], columns[2]) & _balanced(window[0], window[2]))


def _balanced(
    one: tuple[Shaped[Tensor, "*shape"], ...] | list[Shaped[Tensor, "*shape"]],
    other: tuple[Shaped[Tensor, "*shape"], ...] | list[Shaped[Tensor, "*shape"]],
) -> Bool[Tensor, "*shape"]:
    """Whether two sides of the Sobel kernel, three ids weighted 1, 2, 1 each, cancel for every class at once.

    e(a) + 2 e(b) + e(c) = e(x) + 2 e(y) + e(z), with e(i) the indicator of class i, holds in two ways only: the middles
    are equal and the ends are, in some order; or both ends of each side equal the middle of the other.
    """
    (a, b, c), (x, y, z) = one, other
    same = (b == y) & (((a == x) & (c == z)) | ((a == z) & (c == x)))
    crossed = (a == c) & (x == z) & (a == y) & (x == b)
    return same | crossed


def _unequal(window: list[list[Integer[Tensor, "batch height width"]]]) -> Bool[Tensor, "batch height width"]:
    centre = window[1][1]
    differs = torch.zeros_like(centre, dtype=torch.bool)
    for row in window:
        for neighbour in row:
            differs |= neighbour != centre
    return differs


def _dilate(map: Float[Tensor, "batch 1 height width"], radius: int) -> Float[Tensor, "batch 1 height width"]:
    return F.max_pool2d(map, 2 * radius + 1, stride=1, padding=radius) if radius else map


def _neighbours(height: int, width: int, down: int, right: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where both pixels of a pair lie in the image: the first ones, and those `down` and `right` of them."""
    here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
    there = slice(down, height), slice(max(0, right), width + min(0, right))
    return here, there
