import numpy as np
import pytest
import torch

from benchmarks.losses.boundary_dou import boundary_dou
from tests.drawn import scene

IGNORED = 255


def twin(logits, labels):
    """The paper's ratio of sets, class by class and pixel by pixel."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    ratios = []
    for klass in range(logits.shape[1]):
        size = boundary = shared = squares = 0.0
        for image, ids in enumerate(labels):
            height, width = ids.shape
            for y, x in np.ndindex(height, width):
                if ids[y, x] == IGNORED:
                    continue
                squares += p[image, klass, y, x] ** 2
                if ids[y, x] != klass:
                    continue
                size, shared, squares = size + 1, shared + p[image, klass, y, x], squares + 1
                around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
                boundary += any(
                    0 <= b < height and 0 <= a < width and ids[b, a] not in (klass, IGNORED) for b, a in around
                )
        if size:
            alpha, union = min(max(1 - 2 * boundary / size, 0), 0.8), squares - shared
            ratios.append((union - shared) / (union - alpha * shared))
    return np.mean(ratios)


@pytest.mark.parametrize("ignored", [0.0, 0.1])
def test_it_is_the_ratio_of_the_paper(ignored):
    labels = scene(24, 30, batch=2, ignored=ignored)
    # A class that is nowhere has no part in it.
    labels[labels == 2] = 1
    torch.manual_seed(0)
    logits = 2 * torch.randn(2, 4, 24, 30)
    expected = twin(logits.double().numpy(), labels.numpy())
    assert boundary_dou(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_it_goes_from_0_where_all_is_right_to_1_where_all_is_wrong():
    labels = scene(24, 30, batch=1)
    right = 100 * torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    assert boundary_dou(right, labels).item() == pytest.approx(0, abs=1e-6)
    assert boundary_dou(right.roll(1, dims=1), labels).item() == pytest.approx(1, abs=1e-6)


def test_the_inside_of_a_large_class_weighs_less_than_its_boundary():
    """What the loss is for: with alpha above 0 a wrong pixel costs more than intersection over union has it."""
    labels = torch.zeros(1, 40, 40, dtype=torch.uint8)
    labels[..., 20:] = 1
    logits = 100 * torch.nn.functional.one_hot(labels.long(), 2).movedim(-1, 1).float()
    logits[:, :, :, 20] = logits[:, :, :, 19]
    # 780 of 840 and 760 of 800 pixels are shared; a twentieth of each class is its boundary: alpha would be 0.9.
    expected = sum((union - shared) / (union - 0.8 * shared) for union, shared in ((840, 800), (800, 760))) / 2
    assert boundary_dou(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_ignored_pixels_have_no_gradient_and_where_all_are_ignored_the_loss_is_a_zero():
    labels = scene(24, 30, batch=2, ignored=0.2)
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 24, 30, requires_grad=True)
    (gradient,) = torch.autograd.grad(boundary_dou(logits, labels), logits)
    ignored = (labels == IGNORED)[:, None].expand_as(gradient)
    assert not gradient[ignored].any() and gradient[~ignored].any()
    loss = boundary_dou(logits, torch.full_like(labels, IGNORED))
    assert loss.item() == 0 and not torch.autograd.grad(loss, logits)[0].any()
