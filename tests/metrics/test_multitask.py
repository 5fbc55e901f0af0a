import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inverseform.metrics.multitask import delta_m
from inverseform.settings import InputError

TASKS = ("segmentation", "edge", "saliency", "parts", "normals")
# ASTMT's single-task network on SE-ResNet-50, the one baseline of table 3 that its authors give outside of their paper.
SINGLE = (68.30, 72.7, 65.40, 60.70, 14.61)
# The paper's table 3: scores without and with InverseForm, and the Delta_m printed beside them.
TABLE = {
    "SE-ResNet-26": ((64.61, 71.0, 64.70, 57.25, 15.00, -0.11), (65.13, 71.4, 65.29, 57.93, 15.07, 0.49)),
    "SE-ResNet-50": ((68.00, 72.4, 66.13, 61.10, 14.60, -0.04), (68.83, 72.5, 67.50, 61.13, 14.55, 0.95)),
    "SE-ResNet-101": ((68.51, 73.5, 67.72, 63.41, 14.37, -0.60), (70.14, 73.7, 68.70, 64.76, 14.55, 0.39)),
    "ResNet-18": ((65.70, 73.9, 66.80, 61.60, 14.60, 3.84), (65.96, 74.2, 67.23, 61.71, 14.52, 4.34)),
    "HRNet-w18": ((64.30, 73.4, 68.00, 62.10, 14.80, 2.74), (65.12, 73.6, 68.61, 62.53, 14.67, 3.72)),
}


def of(row, baseline):
    named = (dict(zip(TASKS, each[:5], strict=True)) for each in (row, baseline))
    return delta_m(*named, lower_is_better={"normals"}).value


def test_it_is_that_of_table_3_where_the_baseline_is_known():
    found = of(TABLE["SE-ResNet-50"][1], SINGLE)
    assert found == pytest.approx(0.966, abs=5e-4)
    # Half a unit of the last digit of the edge scores, 0.05 of 72.7 twice over, is 0.03 per cent of Delta_m.
    assert found == pytest.approx(TABLE["SE-ResNet-50"][1][5], abs=0.03)


def test_the_row_without_inverseform_is_not_what_table_3_prints():
    # The printed -0.04 is copied from ASTMT; by the scores that stand beside it, it is +0.198.
    assert of(TABLE["SE-ResNet-50"][0], SINGLE) == pytest.approx(0.198, abs=5e-4)


AGREE = {"SE-ResNet-26", "SE-ResNet-101"}


@pytest.mark.parametrize("network", TABLE)
def test_the_gain_between_two_rows_of_table_3_is_the_difference_of_what_is_printed_for_two_networks(network):
    # Without the baselines of the others this is all that can be seen: it depends little on which baseline it is.
    without, with_it = TABLE[network]
    difference = with_it[5] - without[5]
    assert (of(with_it, without) == pytest.approx(difference, abs=0.015)) is (network in AGREE)


def test_the_sign_is_the_standard_one():
    better = delta_m({"a": 11.0, "b": 9.0}, {"a": 10.0, "b": 10.0}, lower_is_better={"b"})
    assert better == (pytest.approx(10.0), None)
    assert delta_m({"a": 9.0, "b": 11.0}, {"a": 10.0, "b": 10.0}, lower_is_better={"b"}).value == pytest.approx(-10.0)


@given(st.dictionaries(st.sampled_from(TASKS), st.floats(0.01, 100), min_size=1), st.sets(st.sampled_from(TASKS)))
def test_of_the_baseline_it_is_zero_and_no_unit_matters(scores, lower):
    lower &= set(scores)
    assert delta_m(scores, scores, lower_is_better=lower).value == 0.0
    other = {task: 2 * score for task, score in scores.items()}
    signs = [-1 if task in lower else 1 for task in scores]
    assert delta_m(other, scores, lower_is_better=lower).value == pytest.approx(100 * sum(signs) / len(signs))


def test_a_task_without_a_score_leaves_nothing_to_say():
    for scores, baseline, reason in (
        ({"a": 1.0, "b": None}, {"a": 1.0, "b": 1.0}, "b has no score"),
        ({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": None}, "b has no score in the baseline"),
    ):
        assert delta_m(scores, baseline) == (None, reason)


@pytest.mark.parametrize(
    ("scores", "baseline", "lower", "message"),
    [
        ({"a": 1.0}, {"b": 1.0}, (), "scores are of a, the baseline of b: give both for the same tasks"),
        ({}, {}, (), "scores are of no task, the baseline of no task"),
        ({"a": 1.0}, {"a": 1.0}, ("normals",), "lower_is_better names normals, which is no task: write of a"),
        ({"a": 1.0}, {"a": 0.0}, (), "the baseline of a is 0.0: a relative gain needs one above 0; leave the task out"),
        ({"a": 1.0}, {"a": float("nan")}, (), "the baseline of a is nan"),
        ({"a": 1.0}, {"a": float("inf")}, (), "the baseline of a is inf: a relative gain needs one above 0"),
        ({"a": float("nan")}, {"a": 1.0}, (), "the score of a is nan: where it is undefined it must be None"),
        ({"a": float("inf")}, {"a": 1.0}, ("a",), "the score of a is inf: where it is undefined it must be None"),
    ],
)
def test_what_cannot_be_compared_is_refused(scores, baseline, lower, message):
    with pytest.raises(InputError, match=message):
        delta_m(scores, baseline, lower_is_better=lower)


def test_the_order_of_the_tasks_does_not_matter():
    scores, baseline = dict(zip(TASKS, SINGLE, strict=True)), dict(zip(TASKS, TABLE["HRNet-w18"][0], strict=False))
    found = {
        round(delta_m({task: scores[task] for task in order}, baseline, lower_is_better={"normals"}).value, 9)
        for order in itertools.permutations(TASKS)
    }
    assert len(found) == 1
