import torch

from inverseform.evaluation.figures import Estimate
from inverseform.report.calibration import section
from tests.report.drawn import Reader


def bins(pixels, confidence, right):
    return torch.tensor([pixels, confidence, right], dtype=torch.float64)


def test_a_network_that_is_too_sure_is_told_so():
    found = Reader(section(Estimate(0.2, 0.1, 0.3), bins([0, 10, 90], [0, 5, 81], [0, 3, 63]))).text
    assert "a probability of 86.0 % and is right in 66.0 % of the pixels: it is surer than it is right" in found
    assert "is 20.0 % (10.0 to 30.0 %)." in found


def test_one_that_is_not_sure_enough_is_told_so_too():
    assert "less sure than it is right" in section(Estimate(0.2), bins([100], [50], [90]))


def test_points_lie_at_the_mean_confidence_of_a_bin_and_bins_of_a_few_pixels_are_left_out():
    page = section(Estimate(0.2), bins([1, 0, 999_999], [0.1, 0, 899_999], [1, 0, 999_999]))
    assert page.count("<circle") == 1
    assert 'cx="317.2" cy="12.0"' in page


def test_of_an_empty_set_nothing_is_said():
    found = Reader(section(Estimate(None), bins([0, 0], [0, 0], [0, 0]))).text
    assert "No pixel is known." in found and "undefined" in found
