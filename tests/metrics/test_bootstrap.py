import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from inverseform.metrics import segmentation
from inverseform.metrics.bootstrap import draws, interval, mean, miou, of_scores
from inverseform.settings import InputError


def tables(images, *, classes=3, seed=0, most=6):
    """Confusion counts of images; some classes are in few of them."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, most, (images, classes, classes)) // 2)


def test_the_interval_of_a_mean_is_that_of_scipy():
    scores = np.random.default_rng(0).beta(5, 2, 60)
    found = of_scores(scores.tolist(), resamples=40_000)
    wanted = stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=40_000, rng=1).confidence_interval
    # Two draws of 40,000: the ends differ by about a hundredth of their distance.
    within = 0.03 * (wanted.high - wanted.low)
    assert found.value == pytest.approx(scores.mean())
    assert (found.low, found.high) == (pytest.approx(wanted.low, abs=within), pytest.approx(wanted.high, abs=within))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 7), st.integers(0, 1000), st.sampled_from([0.5, 0.95]), st.sampled_from([1, 2, 6]))
def test_of_pooled_miou_it_is_what_adding_the_drawn_images_gives(images, seed, level, most):
    counts = tables(images, seed=seed, most=most)
    found = interval(counts, miou, level=level, resamples=30, seed=seed)
    values = []
    [weights] = draws(images, resamples=30, seed=seed, at_once=30)
    for row in weights.long().tolist():
        pooled = sum(
            (counts[image] for image, times in enumerate(row) for _ in range(times)), torch.zeros_like(counts[0])
        )
        values.append(segmentation.scores(pooled).miou)
    defined = [value for value in values if value is not None]
    assert found.undefined == 30 - len(defined)
    assert found.value == (
        pytest.approx(whole) if (whole := segmentation.scores(counts.sum(0)).miou) is not None else None
    )
    if defined:
        ends = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)])
        assert (found.low, found.high) == (pytest.approx(ends[0]), pytest.approx(ends[1]))
    else:
        assert found.low is found.high is None


def test_each_resample_has_as_many_images_as_there_are_and_each_as_often_as_another():
    weights = torch.cat(list(draws(9, resamples=5000, seed=0, at_once=700)))
    assert weights.shape == (5000, 9)
    assert set(weights.sum(dim=1).tolist()) == {9.0}
    # Binomial: of mean 1 and variance 8 / 9.
    assert weights.mean(dim=0) == pytest.approx(np.ones(9), abs=0.06)
    assert weights.var(dim=0) == pytest.approx(np.full(9, 8 / 9), abs=0.12)


def test_draws_do_not_depend_on_how_many_are_made_at_once_but_on_the_seed():
    whole = torch.cat(list(draws(7, resamples=50, seed=3, at_once=50)))
    assert torch.equal(torch.cat(list(draws(7, resamples=50, seed=3, at_once=8))), whole)
    assert not torch.equal(torch.cat(list(draws(7, resamples=50, seed=4, at_once=50))), whole)


def test_an_interval_of_95_per_cent_holds_the_truth_about_so_often():
    random, held = np.random.default_rng(0), 0
    for number in range(300):
        found = of_scores(random.normal(0.6, 0.1, 40).tolist(), resamples=400, seed=number)
        held += found.low <= 0.6 <= found.high
    assert 0.90 < held / 300 < 0.98


def test_images_without_a_score_take_part_and_count_for_nothing():
    found = of_scores([0.4, None, 0.6, None], resamples=500)
    assert found.value == pytest.approx(0.5)
    # All four drawn from the two without a score: once in 16.
    assert 10 < found.undefined < 60
    assert (found.low, found.high) == (pytest.approx(0.4), pytest.approx(0.6))
    assert of_scores([None, None], resamples=20) == (None, None, None, 20)


def test_of_one_image_there_is_no_spread():
    assert of_scores([0.25], resamples=10) == (0.25, 0.25, 0.25, 0)
    # A score of 0 is one.
    assert of_scores([0.0], resamples=10) == (0.0, 0.0, 0.0, 0)
    assert torch.isnan(mean(torch.zeros(1, 2, dtype=torch.float64))).all()


def test_a_higher_level_gives_a_wider_interval_around_the_narrower():
    counts = tables(30)
    narrow, wide = (interval(counts, miou, level=level, resamples=500) for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


@pytest.mark.parametrize(("images", "level", "resamples"), [(0, 0.95, 10), (3, 0.0, 10), (3, 1.0, 10), (3, 95.0, 10),
                                                            (3, 0.95, 0)])  # fmt: skip
def test_what_gives_no_interval_is_refused(images, level, resamples):
    with pytest.raises(
        InputError, match=f"{images} images, level {level}, {resamples} resamples: give an image or more"
    ):
        of_scores([0.5] * images, level=level, resamples=resamples)
