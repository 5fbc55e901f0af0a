import re

from inverseform.report.samples import section
from tests.report.drawn import COLOURS, HOSTILE, Reader, drawn

CLASSES = ("road", "tree", "absent")


def page(worst, median):
    return section(worst, median, classes=CLASSES, colours=COLOURS)


def test_the_worst_come_before_those_in_the_middle():
    found = Reader(page([drawn("a", 0.1), drawn("b", None)], [drawn("c", 0.5)])).text
    order = ["The worst", "a , boundary accuracy 10.0 %", "b , no boundary", "Samples in the middle", "c , boundary"]
    places = [found.index(what) for what in order]
    assert places == sorted(places)
    assert "95.0 % of its pixels right" in found


def test_without_samples_there_is_no_section():
    assert page([], []) == ""
    assert "Samples in the middle" not in page([drawn("a", 0.1)], [])


def test_each_sample_has_four_pictures_and_a_slider_with_a_name():
    reader = Reader(page([drawn("a", 0.1)], [drawn("b", 0.2)]))
    pictures = [attributes["alt"] for tag, attributes in reader.tags if tag == "img"]
    assert pictures[:4] == ["Image of a", "Truth of a", "Prediction of a", "Error at the boundary of a"]
    sliders = [attributes for tag, attributes in reader.tags if tag == "input"]
    assert len(sliders) == 2 and all(each["type"] == "range" for each in sliders)
    assert "truth of b" in sliders[1]["aria-label"]


def test_the_three_that_lie_over_each_other_are_named_for_those_who_see_them_side_by_side():
    found = page([drawn("a", 0.1)], [])
    assert re.findall(r"<span>([^<]*)</span>", found)[-4:] == ["Image", "Truth", "Prediction", "Error at the boundary"]


def test_names_are_escaped():
    plain, hostile = (Reader(page([drawn(name, 0.1)], [])) for name in ("a", HOSTILE))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in hostile.tags]
