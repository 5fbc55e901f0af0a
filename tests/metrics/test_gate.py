import pytest
from pydantic import ValidationError

from inverseform.metrics.gate import GateParams, InverseGateParams, decide, misses


def figures(*, miou, mba):
    return {"miou": miou, "mba": mba, "images": 3}


def test_a_figure_at_its_threshold_passes():
    verdict = decide(figures(miou=0.5, mba=0.25), GateParams(miou=0.5, mba=0.25))
    assert verdict["passed"] is True
    assert [check["metric"] for check in verdict["checks"]] == ["miou", "mba"]


@pytest.mark.parametrize(("miou", "mba"), [(0.49, 0.9), (0.9, 0.24), (0.1, 0.1)])
def test_one_figure_below_its_threshold_fails_the_gate(miou, mba):
    assert decide(figures(miou=miou, mba=mba), GateParams(miou=0.5, mba=0.25))["passed"] is False


def test_an_undefined_figure_fails_even_where_nothing_is_asked_and_says_why():
    verdict = decide(figures(miou=1.0, mba=None), GateParams(miou=0.0, mba=0.0))
    assert verdict["passed"] is False
    assert verdict["checks"][1] == {
        "metric": "mba",
        "value": None,
        "threshold": 0.0,
        "reason": "mba is undefined on these 3 images",
        "passed": False,
    }


@pytest.mark.parametrize("wrong", [{"miou": 1.1, "mba": 0.5}, {"miou": 0.5}, {"miou": 0.5, "mba": 0.5, "mda": 0.5}])
def test_thresholds_are_shares_and_all_are_given(wrong):
    with pytest.raises(ValidationError):
        GateParams(**wrong)


ASKED = InverseGateParams(
    r2=0.8, r2_degraded=0.6, identity_ratio=0.1, spearman=0.9, points_back=0.99, points_back_degraded=0.9,
    normal_error_pixels=0.5,
)  # fmt: skip
REACHED = {
    "r2": 0.8, "r2_degraded": 0.7, "identity_ratio": 0.1, "spearman_shift": 0.95, "spearman_scale": 0.9,
    "spearman_rotation": 0.95, "spearman_shear": 0.95, "points_back": 1.0, "points_back_degraded": 0.9,
    "normal_error_pixels": 0.4,
}  # fmt: skip


def test_figures_at_the_thresholds_of_an_inverse_network_miss_none():
    assert misses(REACHED, ASKED, degrees_of_freedom=6) == []


@pytest.mark.parametrize("metric", REACHED)
@pytest.mark.parametrize("value", [None, float("nan"), "worse"])
def test_each_figure_that_is_worse_or_unknown_is_missed_with_value_threshold_and_remedy(metric, value):
    at_most = metric in ("identity_ratio", "normal_error_pixels")
    worse = REACHED[metric] + (0.2 if at_most else -0.2)
    (line,) = misses(REACHED | {metric: worse if value == "worse" else value}, ASKED, degrees_of_freedom=6)
    assert line.startswith(f"{metric} is ")
    assert f"at {'most' if at_most else 'least'} 0." in line
    assert "train_inverse." in line or "synthesize." in line
    if value == "worse":
        assert f"is {worse:.4g}," in line


def test_a_network_of_four_numbers_is_not_asked_about_turns_and_shears():
    blind = REACHED | {"spearman_rotation": None, "spearman_shear": -1.0}
    assert misses(blind, ASKED, degrees_of_freedom=4) == []
    assert len(misses(blind, ASKED, degrees_of_freedom=8)) == 2
