import re

import pytest

from inverseform.evaluation.figures import Estimate
from inverseform.report.charts import Line, bars, change, columns, diagonal, interval, lines, verdict

TICKS = [(1, "1"), (3, "3")]


def test_an_interval_is_told_where_there_is_one():
    assert interval(Estimate(0.5, 0.4, 0.6)) == "40.0 to 60.0 %"
    assert interval(Estimate(0.5)) == interval(Estimate(None)) == ""


def test_a_bar_is_as_wide_as_its_share_and_the_interval_lies_on_it():
    drawn = bars([("class", Estimate(0.5, 0.25, 0.75)), ("absent", Estimate(None)), ("alone", Estimate(1.0))])
    assert '<i style="width:50.0%"></i><u style="left:25.0%;width:50.0%"></u>' in drawn
    assert drawn.count("<i ") == 2 and drawn.count("<u ") == 1
    assert "undefined" in drawn


def points(drawn, tag="polyline"):
    found = re.search(rf'<{tag} points="([^"]*)"', drawn)[1].split()
    return [tuple(map(float, place.split(","))) for place in found]


def test_a_line_goes_from_the_lower_edge_to_the_upper_one():
    drawn = lines([Line("a", [(1, Estimate(0.5)), (3, Estimate(1.0))])], label="it", ticks=TICKS, low=0.5)
    (left, bottom), (right, top) = points(drawn)
    assert (left, right) == (40.0, 348.0) and (bottom, top) == (200.0, 12.0)
    assert "50 %" in drawn and "100 %" in drawn and "polygon" not in drawn


def test_a_band_holds_the_line():
    drawn = lines([Line("a", [(1, Estimate(0.5, 0.4, 0.6)), (3, Estimate(0.7, 0.6, 0.8))])], label="it", ticks=TICKS,
                  low=0.0)  # fmt: skip
    band, line = points(drawn, "polygon"), points(drawn)
    assert band[0][1] < line[0][1] < band[-1][1]
    assert band[1][1] < line[1][1] < band[2][1]


def test_what_has_no_value_is_left_out():
    drawn = lines([Line("a", [(1, Estimate(None)), (3, Estimate(0.7))])], label="it", ticks=TICKS, low=0.0)
    assert len(points(drawn)) == 1
    assert "polyline" not in lines([Line("a", [(1, Estimate(None))])], label="it", ticks=TICKS, low=0.0)


def test_two_lines_are_told_apart_without_colours():
    both = [Line("<now>", [(1, Estimate(0.5))]), Line("then", [(1, Estimate(0.4))], dashed=True)]
    drawn = lines(both, label="it", ticks=TICKS, low=0.0)
    assert "&lt;now&gt;; then (dashed)" in drawn and drawn.count("stroke-dasharray") == 1


def test_columns_stand_on_the_lower_edge_side_by_side():
    found = re.findall(r'x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', columns([0.5, 1.0]))
    (x, y, width, height), (other, top, _, whole) = [tuple(map(float, each)) for each in found]
    assert y + height == top + whole == 200.0 and whole == 2 * height
    assert other > x + width
    assert 'd="M40 200L348 12"' in diagonal()


@pytest.mark.parametrize(
    ("estimate", "told", "opposite"),
    [
        (Estimate(0.02, 0.01, 0.03), "better", "worse"),
        (Estimate(-0.02, -0.03, -0.01), "worse", "better"),
        (Estimate(0.02, -0.01, 0.05), "not clear", "not clear"),
        (Estimate(0.0, 0.0, 0.0), "not clear", "not clear"),
        (Estimate(0.02), "not clear", "not clear"),
    ],
)
def test_a_difference_is_one_if_its_interval_leaves_out_0(estimate, told, opposite):
    assert verdict(estimate) == told
    assert verdict(estimate, lower_is_better=True) == opposite


def test_a_gain_lies_to_the_right_of_the_line_at_0():
    def place(value):
        return float(re.search(r'cx="([\d.]+)"', change(Estimate(value, value, value), widest=0.1))[1])

    assert place(-0.1) < place(-0.05) < place(0.0) == 50.0 < place(0.1) < 100
    assert change(Estimate(None), widest=0.1) == ""
    assert 'cx="50.0"' in change(Estimate(0.0), widest=0.0)
