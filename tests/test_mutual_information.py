import math

import pytest
import torch
import torch.nn.functional as F

from inverseform.mutual_information import RIDGE, RmiParams, rmi, unexplained
from inverseform.settings import InputError
from tests.drawn import CLASSES, scene

OPTIONS = {"weight": 0.5, "radius": 3, "downsampling": 3, "pooling": "average"}


def points(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(logits, labels, *, weight, radius, downsampling, pooling):
    """Cell by cell, region by region, with an inverse and a determinant."""
    total = 0.0
    reduce = torch.mean if pooling == "average" else torch.amax
    for image in range(len(logits)):
        known = labels[image] != 255
        for klass in range(logits.shape[1]):
            both = []
            for map in ((labels[image] == klass).double(), logits[image, klass].double().sigmoid() * known):
                rows, columns = (side // downsampling for side in map.shape)
                s = downsampling
                cells = [
                    [reduce(map[y * s : y * s + s, x * s : x * s + s]) for x in range(columns)] for y in range(rows)
                ]
                regions = [
                    torch.stack([cells[y + i][x + j] for i in range(radius) for j in range(radius)])
                    for y in range(rows - radius + 1)
                    for x in range(columns - radius + 1)
                ]
                both.append(torch.stack(regions))
            size = radius**2
            ridge = RIDGE * torch.eye(size, dtype=torch.float64)
            joint = torch.cov(torch.cat(both, dim=1).T, correction=0)
            y, yp, p = joint[:size, :size], joint[:size, size:], joint[size:, size:]
            left = y - yp @ torch.linalg.inv(p + ridge) @ yp.T
            total += float(torch.logdet(left + ridge) - torch.logdet(ridge)) / (2 * size) / len(logits)
    known = labels != 255
    crossed = sum(
        float(
            F.binary_cross_entropy_with_logits(
                logits[:, klass][known], (labels == klass)[known].float(), reduction="sum"
            )
        )
        for klass in range(logits.shape[1])
    )
    return weight * crossed / int(known.sum()) + (1 - weight) * total


@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize(("radius", "downsampling"), [(3, 3), (2, 1), (3, 2)])
def test_it_is_the_log_determinant_of_a_loop(pooling, radius, downsampling):
    logits = torch.randn(2, CLASSES, 17, 20, generator=torch.Generator().manual_seed(1)) * 2
    labels = scene(17, 20, ignored=0.05)
    options = {"weight": 0.3, "radius": radius, "downsampling": downsampling, "pooling": pooling}
    assert float(rmi(logits, labels, **options)) == pytest.approx(slow(logits, labels, **options), rel=1e-5)


def test_what_is_left_unexplained_is_that_of_gaussians_with_a_known_correlation():
    p, noise = points(1, 200_000), points(1, 200_000, seed=1)
    for share in (0.0, 0.6, 0.95):
        y = share * p + math.sqrt(1 - share**2) * noise
        # I(y; p) = -log(1 - share^2) / 2, and the entropy of y less that is what is left.
        expected = 0.5 * math.log(1 - share**2) - 0.5 * math.log(RIDGE)
        assert float(unexplained(y, p)) == pytest.approx(expected, abs=0.01)


def test_what_is_left_does_not_depend_on_the_scale_the_mixture_or_the_mean_of_the_prediction():
    y, p = points(9, 500), points(9, 500, seed=1) + points(9, 500)
    mixed = points(9, 9, seed=2) @ p + 7.0
    assert float(unexplained(y, mixed)) == pytest.approx(float(unexplained(y, p)), rel=1e-5)


def test_it_is_0_where_nothing_varies_never_below_and_small_for_what_is_predicted_perfectly():
    y = points(9, 500)
    assert float(unexplained(torch.ones_like(y), y)) == pytest.approx(0, abs=1e-9)
    assert 0 <= float(unexplained(y, y)) <= math.log(2) / 2 + 1e-6
    assert float(unexplained(y, torch.zeros_like(y))) > 6


def test_it_has_a_finite_gradient_at_flat_and_at_perfect_predictions():
    labels = scene(24, 24)
    perfect = F.one_hot(labels, CLASSES).movedim(-1, 1).float() * 200 - 100
    for logits in (torch.zeros_like(perfect), perfect):
        logits.requires_grad_()
        rmi(logits, labels, **OPTIONS).backward()
        assert logits.grad is not None and logits.grad.isfinite().all()


def test_it_sees_the_neighbours_where_cross_entropy_sees_pixels():
    labels = scene(48, 48, batch=1)
    target = F.one_hot(labels, CLASSES).movedim(-1, 1).float()
    moved = target.roll(2, dims=-1)
    wrong = (moved != target).flatten(1)
    # As many wrong pixels, all over the image.
    order = torch.rand(wrong.shape, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    scattered = target.flatten(1).clone()
    some = order[:, : int(wrong.sum())]
    scattered.scatter_(1, some, 1 - scattered.gather(1, some))
    losses = {}
    for name, map in (("moved", moved), ("scattered", scattered.view_as(target))):
        logits = (map * 2 - 1) * 3
        losses[name] = [float(rmi(logits, labels, **{**OPTIONS, "weight": weight})) for weight in (1.0, 0.0)]
    assert losses["moved"][0] == pytest.approx(losses["scattered"][0], rel=1e-4)
    assert abs(losses["moved"][1] - losses["scattered"][1]) > 0.05 * losses["moved"][1]


def test_its_gradient_is_that_of_the_function():
    logits, labels = points(1, CLASSES, 12, 13), scene(12, 13, batch=1, ignored=0.1)
    for pooling in ("average", "max"):
        options = {**OPTIONS, "pooling": pooling}
        assert torch.autograd.gradcheck(
            lambda x, o=options: rmi(x, labels, **o), logits.requires_grad_(), fast_mode=True
        )


def test_an_image_that_no_region_fits_into_is_refused():
    with pytest.raises(InputError, match=r"labels are 8x20 pixels: a region of rmi has 3 cells of 3 pixels"):
        rmi(torch.zeros(1, CLASSES, 8, 20), torch.zeros(1, 8, 20, dtype=torch.int64), **OPTIONS)


def test_its_settings_are_its_arguments():
    settings = RmiParams(name="rmi", **OPTIONS)
    assert settings.model_dump(exclude={"name"}) == OPTIONS
