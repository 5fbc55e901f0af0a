import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from inverseform.metrics.inverse_net import Determination, Explained
from inverseform.transform import draw, offsets
from tests.drawn import small_net


def numbers(rows, columns, seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.randn(rows, columns, generator=generator) + 0.3) * spread
    return truth + 0.4 * spread * torch.randn(rows, columns, generator=generator), truth


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 60), st.integers(1, 8), st.integers(0, 99), st.integers(1, 20), st.sampled_from([1e-7, 1e-3, 1.0])
)
def test_the_share_explained_is_that_of_scikit_learn_whatever_the_batches(rows, columns, seed, size, spread):
    guess, truth = numbers(rows, columns, seed, spread)
    determination = Determination(columns)
    for some in zip(guess.split(size), truth.split(size), strict=True):
        determination.update(*some)
    expected = r2_score(truth.double().numpy(), guess.double().numpy(), multioutput="raw_values")
    assert determination.compute() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)


def test_a_perfect_estimate_explains_all_and_the_mean_explains_nothing():
    _, truth = numbers(50, 3, seed=0)
    determination = Determination(3)
    determination.update(truth, truth)
    assert determination.compute() == [1.0] * 3
    determination = Determination(3)
    determination.update(truth.mean(dim=0).expand(50, 3), truth)
    assert determination.compute() == pytest.approx([0.0] * 3, abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.3, 1000.1])
def test_where_the_truth_never_varies_there_is_nothing_to_explain(constant):
    determination = Determination(2)
    for seed in range(40):
        guess, truth = numbers(2500, 2, seed)
        truth[:, 1] = constant
        determination.update(guess, truth)
    first, second = determination.compute()
    assert 0.8 < first < 0.9 and second is None


def test_nothing_counted_is_nothing_known():
    assert Determination(4).compute() == [None] * 4


def test_both_kinds_of_pairs_and_both_kinds_of_answer_are_counted_apart():
    net = small_net()
    generator = torch.Generator().manual_seed(0)
    tile, warped, degraded = torch.rand(3, 40, 16, 16, generator=generator)
    theta = draw(40, net.settings.ranges, degrees_of_freedom=6, generator=generator)
    explained = Explained(net)
    for some in torch.arange(40).split(13):
        explained.update(tile[some], warped[some], degraded[some], theta[some])
    found = explained.figures()
    with torch.no_grad():
        raw = {"r2": net(warped, tile), "r2_degraded": net(degraded, tile)}
        still = net(tile, tile)
    for name, numbers in raw.items():
        for key, offset in (
            (name, numbers * net.scale + net.mean),
            (f"{name}_calibrated", (numbers - still) * net.scale),
        ):
            expected = r2_score(offsets(theta, 6).double().numpy(), offset.double().numpy(), multioutput="raw_values")
            assert found[f"{key}_each"] == pytest.approx(expected.tolist(), rel=1e-3)
            assert found[key] == pytest.approx(expected.mean(), rel=1e-3)
    assert len({found[name] for name in found if not name.endswith("_each")}) == 4


def test_a_number_that_never_varies_is_left_out_of_the_mean():
    net = small_net()
    tile = torch.rand(30, 16, 16, generator=torch.Generator().manual_seed(0))
    theta = torch.eye(3).repeat(30, 1, 1)
    theta[:, 0, 2] = torch.linspace(-0.2, 0.2, 30)
    explained = Explained(net)
    explained.update(tile, tile, tile, theta)
    found = explained.figures()
    assert [value is None for value in found["r2_each"]] == [True, True, False, True, True, True]
    assert found["r2"] == found["r2_each"][2]
