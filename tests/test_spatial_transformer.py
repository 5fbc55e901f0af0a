import math

import pytest
import torch

from inverseform import spatial_transformer
from inverseform.settings import InputError
from inverseform.spatial_transformer import (
    SIDE,
    Localiser,
    SpatialTransformerParams,
    divergence,
    energy,
    fit,
    scenes,
    standing_out,
)
from inverseform.transform import TransformRanges, draw, identity

RANGES = TransformRanges(translation=0.3, scale=(0.9, 1.1), rotation=5.0, shear=4.0, perspective=0.1)
WIDE = 2 * SIDE


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def stripes(offset, count=1):
    """Scenes with a boundary down the middle, and an edge of the image so many pixels to the right of it."""
    scene = torch.zeros(count, 2, WIDE, WIDE)
    scene[:, 0, :, SIDE + offset :] = 0.5
    scene[:, 1, :, SIDE - 1 : SIDE + 1] = 1
    return scene


def shifted(pixels, count=1):
    """Moves the boundary so many pixels of the scene to the right: theta goes the other way."""
    theta = identity(count, like=torch.zeros(1))
    theta[:, 0, 2] = -pixels * 2 / SIDE
    return theta


def test_a_fresh_localiser_gives_the_random_draw():
    localiser = Localiser.fresh(RANGES, 8, seed=1)
    mean, factor = localiser(torch.rand(5, 2, WIDE, WIDE, generator=generator()))
    assert not mean.any() and torch.equal(factor, torch.eye(8).expand(5, 8, 8))
    assert torch.allclose(divergence(mean, factor), torch.zeros(5))


@pytest.mark.parametrize("numbers", [4, 6, 8])
def test_the_prior_is_the_bounded_random_draw(numbers):
    """The same quantiles of every entry of theta, so that KL measures the distance from the draw itself."""
    localiser = Localiser.fresh(RANGES, numbers, seed=1)
    ours = localiser.transforms(torch.randn(40000, numbers, generator=generator()))
    drawn = draw(40000, RANGES, degrees_of_freedom=numbers, generator=generator(1))
    levels = torch.linspace(0, 1, 21)
    for one, other in zip(ours.flatten(1).T, drawn.flatten(1).T, strict=True):
        assert torch.allclose(one.quantile(levels), other.quantile(levels), atol=0.012)


def test_the_divergence_is_that_of_torch():
    mean, factor = torch.randn(4, 6, generator=generator()), torch.randn(4, 6, 6, generator=generator(1)).tril()
    factor.diagonal(dim1=1, dim2=2).abs_().add_(0.2)
    normal = torch.distributions.MultivariateNormal
    slow = torch.distributions.kl_divergence(normal(mean, scale_tril=factor), normal(torch.zeros(6), torch.eye(6)))
    assert torch.allclose(divergence(mean, factor), slow, atol=1e-4)


def test_the_energy_is_least_where_the_boundary_lies_on_another_edge():
    scene = stripes(5)
    values = torch.cat([energy(scene, shifted(pixels)) for pixels in range(-8, 9)])
    assert range(-8, 9)[int(values.argmin())] == 5
    # A basin, from both sides.
    assert (values[10:13].diff() < 0).all() and (values[13:16].diff() > 0).all()


def test_staying_on_the_boundary_gains_nothing():
    """Its own edge is the strongest of an image; the identity would win without this."""
    scene = stripes(0)
    assert energy(scene, shifted(0)).item() == pytest.approx(0, abs=0.05)
    scene = stripes(5)
    scene[:, 0, :, SIDE:] += 0.5
    assert energy(scene, shifted(5)) < energy(scene, shifted(0)) - 0.3


def test_an_image_without_contrast_says_nothing():
    scene = stripes(5)
    scene[:, 0] *= 0.001
    assert energy(scene, shifted(5)).abs() < 0.05
    assert not standing_out(torch.full((1, 1, WIDE, WIDE), 0.7), scene[:, 1:]).any()


def test_the_energy_has_a_gradient_in_theta_that_points_to_the_edge():
    theta = shifted(4).requires_grad_()
    energy(stripes(5), theta).sum().backward()
    # Down the gradient means theta's shift becomes more negative, the boundary goes on to the right.
    assert theta.grad is not None and theta.grad[0, 0, 2] > 0


def test_a_fitted_localiser_moves_boundaries_to_the_edge_it_sees_and_stays_spread_out():
    sides = torch.tensor([5, -5] * 32)
    pool = torch.cat([stripes(side) for side in sides.tolist()])
    noise = torch.rand(pool[:, :1].shape, generator=generator()) * 0.1
    pool = torch.cat([(pool[:, :1] + noise).clamp(0, 1), pool[:, 1:]], dim=1)
    params = SpatialTransformerParams(temperature=0.1, steps=100, batch=16, learning_rate=0.004)
    localiser = Localiser.fresh(RANGES, 4, seed=1)
    objective = list(fit(localiser, (pool * 255).byte(), params, seed=1))
    assert len(objective) == 100 and sum(objective[-10:]) < sum(objective[:10]) - 10
    theta = localiser.draw(pool, generator(2))
    right = -theta[:, 0, 2] * SIDE / 2
    assert right[sides > 0].mean() > 1.5 and right[sides < 0].mean() < -1.5
    # Nothing says how far up or down: that stays as wide as the random draw, 0.3 / sqrt(3).
    assert theta[:, 1, 2].std() > 0.7 * 0.3 / math.sqrt(3)
    own, other = energy(pool, theta).mean(), energy(pool.roll(1, 0), theta).mean()
    assert own < other - 0.2


def test_a_fit_depends_on_its_seed_alone():
    pool = (torch.cat([stripes(side) for side in range(3, 11)]) * 255).byte()
    params = SpatialTransformerParams(temperature=0.1, steps=3, batch=4, learning_rate=0.01)
    runs = []
    for seed in (1, 1, 2):
        torch.rand(seed)
        runs.append(list(fit(Localiser.fresh(RANGES, 6, seed=seed), pool, params, seed=seed)))
    assert runs[0] == runs[1] != runs[2]


def test_the_localiser_is_small():
    assert sum(weight.numel() for weight in Localiser.fresh(RANGES, 8, seed=1).parameters()) < 200_000


@pytest.mark.parametrize("tile", [16, 32, 48])
def test_a_scene_is_the_tile_with_its_surroundings(tile):
    image = torch.randint(0, 255, (3, 100, 120), generator=generator(), dtype=torch.uint8)
    boundary = (torch.rand(1, 100, 120, generator=generator()) < 0.2).float()
    (scene,) = scenes(image, boundary, torch.tensor([[30, 40]]), tile)
    rows, columns = slice(30 - tile // 2, 30 + 3 * tile // 2), slice(40 - tile // 2, 40 + 3 * tile // 2)
    assert scene.shape == (2, WIDE, WIDE)
    assert scene[1].mean().item() == pytest.approx(boundary[0, rows, columns].mean().item(), abs=0.01)
    if tile == SIDE:
        assert torch.allclose(scene[0], image[:, rows, columns].float().mean(dim=0) / 255, atol=1e-6)
        assert torch.equal(scene[1], boundary[0, rows, columns])


def test_the_frame_of_an_image_is_no_edge_and_has_no_boundary_beyond():
    image, boundary = torch.full((3, 40, 40), 200, dtype=torch.uint8), torch.ones(1, 40, 40)
    (scene,) = scenes(image, boundary, torch.tensor([[0, 8]]), SIDE)
    assert torch.allclose(scene[0], torch.tensor(200 / 255))
    assert not scene[1, : SIDE // 2].any() and scene[1, SIDE // 2 : SIDE // 2 + 40, 8:48].all()


def test_a_localiser_comes_back_from_disk(tmp_path):
    localiser = Localiser.fresh(RANGES, 6, seed=3)
    torch.nn.init.normal_(localiser.head.weight)
    spatial_transformer.save(tmp_path / "localiser", localiser, tile=40)
    found = spatial_transformer.load(tmp_path / "localiser", ranges=RANGES, degrees_of_freedom=6, tile=40)
    scene = torch.rand(3, 2, WIDE, WIDE, generator=generator())
    assert torch.equal(found.draw(scene, generator(1)), localiser.draw(scene, generator(1)))


@pytest.mark.parametrize(("name", "value"), [("tile", 48), ("degrees_of_freedom", 4), ("ranges", None)])
def test_a_localiser_that_was_fitted_for_others_is_refused(tmp_path, name, value):
    spatial_transformer.save(tmp_path / "localiser", Localiser.fresh(RANGES, 6, seed=3), tile=40)
    wanted = {"tile": 40, "degrees_of_freedom": 6, "ranges": RANGES}
    wanted[name] = value or RANGES.model_copy(update={"translation": 0.1})
    with pytest.raises(InputError, match=rf"was fitted with {name} .* and synthesize\.{name} is .*--fit` anew"):
        spatial_transformer.load(tmp_path / "localiser", **wanted)
