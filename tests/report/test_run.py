from inverseform.report.run import run, training
from tests.report.drawn import HOSTILE, Reader

FALLING = [(0.0, 2.0), (1.0, 1.0)]


def test_every_curve_is_drawn_among_its_kind():
    curves = {name: FALLING for name in ("total", "gamma", "gradient_boundary_boundary", "cosine_a_b", "val_miou")}
    page = training(curves)
    found = Reader(page).text
    assert page.count("<polyline") == len(curves)
    order = ["The loss and its terms", "total", "gamma", "How hard each term pulls", "boundary boundary"]
    order += ["Whether they pull the same way", "a b", "Scores on the way", "miou"]
    places = [found.index(what) for what in order]
    assert places == sorted(places)


def test_a_kind_without_curves_is_not_named():
    assert "How hard" not in training({"total": FALLING})


def test_a_term_that_was_0_at_every_step_is_named_and_not_drawn():
    page = training({"total": FALLING, "dead & gone": [(0.0, 0.0)], "gradient_dead": [(0.0, 0.0)]})
    assert "0 at every step: dead &amp; gone, gradient_dead." in page and page.count("<polyline") == 1
    assert "0 at every step" not in training({"total": FALLING})


def test_without_curves_it_is_said_that_there_are_none():
    assert "No curve was recorded" in training({})
    assert "No curve was recorded" in training({"broken": [(0.0, float("nan"))]})


def test_facts_and_settings_are_there_and_escaped():
    plain, hostile = (Reader(run({name: name}, {name: [1, {name: "ü"}]})) for name in ("a", HOSTILE))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in hostile.tags]
    assert "ü" in hostile.text and "onerror=alert(1)> & co" in hostile.text
