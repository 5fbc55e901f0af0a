import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from inverseform.metrics.edge_matching import OUTLIER, UNITS, match
from inverseform.settings import InputError


def drawn(seed, *, shape, density):
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < density)


def distances(predicted, annotated):
    """Of each predicted pixel from each annotated one."""
    ours, theirs = predicted.nonzero().numpy(), annotated.nonzero().numpy()
    return np.hypot(*np.moveaxis(ours[:, None] - theirs, -1, 0))


def most(predicted, annotated, radius):
    """The largest number of pairs, by paths that grow it."""
    near = distances(predicted, annotated) <= radius
    return int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum()) if near.size else 0


def cheapest(predicted, annotated, radius):
    """The least cost of a dense table in which every pixel may stay alone, in the benchmark's units."""
    apart = distances(predicted, annotated)
    ours, theirs = apart.shape
    alone = math.ceil(OUTLIER * UNITS * radius)
    # A pixel alone has a partner that is nobody; two of them that are left over cost as much again as in the benchmark.
    table = np.full((ours + theirs, ours + theirs), float(alone))
    table[:ours, :theirs] = np.where(apart <= radius, np.rint(UNITS * apart), 10.0**9)
    return table[linear_sum_assignment(table)].sum()


def cost(predicted, annotated, matched, radius):
    """What the matched pixels cost at best; that they can all be matched is looked at on the way."""
    apart = distances(matched, annotated)
    alone = math.ceil(OUTLIER * UNITS * radius)
    pairs = int(matched.sum())
    table = np.where(apart <= radius, np.rint(UNITS * apart), 10.0**9)
    within = table[linear_sum_assignment(table)].sum() if pairs else 0.0
    return within + alone * (int(predicted.sum()) + int(annotated.sum()) - pairs)


cases = given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([0.02, 0.2, 0.5, 1.0]),
    st.sampled_from([0.02, 0.2, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.3]),
)


@settings(deadline=None, max_examples=200)
@cases
def test_no_matching_has_more_pairs_or_costs_less(seed, shape, ours, theirs, radius):
    maps, annotated = drawn(seed, shape=(10, *shape), density=ours), drawn(seed + 1, shape=shape, density=theirs)
    for predicted, matched in zip(maps, match(maps, annotated, radius=radius), strict=True):
        assert not (matched & ~predicted).any()
        assert int(matched.sum()) == most(predicted, annotated, radius)
        assert cost(predicted, annotated, matched, radius) == cheapest(predicted, annotated, radius)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6))
def test_maps_do_not_see_each_other(seed):
    # As at rising thresholds, with one that differs from the last only far from every annotated pixel.
    predicted = torch.stack([drawn(seed, shape=(12, 30), density=density) for density in (0.6, 0.4, 0.4, 0.1, 0.0)])
    annotated = drawn(seed + 1, shape=(12, 30), density=0.2)
    annotated[:, 20:] = False
    predicted[2, :, 25:] = ~predicted[2, :, 25:]
    alone = [match(each[None], annotated, radius=1.5)[0] for each in predicted]
    assert torch.equal(match(predicted, annotated, radius=1.5), torch.stack(alone))


def test_one_annotated_pixel_takes_the_nearest():
    predicted = torch.tensor([[True, True, False, True, True]])
    annotated = torch.tensor([[False, False, False, True, False]])
    assert match(predicted[None], annotated, radius=3)[0].tolist() == [[False, False, False, True, False]]


def test_a_pair_gives_way_where_that_makes_two():
    # 1 is nearest to 1, which is all that 0 can have; 2 is within reach of 1 and 3.
    predicted = torch.tensor([[True, True, False, False]])
    annotated = torch.tensor([[False, True, True, False]])
    assert match(predicted[None], annotated, radius=1)[0].tolist() == [[True, True, False, False]]


@pytest.mark.parametrize(("radius", "found"), [(4.999, 0), (5.0, 1), (5.001, 1)])
def test_the_radius_itself_is_within_reach(radius, found):
    predicted, annotated = torch.zeros(4, 5, dtype=torch.bool), torch.zeros(4, 5, dtype=torch.bool)
    predicted[0, 0] = annotated[3, 4] = True
    assert int(match(predicted[None], annotated, radius=radius).sum()) == found


@pytest.mark.parametrize(("ours", "theirs"), [(False, False), (True, False), (False, True)])
def test_nothing_is_matched_where_one_side_is_empty(ours, theirs):
    predicted, annotated = torch.full((1, 4, 5), ours), torch.full((4, 5), theirs)
    assert not match(predicted, annotated, radius=2).any()
    assert match(predicted[:0], annotated, radius=2).shape == (0, 4, 5)


def test_all_are_matched_where_both_are_everywhere():
    everywhere = torch.ones(6, 7, dtype=torch.bool)
    assert match(everywhere[None], everywhere, radius=2).all()


def test_without_scipy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    line = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(InputError, match=r"pip install inverseform\[metrics\]"):
        match(line[None], line, radius=1)
