import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from inverseform.metrics import calibration
from inverseform.metrics.calibration import Calibration
from inverseform.settings import InputError


def drawn(seed, *, batch=2, classes=5, ignored=0.2, size=(13, 17)):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(batch, classes, *size, generator=generator)).softmax(dim=1)
    labels = torch.randint(0, classes, (batch, *size), generator=generator).byte()
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return probabilities, labels


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 10, 15, 100]))
def test_it_is_that_of_torchmetrics(seed, bins):
    probabilities, labels = drawn(seed)
    calibration = Calibration(bins=bins)
    calibration.update(probabilities, labels)
    wanted = multiclass_calibration_error(
        probabilities.double(), labels.long(), num_classes=5, n_bins=bins, ignore_index=255, validate_args=False
    )
    assert calibration.error().value == pytest.approx(float(wanted), abs=1e-6)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(50, 100), st.sampled_from([0, 1, 255])), min_size=1, max_size=30))
def test_ties_belong_to_the_bin_below_them_and_pixels_that_are_not_known_to_none(pixels):
    confidence, labels = np.array(pixels).T
    calibration = Calibration(bins=10)
    # The network answers class 1 throughout; with two classes its confidence is a half or more.
    second = torch.from_numpy(confidence / 100).view(1, 1, 1, -1)
    calibration.update(torch.cat([1 - second - 1e-9, second], dim=1), torch.from_numpy(labels).byte().view(1, 1, -1))
    known, wanted = labels != 255, []
    for low in range(10):
        chosen = known & (confidence > 10 * low) & (confidence <= 10 * (low + 1))
        wanted.append((chosen.sum(), confidence[chosen].mean() / 100 if chosen.any() else None,
                       (labels[chosen] == 1).mean() if chosen.any() else None))  # fmt: skip
    table = calibration.table()
    for row, (number, mean, accuracy) in zip(table, wanted, strict=True):
        assert row.pixels == number
        assert row.confidence.value == (pytest.approx(mean) if number else None)
        assert row.accuracy.value == (pytest.approx(accuracy) if number else None)
    if known.any():
        error = sum(number * abs(mean - accuracy) for number, mean, accuracy in wanted if number) / known.sum()
        assert calibration.error().value == pytest.approx(error)
    else:
        assert calibration.error() == (None, "no pixel is known")


def test_bins_go_from_0_to_1_and_an_empty_one_says_so():
    table = Calibration(bins=4).table()
    assert [(row.above, row.up_to) for row in table] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert table[0].accuracy == (None, "no pixel is as confident")


def test_a_network_that_is_always_sure_and_right_half_the_time_errs_by_a_half():
    calibration = Calibration()
    sure = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 1, 4)
    calibration.update(sure, torch.tensor([[[0, 1, 0, 1]]]).byte())
    assert calibration.error().value == 0.5
    assert calibration.table()[-1].pixels == 4


def test_half_precision_is_counted_as_any_other():
    probabilities, labels = drawn(3)
    one, other = Calibration(), Calibration()
    one.update(probabilities.half(), labels)
    other.update(probabilities, labels)
    assert one.error().value == pytest.approx(other.error().value, abs=1e-3)


@pytest.mark.parametrize("wrong", [1.5, float("nan")])
def test_logits_are_refused(wrong):
    with pytest.raises(InputError, match=f"probabilities hold {wrong}.*put logits through a softmax"):
        Calibration().update(torch.full((1, 2, 1, 1), wrong), torch.zeros(1, 1, 1).byte())


def test_halves_add_up_to_the_whole():
    whole, left, right = (Calibration() for _ in range(3))
    for seed, half in enumerate((left, right, right)):
        whole.update(*drawn(seed))
        half.update(*drawn(seed))
    left.counts += right.counts
    assert torch.allclose(left.counts, whole.counts)
    assert left.error().value == pytest.approx(whole.error().value)


def test_a_network_that_has_diverged_is_told_so():
    with pytest.raises(InputError, match=r"probabilities hold nan.*train a network that gives nan again"):
        Calibration().update(torch.full((1, 2, 1, 1), torch.nan), torch.zeros(1, 1, 1).byte())


@pytest.mark.parametrize("label", [3, 254])
def test_a_label_of_no_class_is_refused_and_not_counted_as_wrong(label):
    with pytest.raises(ValueError, match=f"labels hold class {label} and the counts are of 3"):
        Calibration().update(torch.full((1, 3, 1, 2), 1 / 3), torch.tensor([[[0, label]]]).byte())


@pytest.mark.parametrize(("confidence", "label"), [(torch.nan, 0), (1.5, 0), (0.5, 3), (0.5, 254)])
def test_where_nobody_looks_the_error_is_undefined_and_not_wrong(monkeypatch, confidence, label):
    # As on a GPU, where a look would cost a synchronisation.
    monkeypatch.setattr(calibration, "_check", lambda confidence: None)
    monkeypatch.setattr(calibration, "check_ids", lambda *_: None)
    sure = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 1, 2)
    sure[0, 0, 0, 1] = confidence
    found, unknown = Calibration(), Calibration()
    found.update(sure, torch.tensor([[[0, label]]]).byte())
    assert found.error() == (None, "a probability is not in 0 to 1 (nan, say), or a label is of no class")
    unknown.update(sure, torch.tensor([[[0, 255]]]).byte())
    assert unknown.error().value == 0.0
