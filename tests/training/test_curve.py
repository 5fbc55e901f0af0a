import json
from statistics import fmean

import pytest

from inverseform.training.curve import ROWS, Curve, ends_a_row


def test_a_row_of_the_curve_is_the_mean_since_the_row_before():
    curve = Curve(300)
    values = [1.0, 2.0, 6.0, 4.0, 4.0, 1.0, 9.0]
    for step, value in enumerate(values, 1):
        curve.add(step, {"total": value})
    assert curve.rows == [{"step": 3, "total": fmean(values[:3])}, {"step": 6, "total": fmean(values[3:6])}]
    again = Curve(300, **json.loads(json.dumps(curve.state())))
    for each in (curve, again):
        each.add(8, {"total": 0.3})
        each.add(9, {"total": 0.1})
    assert again.rows == curve.rows and len(curve.rows) == 3


def test_a_term_that_some_steps_have_is_their_mean_and_is_asked_for_where_a_row_ends():
    curve = Curve(200)
    for step in range(4):
        curve.add(step + 1, {"total": 1.0, **({"norm": float(step)} if step % 2 else {})})
    assert curve.rows == [{"step": 2, "total": 1.0, "norm": 1.0}, {"step": 4, "total": 1.0, "norm": 3.0}]
    assert [step for step in range(250) if ends_a_row(step, 250)] == list(range(1, 250, 2))


@pytest.mark.parametrize("steps", [1, 99, 100, 199, 250, 301, 350])
def test_a_curve_has_a_row_for_each_step_or_about_a_hundred_and_ends_with_the_last(steps):
    curve = Curve(steps)
    for step in range(steps):
        curve.add(step + 1, {"total": float(step)})
    assert min(steps, ROWS) <= len(curve.rows) < 2 * ROWS
    # The mean over a row's steps: none is counted twice or left out.
    assert curve.rows[0]["step"] == max(1, steps // ROWS)
    assert curve.rows[-1]["step"] == steps and not curve.sums
