"""Which predicted edge pixels are matched to annotated ones, one to one: the correspondence of the BSDS benchmark.

Two pixels can be a pair if their centres are at most a radius apart. The benchmark (Martin, Fowlkes and Malik, Learning
to detect natural image boundaries, IEEE TPAMI 26(5), 2004, appendix B) takes the pairs of least cost: a pair costs its
distance, a pixel left alone 100 radii. That is

    sum of distances - 100 radii x number of pairs + a constant,

so a further pair is worth whatever it makes of the others, unless more than 100 pairs have to change for it. The number
of pairs is therefore the largest possible, and with it recall, and precision against one annotator: any program for
the largest matching finds them. *Which* predicted pixels are matched is left open by the number. With several
annotators precision asks for it, as a pixel counts once whoever it is matched to: there the distances decide, in the
benchmark and here. Among ways that cost the same the benchmark's program takes one by chance (it draws edges for the
pixels left alone, seeded by the clock). Always the first in the order of the rows, say, would make the union smaller
and F lower, by up to .001 on BSDS500. So chance decides here too, but of a fixed seed: the same maps give the same.

The graph is sparse: a pixel has a few dozen others within the radius. scipy's solver of the sparse assignment problem
takes 2 to 30 milliseconds for a picture, exactly; its search for the largest matching, which knows no distances, takes
up to seconds for the same. Maps at several thresholds share the list of pairs, and maps that do not differ within
reach of an annotated pixel share their matching. They share no more: the benchmark and `pyedgeeval` thin after the
threshold, so a lower threshold does not just add pixels, and a matching cannot be carried on from the one above.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from inverseform.settings import InputError

OUTLIER = 100
"""Cost of a pixel left alone, in radii."""

UNITS = 100
"""Costs are whole numbers, as in the benchmark: distances are rounded to so many parts of a pixel."""

CHANCES = 256
"""Numbers that a pair may draw; of ways that cost the same, that of the least sum is taken."""


class _Pairs(NamedTuple):
    """All that may be matched, pair by pair, of numbered pixels."""

    predicted: Int[np.ndarray, " pairs"]
    annotated: Int[np.ndarray, " pairs"]
    cost: Int[np.ndarray, " pairs"]

    def where(self, kept: Bool[np.ndarray, " pairs"]) -> "_Pairs":
        return _Pairs(self.predicted[kept], self.annotated[kept], self.cost[kept])


def match(
    predicted: Bool[Tensor, "maps height width"], annotated: Bool[Tensor, "height width"], *, radius: float
) -> Bool[Tensor, "maps height width"]:
    """For each map, the predicted pixels that are matched; as many annotated ones are.

    The matching is scipy's, on the host.

    >>> line = torch.tensor([[True, True, False, True]])
    >>> match(line[None], torch.tensor([[False, True, False, False]]), radius=1)
    tensor([[[False,  True, False, False]]])

    Args:
        predicted: Lines one pixel wide (`metrics.thinning`), of one image at several thresholds.
        annotated: Lines of one annotator.
        radius: Greatest distance of the centres of a pair in pixels.

    Raises:
        InputError: scipy is not installed.
    """
    anywhere = predicted.any(0)
    pairs = _pairs(anywhere.numpy(force=True), annotated.numpy(force=True), radius)
    # Also where only pixels in the same place are pairs, at a cost of 0, it is better to be one.
    alone = max(1, math.ceil(OUTLIER * UNITS * radius))
    on = predicted[:, anywhere].numpy(force=True)
    matched = np.zeros_like(on)
    before = None
    for index in range(len(on)):
        there = on[index][pairs.predicted]
        if before is not None and np.array_equal(there, before):
            matched[index] = matched[index - 1]
        else:
            matched[index, _assigned(pairs.where(there), alone)] = True
        before = there
    found = torch.zeros_like(predicted)
    found[:, anywhere] = torch.from_numpy(matched).to(found.device)
    return found


def _pairs(
    predicted: Bool[np.ndarray, "height width"], annotated: Bool[np.ndarray, "height width"], radius: float
) -> _Pairs:
    """Pairs within the radius; pixels of each map are numbered row by row."""
    reach = math.floor(radius)
    numbers = np.full([side + 2 * reach for side in predicted.shape], -1)
    # The slice of a frame of no width would be empty were it written with negative ends.
    inner = numbers[reach : reach + predicted.shape[0], reach : reach + predicted.shape[1]]
    inner[predicted] = np.arange(np.count_nonzero(predicted))
    rows, columns = annotated.nonzero()
    squares = np.arange(-reach, reach + 1) ** 2
    down, right = (squares[:, None] + squares <= radius**2).nonzero()
    near = numbers[rows[:, None] + down, columns[:, None] + right]
    at, offset = (near >= 0).nonzero()
    cost = np.rint(UNITS * np.hypot(down - reach, right - reach)).astype(np.int64)
    return _Pairs(near[at, offset], at, cost[offset])


def _assigned(pairs: _Pairs, alone: int) -> Int[np.ndarray, " matched"]:
    """Predicted pixels in the pairs of least cost, where one of the side of fewer costs `alone` without a partner.

    Each pair saves as much as on the other side, whose pixels alone cost the same.
    """
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching
    except ImportError as error:
        raise InputError(
            "edge pixels are matched by scipy, which is not here: pip install inverseform[metrics]"
        ) from error

    if len(pairs.cost) == 0:
        return pairs.predicted
    predicted, annotated = _renumbered(pairs.predicted), _renumbered(pairs.annotated)
    # The solver adds row by row: the fewer rows the better.
    rows, columns = (annotated, predicted) if annotated.max() < predicted.max() else (predicted, annotated)
    height, width = rows.max() + 1, columns.max() + 1
    spare = np.arange(height)
    # Every row has a column of its own to be alone with, and so a full matching exists. What all rows may draw together
    # is less than the least difference of two costs; and no cost is 0, as such an edge is none to the solver.
    cost = np.concatenate([pairs.cost, np.full(height, alone)]) * (CHANCES * height)
    cost += np.random.default_rng(0).integers(1, CHANCES, len(cost), endpoint=True)
    ends = np.concatenate([rows, spare]), np.concatenate([columns, width + spare])
    graph = csr_array((cost, ends), shape=(height, width + height))
    row, column = min_weight_full_bipartite_matching(graph)
    matched = column < width
    side = column[matched] if columns is predicted else row[matched]
    return np.unique(pairs.predicted)[side]


def _renumbered(pixels: Shaped[np.ndarray, " pairs"]) -> Int[np.ndarray, " pairs"]:
    """Numbers without gaps, in the same order."""
    present = np.zeros(pixels.max() + 1, dtype=bool)
    present[pixels] = True
    return (np.cumsum(present) - 1)[pixels]
