import pytest
from pydantic import ValidationError

from inverseform.metrics.gate import GateParams, decide


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
