import math

import torch

from inverseform.exhibits import Aligned, Push
from inverseform.tile_strips import gradients, pairs

MAP = torch.eye(16)


def test_a_pair_is_four_pictures_with_what_is_true_and_what_was_estimated():
    page = pairs([Aligned(MAP, MAP, MAP, (0.25, 0.2), 0.4)] * 3)
    assert page.count("<img") == 12
    assert page.count("distance 0.250, estimated 0.200; off by 0.40 px across the line") == 3


def test_a_pair_without_a_boundary_has_no_error():
    page = pairs([Aligned(MAP, MAP, MAP, (0.25, 0.2), math.nan)])
    assert "no boundary left to measure" in page and "nan" not in page


def test_a_gradient_says_whether_it_points_back():
    given = [Push(2.0, blurred, MAP, MAP, MAP - 0.1, not blurred) for blurred in (False, True)]
    page = gradients(given)
    sure, soft = page.split("A blurred prediction")
    assert "2 px, points back" in sure and "2 px, points elsewhere" in soft
    assert page.count("<img") == 2
