from components.model_card import model_card, shown
from inverseform.boundary import BoundaryParams
from inverseform.data.sample_store import DatasetInfo
from inverseform.manifest import Manifest

MANIFEST = Manifest(
    classes=("sky", "road|path"), colours=((0, 0, 255), (128, 64, 0)), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2),
    ignore_index=255, params="p" * 64, inverse_net="", segmenter="s" * 64, licence="for research only",
)  # fmt: skip
DATA = DatasetInfo(
    source="folder", classes=MANIFEST.classes, colours=MANIFEST.colours, counts={"train": 5, "test": 2},
    boundary=BoundaryParams(operator="sobel", radius=1),
)  # fmt: skip
ABOUT = {"opset": 20, "samples": 2, "sizes": ["48x64", "24x32"], "provider": "cpu", "tolerance": 0.001}
FIGURES = {"largest_difference": 1.5e-5, "largest_relative_difference": 2e-6, "same_class": 0.99995}
CHECKS = [{"metric": "miou", "value": 0.7654321, "threshold": 0.6, "passed": True}]


def card():
    return model_card(MANIFEST, DATA, ABOUT, figures=FIGURES, checks=CHECKS)


def test_everything_a_user_must_know_stands_in_the_card():
    for fact in (
        "inverseform predict segmenter.onnx", "| 0 | sky | #0000ff |", "0.5, 0.4, 0.3", "opset 20", "5 train, 2 test",
        "| miou | 0.7654 | 0.6 |", "48x64, 24x32", "1.5e-05 (tolerance 0.001)", "99.9950%", "s" * 64, "p" * 64,
        "none was used", "for research only",
    ):  # fmt: skip
        assert fact in card(), fact


def test_a_bar_in_a_class_name_does_not_break_the_table():
    (row,) = [line for line in card().splitlines() if "road" in line and line.startswith("|")]
    assert row == r"| 1 | road\|path | #804000 |"


def test_what_is_not_defined_is_shown_as_such():
    assert shown(None) == "undefined" and shown(0.123456) == "0.1235"
