import numpy as np
import pytest
import torch
from monai.losses.boundary_loss import BoundaryLoss
from monai.losses.hausdorff_loss import HausdorffDTLoss

from benchmarks.losses import peers
from tests.drawn import scene

IGNORED = 255
BUILD = [peers.monai_boundary, peers.monai_hausdorff, peers.kornia_hausdorff]


@pytest.fixture
def logits():
    return torch.randn(2, 4, 24, 30, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_without_ignored_pixels_they_are_the_libraries_own(logits):
    from kornia.losses import HausdorffERLoss

    labels = scene(24, 30, batch=2)
    for build, loss in ((peers.monai_boundary, BoundaryLoss), (peers.monai_hausdorff, HausdorffDTLoss)):
        expected = loss(include_background=True, to_onehot_y=True, softmax=True)(logits, labels[:, None])
        assert build()(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    expected = HausdorffERLoss()(logits.softmax(dim=1), labels[:, None])
    assert peers.kornia_hausdorff()(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("build", BUILD)
def test_an_ignored_pixel_neither_learns_nor_changes_what_others_learn(build, logits):
    labels = scene(24, 30, batch=2)
    labels[:, 3:9, 4:12] = IGNORED
    ignored = (labels == IGNORED)[:, None].expand_as(logits)
    loss = build()
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    assert not gradient[ignored].any() and gradient[~ignored].any()
    other = torch.where(ignored, logits.flip(1), logits)
    (again,) = torch.autograd.grad(loss(other, labels), logits)
    assert torch.equal(gradient[~ignored], again[~ignored])


@pytest.mark.parametrize("build", BUILD)
def test_an_image_of_which_nothing_is_known_has_no_part_and_two_of_them_are_a_zero(build, logits):
    labels = scene(24, 30, batch=2).byte()
    labels[1] = IGNORED
    loss = build()
    assert loss(logits, labels).item() == pytest.approx(loss(logits[:1], labels[:1]).item(), rel=1e-6)
    nothing = loss(logits, torch.full_like(labels, IGNORED))
    assert nothing.item() == 0 and not torch.autograd.grad(nothing, logits)[0].any()


def test_ignored_pixels_take_the_class_of_the_nearest_known_one():
    labels = scene(24, 30, batch=2, ignored=0.6)
    found = peers.filled(labels.byte()).numpy()
    for image, given in zip(found, labels.numpy(), strict=True):
        known = np.argwhere(given != IGNORED)
        for y, x in np.ndindex(*given.shape):
            away = ((known - (y, x)) ** 2).sum(axis=1)
            nearest = known[away == away.min()]
            assert image[y, x] in given[nearest[:, 0], nearest[:, 1]]


def value(build, rows, columns):
    """Of a sure prediction whose right class reaches into the wrong one, in some rows and columns."""
    labels = torch.zeros(1, 32, 32, dtype=torch.int64)
    labels[..., 24:] = 1
    predicted = labels.clone()
    predicted[:, rows, columns] = 1
    return build()(8 * torch.nn.functional.one_hot(predicted, 2).movedim(-1, 1).float(), labels).item()


@pytest.mark.parametrize("build", [peers.monai_boundary, peers.monai_hausdorff])
def test_as_many_wrong_pixels_cost_more_the_farther_they_are_from_the_border(build):
    assert value(build, slice(8, 20), slice(22, 24)) < value(build, slice(8, 20), slice(4, 6))
