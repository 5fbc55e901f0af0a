import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_percentage_error, root_mean_squared_error

from inverseform.metrics.depth import DepthErrors


def drawn(random, *, positive=True):
    """A prediction, depths of which some are not valid, and a mask."""
    shape = tuple(random.integers(1, 6, 2))
    depth = random.uniform(0.1, 10, shape).astype(np.float32)
    predicted = (depth * random.choice([1.0, 1.25, 0.8, 1.1, 2.0], shape)).astype(np.float32)
    depth[random.random(shape) < random.choice([0, 0.3, 1.0])] = random.choice([0.0, -1.0, np.nan, np.inf])
    if not positive:
        predicted[0, 0] = -1.0
    return predicted, depth, random.random(shape) < random.choice([0.5, 1.0])


@settings(deadline=None, max_examples=400)
@given(st.integers(0, 2**32))
def test_scores_are_those_of_the_definitions(seed):
    random = np.random.default_rng(seed)
    scores, pixels, images = DepthErrors(), [], []
    for _ in range(3):
        predicted, depth, valid = drawn(random)
        scores.update(*map(torch.from_numpy, (predicted, depth)), valid=torch.from_numpy(valid))
        taken = valid & np.isfinite(depth) & (depth > 0)
        some = np.stack([predicted[taken], depth[taken]]).astype(np.float64)
        pixels.append(some)
        if taken.any():
            images.append(root_mean_squared_error(some[1], some[0]))
    found, (p, t) = scores.scores(), np.concatenate(pixels, axis=1)
    assert found.pixels == len(p)
    if not len(p):
        assert {score.value for score in (*found[:4], *found.delta)} == {None}
        assert found.rmse.reason == "no pixel has a valid depth"
        return
    assert found.rmse.value == pytest.approx(root_mean_squared_error(t, p))
    assert found.rmse_per_image.value == pytest.approx(np.mean(images))
    assert found.abs_rel.value == pytest.approx(mean_absolute_percentage_error(t, p))
    assert found.log10.value == pytest.approx(np.abs(np.log10(p) - np.log10(t)).mean())
    within = [np.mean(np.maximum(p / t, t / p) < 1.25**n) for n in (1, 2, 3)]
    assert [score.value for score in found.delta] == pytest.approx(within)


def test_a_factor_of_1_25_is_not_within_it():
    scores = DepthErrors()
    scores.update(torch.tensor([[1.25, 1.2]]), torch.ones(1, 2))
    assert [score.value for score in scores.scores().delta] == [0.5, 1.0, 1.0]


def test_the_set_is_one_image_for_rmse_and_not_for_rmse_per_image():
    scores = DepthErrors()
    scores.update(torch.full((1, 1), 5.0), torch.full((1, 1), 1.0))
    scores.update(torch.ones(1, 3), torch.ones(1, 3))
    scores.update(torch.ones(2, 2), torch.zeros(2, 2))
    assert scores.scores().rmse.value == pytest.approx((16 / 4) ** 0.5)
    assert scores.scores().rmse_per_image.value == pytest.approx((4 + 0) / 2)


def test_what_is_predicted_where_no_depth_is_valid_is_not_looked_at():
    depth = torch.tensor([[2.0, 0.0, 3.0]])
    valid = torch.tensor([[True, True, False]])
    scores = DepthErrors()
    scores.update(torch.tensor([[2.5, torch.nan, torch.inf]]), depth, valid=valid)
    assert scores.scores().rmse.value == 0.5
    assert scores.scores().pixels == 1


def test_a_depth_that_is_not_positive_has_no_logarithm_and_is_within_no_factor():
    scores = DepthErrors()
    scores.update(torch.tensor([[-1.0, 0.0, 2.0, 2.0]]), torch.full((1, 4), 2.0))
    found = scores.scores()
    assert found.log10 == (None, "2 of 4 predicted depths are not above 0")
    assert [score.value for score in found.delta] == [0.5] * 3
    assert found.rmse.value == pytest.approx(((9 + 4) / 4) ** 0.5)
    assert found.abs_rel.value == pytest.approx((1.5 + 1) / 4)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_a_prediction_that_is_not_finite_takes_all_scores_with_it(wrong):
    scores = DepthErrors()
    scores.update(torch.tensor([[wrong, 1.0]]), torch.ones(1, 2))
    found = scores.scores()
    assert {score for score in (*found[:4], *found.delta)} == {(None, "1 of 2 predicted depths are not finite")}


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(1)
    whole, left, right = (DepthErrors() for _ in range(3))
    for half in (left, right, right):
        predicted, depth, valid = map(torch.from_numpy, drawn(random, positive=False))
        whole.update(predicted, depth, valid=valid)
        half.update(predicted, depth, valid=valid)
    left.counts += right.counts
    found, wanted = left.scores(), whole.scores()
    assert found.rmse.value == pytest.approx(wanted.rmse.value)
    assert found.pixels == wanted.pixels and found.log10 == wanted.log10
