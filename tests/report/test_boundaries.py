from inverseform.evaluation.figures import Difference, Estimate
from inverseform.evaluation.measures import DISTANCES
from inverseform.report.boundaries import section
from tests.report.drawn import Reader

FIGURES = {f"accuracy_within_{d}_px": Estimate(0.5 + d / 40, 0.48 + d / 40, 0.52 + d / 40) for d in DISTANCES}
FIGURES["pixel_accuracy"] = Estimate(0.9, 0.88, 0.92)


def test_each_distance_is_drawn_and_told():
    page = section(FIGURES, None)
    found = Reader(page).text
    assert page.count("<circle") == len(DISTANCES)
    for distance in DISTANCES:
        assert f"within {distance} px {50 + 2.5 * distance:.1f} %" in found
    assert "all pixels 90.0 % 88.0 to 92.0 %" in found
    assert "earlier" not in found


def test_an_earlier_network_has_a_line_of_its_own():
    earlier = {name: Difference(each.value, 0.3, Estimate(0.1)) for name, each in FIGURES.items()}
    page = section(FIGURES, earlier)
    assert page.count("<polyline") == 2 and "the earlier one (dashed)" in page
    # Its lower edge is below both lines.
    assert "20 %" in Reader(page).text


def test_without_a_boundary_nothing_is_drawn_and_all_is_undefined():
    page = section({name: Estimate(None) for name in FIGURES}, None)
    assert "<circle" not in page and Reader(page).text.count("undefined") == len(FIGURES)
