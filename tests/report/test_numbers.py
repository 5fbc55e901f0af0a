import pytest

from inverseform.evaluation.figures import Estimate
from inverseform.report.numbers import NAMES, head, headline
from tests.report.drawn import Reader

FIGURES = {name: Estimate(0.5, 0.4, 0.6) for name in NAMES}


def text(figures=FIGURES, *, images=30, without_boundary=2, absent=1):
    page = headline(figures, images=images, without_boundary=without_boundary, absent=absent)
    return Reader(page).text


@pytest.mark.parametrize(("passed", "verdict"), [(True, "The gate is passed:"), (False, "The gate is not passed:")])
def test_the_verdict_of_the_gate_is_told_with_each_check(passed, verdict):
    checks = [{"metric": "miou", "value": 0.9, "threshold": 0.5, "passed": passed},
              {"metric": "mba", "value": None, "threshold": 0.5, "reason": "a < b", "passed": False}]  # fmt: skip
    found = Reader(head("a <b>", {"passed": passed, "checks": checks}, images=3, classes=2)).text
    assert verdict in found and "a <b>" in found and "3 images, 2 classes" in found
    assert "mean IoU 90.0 %, at least 50.0 % asked" in found
    assert "mean boundary accuracy undefined, at least 50.0 % asked (a < b)" in found


def test_each_figure_has_a_name_an_interval_and_what_it_means():
    found = text()
    for name in NAMES.values():
        assert f"50.0 % 40.0 to 60.0 % {name} " in found


def test_figures_that_are_not_there_are_not_named():
    assert "Boundary F" not in text({name: FIGURES[name] for name in NAMES if "boundary_f" not in name})


def test_what_is_left_out_is_counted():
    found = text()
    assert "2 of the 30 images have no boundary" in found
    assert "1 of the classes occur neither" in found


def test_few_images_are_too_few_for_an_interval_and_one_is_for_none():
    assert "too narrow" in text(images=19)
    assert "too narrow" not in text(images=20)
    assert "Of one image no interval can be given" in text(images=1)
