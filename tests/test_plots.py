import re

import pytest
import torch

from inverseform.plots import MOST_CLASSES, bars, chart, heat, percent, read_curves, thinned
from inverseform.settings import InputError


def test_what_has_no_value_says_so():
    assert percent(None) == "undefined"
    assert "<i" not in bars([("class", None, "")])


@pytest.mark.parametrize(("share", "width"), [(0.0, "0.0%"), (0.25, "25.0%"), (1.0, "100.0%")])
def test_a_bar_is_as_wide_as_its_share(share, width):
    assert f"width:{width}" in bars([("class", share, "")])


def test_remarks_are_escaped():
    assert "&lt;b&gt;" in bars([("class", 0.5, "<b>")])


def test_each_row_of_a_heat_table_is_in_per_cent_of_its_class():
    table = heat(torch.tensor([[3, 1], [0, 1000]]), classes=["few", "many"])
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table) == ["75", "25", "", "100"]


def test_a_class_without_pixels_has_no_shares():
    table = heat(torch.tensor([[4, 0], [0, 0]]), classes=["here", "absent"])
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table) == ["100", "", "-", "-"]


def test_of_too_many_classes_the_commonest_are_shown_and_the_rest_counted():
    classes = MOST_CLASSES + 5
    table = heat(torch.diag(torch.arange(1, classes + 1)), classes=[f"c{number}" for number in range(classes)])
    assert table.count('<th scope="row">') == MOST_CLASSES
    assert "<span>c4<" not in table
    assert "<span>c5<" in table
    assert "5 rarer classes are left out" in table


def test_a_falling_curve_goes_down_on_the_page():
    places = re.search(r'points="([^"]*)"', chart([(0.0, 2.0), (10.0, 1.0), (20.0, 0.0)], name="loss"))[1].split()
    assert places == ["44.0,12.0", "178.0,65.0", "312.0,118.0"]


@pytest.mark.parametrize("points", [[(5.0, 1.0)], [(0.0, 1.0), (1.0, 1.0)]])
def test_a_point_and_a_flat_curve_are_drawn_in_the_middle(points):
    assert "65.0" in chart(points, name="loss")


def test_values_that_are_not_finite_are_left_out():
    drawn = chart([(0.0, 1.0), (1.0, float("nan")), (2.0, float("inf")), (3.0, 2.0)], name="loss")
    assert "nan" not in drawn
    assert "inf" not in drawn
    assert chart([(0.0, float("nan"))], name="loss") == ""


def test_the_name_of_a_curve_is_escaped():
    assert "<script>" not in chart([(0.0, 1.0)], name='"><script>')


def test_a_thinned_curve_keeps_its_mean_and_its_last_step():
    points = [(float(step), step % 7.0) for step in range(1000)]
    short = thinned(points, most=250)
    assert len(short) == 250
    assert short[-1][0] == 999.0
    assert sum(value for _, value in short) / 250 == pytest.approx(sum(value for _, value in points) / 1000)
    assert thinned(points[:3]) == points[:3]


def test_curves_are_read_by_term_and_empty_cells_left_out(tmp_path):
    (tmp_path / "curves.csv").write_text("step,total,miou\n0,2.5,\n10,1.5,0.25\n")
    assert read_curves(tmp_path / "curves.csv") == {"total": [(0.0, 2.5), (10.0, 1.5)], "miou": [(10.0, 0.25)]}


@pytest.mark.parametrize(
    "text", ["epoch,total\n0,1\n", "step,total\n0,much\n", "step,total\n0,1,2\n", "step,total\n,1\n"]
)
def test_a_file_that_holds_no_curves_is_refused_by_name(tmp_path, text):
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(InputError, match=r"curves\.csv: not a table .*dvc repro train_segmentation"):
        read_curves(tmp_path / "curves.csv")
