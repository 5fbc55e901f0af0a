import math

import pytest
import torch
from scipy import stats

from benchmarks.losses.paired import difference


def test_the_interval_is_that_of_scipys_paired_t_test():
    draw = torch.randn(2, 7, generator=torch.Generator().manual_seed(0)).double().tolist()
    one, other = ({seed: value for seed, value in enumerate(values, start=1)} for values in draw)
    found = difference(one, other)
    test = stats.ttest_rel(draw[0], draw[1])
    interval = test.confidence_interval(0.95)
    assert found.seeds == 7
    assert found.mean == pytest.approx(sum(draw[0]) / 7 - sum(draw[1]) / 7)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.width == pytest.approx(interval.high - interval.low)


def test_only_seeds_that_both_have_are_paired():
    assert difference({1: 3.0, 2: 5.0, 9: 100.0}, {2: 1.0, 1: 1.0, 8: -50.0}) == difference(
        {1: 3.0, 2: 5.0}, {1: 1.0, 2: 1.0}
    )


def test_what_one_seed_or_none_leaves_open_is_none_and_its_width_infinite():
    for found, mean in ((difference({1: 2.0}, {1: 0.5}), 1.5), (difference({1: 2.0}, {2: 0.5}), None)):
        assert found.mean == mean
        assert found.low is None and found.high is None and found.width == math.inf


def test_pairing_takes_off_what_seeds_have_in_common():
    """What the design is for: seeds differ by much more than losses do."""
    other = {seed: 10.0 * seed for seed in range(1, 6)}
    one = {seed: value + 1 + 0.01 * (-1) ** seed for seed, value in other.items()}
    assert difference(one, other).width < 0.05
