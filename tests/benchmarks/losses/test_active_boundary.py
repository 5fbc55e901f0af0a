import math

import numpy as np
import pytest
import torch

from benchmarks.losses.active_boundary import NEIGHBOURS, active_boundary, distances, predicted_boundary
from tests.drawn import scene

IGNORED = 255


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=0))
    return shifted / shifted.sum(axis=0)


def nearest(there):
    """Distances by looking at every pixel."""
    result, places = np.full(there.shape, np.inf), np.argwhere(there)
    for y, x in np.ndindex(*there.shape):
        if len(places):
            result[y, x] = np.sqrt(((places - (y, x)) ** 2).sum(axis=1).min())
    return result


def kl(p, q):
    return float((p * (np.log(p) - np.log(q))).sum())


def twin(logits, labels):
    """The formulas, pixel by pixel."""
    total, count = 0.0, 0
    for scores, ids in zip(logits, labels, strict=True):
        p, (height, width) = softmax(scores), ids.shape
        true, differs = np.zeros(ids.shape, bool), np.zeros(ids.shape)
        for y, x in np.ndindex(height, width):
            for down, right in ((1, 0), (0, 1)):
                b, a = y + down, x + right
                if b < height and a < width:
                    true[y, x] |= ids[y, x] != ids[b, a] and IGNORED not in (ids[y, x], ids[b, a])
                    differs[y, x] = max(differs[y, x], kl(p[:, y, x], p[:, b, a]))
        away, hidden = nearest(true), nearest(ids == IGNORED)
        limit = max(1e-5, np.sort(differs.ravel())[::-1][int(0.01 * ids.size)])
        for y, x in np.argwhere((differs > limit) & (ids != IGNORED) & (away < hidden)):
            kls, ways = [], []
            for down, right in NEIGHBOURS:
                b, a = y + down, x + right
                inside = 0 <= b < height and 0 <= a < width
                ways.append(away[b, a] if inside else np.inf)
                b, a = min(max(b, 0), height - 1), min(max(a, 0), width - 1)
                kls.append(kl(p[:, y, x], p[:, b, a]))
            d = softmax(np.array(kls))
            target = np.full(8, 0.2 / 7)
            target[int(np.argmin(ways))] = 0.8
            total += min(away[y, x], 20) / 20 * float(-(target * np.log(d)).sum())
            count += 1
    return total / max(1, count)


@pytest.mark.parametrize("ignored", [0.0, 0.02])
def test_it_is_the_formula_pixel_by_pixel(ignored):
    labels = scene(24, 30, batch=2, ignored=ignored)
    torch.manual_seed(0)
    logits = 2 * torch.randn(2, 4, 24, 30)
    expected = twin(logits.double().numpy(), labels.numpy())
    assert expected > 0.01
    assert active_boundary(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def stripes(border, width=40, height=20):
    labels = torch.zeros(1, height, width, dtype=torch.uint8)
    labels[..., border:] = 1
    return labels


def certain(labels, size=4.0):
    """Logits of a sure prediction whose border goes over three pixels, as a network's does."""
    hard = torch.nn.functional.one_hot(labels.long(), 2).movedim(-1, 1).float()
    return size * torch.nn.functional.avg_pool2d(hard, (1, 3), stride=1, padding=(0, 1))


def test_a_border_far_off_costs_more_than_one_near_by_and_one_in_its_place_nothing():
    # One column of 20 among 800 pixels is more than 1% of them, but for what ties leave out.
    labels, losses = stripes(20), []
    for border in (20, 22, 28):
        noise = 0.01 * torch.rand(1, 2, 20, 40, generator=torch.Generator().manual_seed(1))
        losses.append(active_boundary(certain(stripes(border)) + noise, labels).item())
    # A predicted boundary lies on either of the two columns beside the border.
    assert losses[0] < 0.15 < losses[1] < losses[2]


def test_a_step_against_the_gradient_lowers_it():
    labels = scene(32, 32, batch=1)
    torch.manual_seed(1)
    logits = torch.randn(1, 4, 32, 32, requires_grad=True)
    loss = active_boundary(logits, labels)
    (gradient,) = torch.autograd.grad(loss, logits)
    # Only at predicted boundary pixels, never at their neighbours.
    moved = gradient.abs().sum(dim=1) > 0
    assert moved.any()
    assert not (moved & ~predicted_boundary(logits.detach().log_softmax(dim=1))).any()
    assert active_boundary(logits - 1e-2 * gradient, labels) < loss


def test_of_each_image_at_most_a_hundredth_is_predicted_boundary_and_none_of_one_that_is_the_same_all_over():
    torch.manual_seed(2)
    log_p = torch.randn(3, 4, 30, 40).log_softmax(dim=1)
    log_p[2] = log_p[2, :, :1, :1]
    found = predicted_boundary(log_p).sum(dim=(1, 2)).tolist()
    assert found == [12, 12, 0]


def test_what_no_boundary_or_an_ignored_pixel_leaves_open_is_a_zero_with_a_gradient():
    torch.manual_seed(3)
    logits = torch.randn(1, 2, 20, 40, requires_grad=True)
    for labels in (torch.zeros(1, 20, 40).byte(), torch.full((1, 20, 40), IGNORED).byte()):
        loss = active_boundary(logits, labels)
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, logits)[0].any()
    # Beside ignored pixels in place of the border, which parts no known ones.
    labels = stripes(20)
    labels[..., 18:22] = IGNORED
    away, hidden = distances(labels)
    assert math.isinf(away.min()) and hidden.max() == 18


def test_predictions_nearer_to_an_ignored_pixel_than_to_a_border_are_left_alone():
    labels = stripes(10)
    labels[..., 25:] = IGNORED
    torch.manual_seed(4)
    logits = torch.randn(1, 2, 20, 40, requires_grad=True)
    (gradient,) = torch.autograd.grad(active_boundary(logits, labels), logits)
    columns = gradient.abs().sum(dim=(0, 1, 2)).nonzero()[:, 0]
    # The border lies on column 9: from column 17 on the ignored ones are as near.
    assert len(columns) and columns.max() < 17
