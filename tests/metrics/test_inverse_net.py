import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import r2_score

from inverseform.boundary import BoundaryParams
from inverseform.distance import euclidean
from inverseform.inverse_net import DenseParams, InverseNet, InverseNetSettings
from inverseform.metrics.inverse_net import UNITS, Determination, estimate, response
from inverseform.transform import TransformRanges, compose, warp
from tests.drawn import small_net

TILE = 32


def numbers(rows, columns, seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.randn(rows, columns, generator=generator) + 0.3) * spread
    return truth + 0.4 * spread * torch.randn(rows, columns, generator=generator), truth


@settings(deadline=None, max_examples=50)
@given(
    st.integers(2, 60), st.integers(1, 8), st.integers(0, 99), st.integers(1, 20), st.sampled_from([1e-7, 1e-3, 1.0])
)
def test_the_share_explained_is_that_of_scikit_learn_whatever_the_batches(rows, columns, seed, size, spread):
    guess, truth = numbers(rows, columns, seed, spread)
    determination = Determination(columns)
    for some in zip(guess.split(size), truth.split(size), strict=True):
        determination.update(*some)
    expected = r2_score(truth.double().numpy(), guess.double().numpy(), multioutput="raw_values")
    assert determination.compute() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-5)


def test_a_perfect_estimate_explains_all_and_the_mean_explains_nothing():
    _, truth = numbers(50, 3, seed=0)
    determination = Determination(3)
    determination.update(truth, truth)
    assert determination.compute() == [1.0] * 3
    determination = Determination(3)
    determination.update(truth.mean(dim=0).expand(50, 3), truth)
    assert determination.compute() == pytest.approx([0.0] * 3, abs=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.3, 1000.1])
def test_where_the_truth_never_varies_there_is_nothing_to_explain(constant):
    determination = Determination(2)
    for seed in range(40):
        guess, truth = numbers(2500, 2, seed)
        truth[:, 1] = constant
        determination.update(guess, truth)
    first, second = determination.compute()
    assert 0.8 < first < 0.9 and second is None


def test_nothing_counted_is_nothing_known():
    assert Determination(4).compute() == [None] * 4


def squares(side=6, count=3):
    """Tiles with a square each, near enough to the middle to stay in the inner part when they are moved."""
    tiles = torch.zeros(count, TILE, TILE)
    for number, tile in enumerate(tiles):
        top = TILE // 2 - side // 2 + number - 1
        tile[top : top + side, top : top + side] = 1
    return tiles


def centroid_net(mass):
    """An inverse network set by hand: it measures how far the centre of mass has moved.

    A predicted tile under a shift of t shows at u what the target shows at u + t: its centre of mass lies at -t. Each
    of x and y goes through two hidden units, of either sign, as ReLU lets only one of them pass.
    """
    settings = InverseNetSettings(
        network=DenseParams(name="dense", pooling=1, hidden=(4,)), tile=TILE, degrees_of_freedom=6, occupancy=0.0,
        boundary=BoundaryParams(operator="sobel", radius=1),
        ranges=TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=10.0, shear=5.0),
        mean=(0.0,) * 6, scale=(2.0,) * 6,
    )  # fmt: skip
    net = InverseNet(settings)
    place = (torch.arange(TILE) * 2 + 1) / TILE - 1
    x, y = place.expand(TILE, TILE).flatten(), place[:, None].expand(TILE, TILE).flatten()
    moved = torch.stack([torch.cat([-axis, axis]) / mass for axis in (x, y)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.layers[0].weight.copy_(torch.cat([moved, -moved]))
        # In units of the scale, 2; the numbers 2 and 5 are the shifts.
        for row, units in ((2, (0, 2)), (5, (1, 3))):
            net.layers[1].weight[row, units[0]], net.layers[1].weight[row, units[1]] = 0.5, -0.5
    return net


def test_equal_tiles_are_no_distance_apart_whatever_the_network():
    tiles = torch.rand(4, 16, 16, generator=torch.Generator().manual_seed(0))
    theta = estimate(small_net(), tiles, tiles)
    assert torch.equal(theta, torch.eye(3).expand(4, 3, 3))


def test_an_estimate_is_that_of_the_two_less_that_of_the_target_with_itself():
    net = small_net()
    predicted, target = torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    both, alone = net.theta(net(predicted, target)), net.theta(net(target, target))
    assert torch.allclose(estimate(net, predicted, target), both - alone + torch.eye(3), atol=1e-6)


def test_a_network_that_measures_the_centre_of_mass_finds_the_shift():
    tiles = squares()
    shift = torch.tensor([[0.1, -0.2]]).expand(3, 2)
    theta = compose(shift, torch.ones(3, 2), torch.zeros(3), torch.zeros(3))
    found = estimate(centroid_net(36), warp(tiles[:, None], theta)[:, 0], tiles)
    assert torch.allclose(found, theta, atol=1e-5)


def test_the_response_to_a_shift_is_the_shift():
    amounts = [0.0, 0.05, 0.1, 0.15, 0.2]
    assert response(centroid_net(36), squares(), "shift", amounts) == pytest.approx(amounts, abs=1e-5)


def test_a_turn_and_a_scale_about_the_centre_move_no_centre_of_mass():
    tiles = squares()[1:2]  # the one in the middle
    assert response(centroid_net(36), tiles, "rotation", [5.0, 12.0]) == pytest.approx([0, 0], abs=1e-5)
    assert response(centroid_net(36), tiles, "scale", [0.1, 0.2]) == pytest.approx([0, 0], abs=1e-5)


@pytest.mark.parametrize("move", UNITS)
@pytest.mark.parametrize("tile", [4, 6, 8, 16])
def test_no_move_has_no_response_and_a_move_has_one_at_any_size_of_tile(move, tile):
    tiles = torch.rand(5, tile, tile, generator=torch.Generator().manual_seed(0))
    still, moved = response(small_net(tile=tile), tiles, move, [0.0, 0.2 if move != "rotation" else 12.0])
    assert still == pytest.approx(0, abs=1e-5)
    assert moved > 1e-4


def test_what_lies_in_the_rim_of_a_tile_does_not_count():
    tiles = squares()
    rim = tiles.clone()
    rim[:, :3] = rim[:, -3:] = 1
    rim[:, :, :3] = rim[:, :, -3:] = 1
    assert response(centroid_net(36), rim, "shift", [0.0, 0.05]) == pytest.approx([0, 0.05], abs=1e-5)


def test_the_response_of_a_fitted_network_grows_with_the_move():
    """A network fitted by least squares to shifted blobs: the larger the shift, the larger its distance."""
    generator = torch.Generator().manual_seed(0)
    place = torch.arange(16.0) - 7.5
    middle = 2 * torch.rand(600, 2, 1, generator=generator) - 1
    shift = (torch.rand(600, 2, generator=generator) * 2 - 1) * 0.3

    def blobs(at):
        rows, columns = (torch.exp(-((place - at[:, axis]) ** 2) / 6) for axis in (1, 0))
        return rows[:, :, None] * columns[:, None, :]

    target, predicted = blobs(middle), blobs(middle - 8 * shift[..., None])
    wide = DenseParams(name="dense", pooling=2, hidden=(256,))
    torch.manual_seed(0)
    net = InverseNet(small_net().settings.model_copy(update={"network": wide})).requires_grad_(False)
    # The network answers in units of its scale, less its mean.
    truth = torch.zeros(600, 6)
    truth[:, [2, 5]] = shift
    truth = (truth - net.mean) / net.scale
    # The hidden layer stays as it was drawn; the last is the least-squares solution over it, with a little ridge.
    first, last = net.layers
    pooled = [F.avg_pool2d(tile, 2).flatten(1) for tile in (predicted, target)]
    hidden = F.pad(F.relu(first(torch.cat(pooled, dim=1))), (0, 1), value=1.0)
    solution = torch.linalg.solve(hidden.T @ hidden + 1e-3 * torch.eye(257), hidden.T @ truth)
    last.weight.copy_(solution[:-1].T)
    last.bias.copy_(solution[-1])
    found = response(net, target, "shift", [0.0, 0.05, 0.1, 0.15, 0.2])
    assert found[0] == pytest.approx(0, abs=1e-5)
    assert found == sorted(found)
    assert euclidean(estimate(net, predicted, target)).mean().item() > found[1]
    assert found[-1] == pytest.approx(0.2, rel=0.35)
