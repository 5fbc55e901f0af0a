from inverseform.evaluation.comparison import Change, Comparison
from inverseform.evaluation.figures import Difference, Estimate
from inverseform.report.comparison import section
from tests.report.drawn import COLOURS, HOSTILE, Reader

CHANGES = {
    "miou": Difference(0.72, 0.70, Estimate(0.02, 0.01, 0.03)),
    "calibration_error": Difference(0.07, 0.05, Estimate(0.02, 0.01, 0.03)),
    "accuracy_within_3_px": Difference(0.8, 0.8, Estimate(0.0, -0.01, 0.01)),
    "iou road": Difference(0.6, 0.7, Estimate(-0.1, -0.2, -0.05)),
    "iou absent": Difference(None, None, Estimate(None)),
    "boundary_iou road": Difference(0.6, 0.7, Estimate(-0.1, -0.2, -0.05)),
}


def page(*, path="earlier", better=(), worse=()):
    found = Comparison(path, 13, CHANGES, list(better), list(worse))
    return section(found, classes=("road", "absent"), colours=COLOURS[:2])


def test_each_figure_is_told_then_and_now_with_its_difference_and_a_verdict():
    found = Reader(page()).text
    assert "Mean IoU 70.0 % 72.0 % +2.00 (+1.00 to +3.00) better" in found
    assert "Accuracy within 3 px 80.0 % 80.0 % +0.00 (-1.00 to +1.00) not clear" in found
    assert "road 70.0 % 60.0 % -10.00 (-20.00 to -5.00) worse" in found
    assert "absent undefined undefined undefined not clear" in found
    assert "on the same 13 images" in found


def test_more_of_an_error_is_worse():
    assert "Calibration error 5.0 % 7.0 % +2.00 (+1.00 to +3.00) worse" in Reader(page()).text


def test_images_that_changed_are_named_on_their_side():
    found = Reader(page(better=[Change("a", 0.6, 0.5)], worse=[Change("b", 0.4, 0.5)])).text
    gained, lost = found.split("Images that gained most")[1].split("Images that lost most")
    assert "a 50.0 % 60.0 % +10.00" in gained and "b 50.0 % 40.0 % -10.00" in lost
    assert Reader(page()).text.count("None.") == 2


def test_names_and_paths_are_escaped():
    plain, hostile = (Reader(page(path=name, better=[Change(name, 0.6, 0.5)])) for name in ("a", HOSTILE))
    assert [tag for tag, _ in plain.tags] == [tag for tag, _ in hostile.tags]
