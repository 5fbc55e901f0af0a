import torch

from inverseform.evaluation.figures import Estimate
from inverseform.report.classes import section
from tests.report.drawn import COLOURS, Reader

NAMES = ("road & path", "tree", "absent")
COUNTS = torch.tensor([[6, 2, 0], [0, 8, 0], [0, 0, 0]])
FIGURES = {
    **{f"iou {name}": Estimate(value) for name, value in zip(NAMES, (0.75, 0.8, None), strict=True)},
    **{f"boundary_iou {name}": Estimate(value) for name, value in zip(NAMES, (0.25, 0.3, None), strict=True)},
}


def test_each_class_has_its_share_its_iou_and_that_of_its_rim():
    found = Reader(section(NAMES, COLOURS, COUNTS, FIGURES)).text
    assert "road & path 50.0 % of pixels 75.0 %" in found
    assert "tree 50.0 % of pixels 80.0 %" in found
    assert "absent 0.0 % of pixels undefined" in found
    assert "road & path 25.0 %" in found and "tree 30.0 %" in found


def test_the_confusion_table_is_there():
    page = section(NAMES, COLOURS, COUNTS, FIGURES)
    assert page.count('class="heat"') == 1 and ">75<" in page and ">25<" in page


def test_of_an_empty_set_all_shares_are_0():
    assert "0.0 % of pixels" in section(NAMES, COLOURS, torch.zeros_like(COUNTS), FIGURES)
