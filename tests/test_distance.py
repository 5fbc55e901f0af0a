import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.distance import DISTANCES, _reach, euclidean, geodesic, lie
from inverseform.transform import identity
from tests.drawn import ROOT

quick = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**32)


def matrices(size):
    """Offsets whose entries are up to a size."""
    entries = st.lists(st.floats(-size, size), min_size=9, max_size=9)
    return entries.map(lambda x: torch.tensor(x, dtype=torch.float64).reshape(3, 3))


def drawn(count, *, noise, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return identity(count, like=torch.zeros(1, dtype=torch.float64)) + noise * torch.randn(
        count, 3, 3, generator=generator, dtype=torch.float64
    )


def rotation(angle, seed=0):
    """A turn about some axis."""
    axis = np.random.default_rng(seed).normal(size=3)
    x, y, z = axis / np.linalg.norm(axis) * angle
    return torch.from_numpy(scipy.linalg.expm(np.array([[0.0, -z, y], [z, 0, -x], [-y, x, 0]])))


def orthogonal(seed, sign=1.0):
    return rotation(2.0, seed) * sign


def diagonal(*entries):
    return torch.diag(torch.tensor(entries, dtype=torch.float64))


def with_singular_values(*values, seed=0):
    """A negative last one makes the determinant negative."""
    return rotation(1.0, seed) @ diagonal(*values) @ rotation(2.0, seed + 1)


SINGULAR = {
    "zero": diagonal(0, 0, 0),
    "flip": diagonal(-1, 1, 1),
    "reflection with equal values": diagonal(1, 1, -1),
    "inversion": diagonal(-1, -1, -1),
    "half turn": diagonal(-1, -1, 1),
    "half turn about another axis": rotation(math.pi),
    "swap": diagonal(1, 1, 1)[[1, 0, 2]],
    "collapsed axis": diagonal(1, 0, 1),
    "rank 1": torch.ones(3, 3, dtype=torch.float64),
    "rank 1, tiny": torch.full((3, 3), 1e-30, dtype=torch.float64),
    "nilpotent": torch.diag(torch.ones(2, dtype=torch.float64), 1),
    "defective and negative": diagonal(-1, -1, 1) + torch.tensor([[0.0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    "opposite values": with_singular_values(2.0, 0.5, -0.5),
    "nearly opposite values": with_singular_values(2.0, 0.5, -0.5 + 1e-7),
    "large": 1e12 * torch.tensor([[2.0, 1, 1], [1, 2, 1], [1, 1, 2]], dtype=torch.float64),
    "large and skew": 1e6 * torch.tensor([[0.0, 1, 2], [-1, 0, 3], [-2, -3, 0]], dtype=torch.float64),
}


def slope(distance, theta):
    theta = theta.detach().clone().requires_grad_()
    return torch.autograd.grad(distance(theta).sum(), theta)[0]


@pytest.fixture(params=DISTANCES.values(), ids=DISTANCES)
def distance(request):
    return request.param


# All of them.


def test_distance_is_zero_at_the_identity_and_so_is_its_gradient(distance):
    for dtype in (torch.float32, torch.float64):
        theta = identity(2, like=torch.zeros(1, dtype=dtype))
        assert not distance(theta).any() and not slope(distance, theta).any()


@quick
@given(matrices(3))
def test_distance_is_zero_only_at_the_identity(offset):
    size = torch.linalg.vector_norm(offset)
    for distance in DISTANCES.values():
        assert (distance(torch.eye(3) + offset) > 0.01 * min(size, size**2)) or size < 1e-6


def test_value_and_gradient_are_finite_where_a_decomposition_has_none(distance):
    theta = torch.stack([*SINGULAR.values()])
    for dtype in (torch.float32, torch.float64):
        values, gradient = distance(theta.to(dtype)), slope(distance, theta.to(dtype))
        assert values.isfinite().all() and (values > 0.05).all() and gradient.isfinite().all()


@pytest.mark.parametrize("noise", [1e-7, 1e-3, 0.2, 3.0])
def test_value_and_gradient_are_finite_at_random(distance, noise):
    theta = drawn(20_000, noise=noise).float()
    assert distance(theta).isfinite().all() and slope(distance, theta).isfinite().all()


@pytest.mark.parametrize("noise", [1e-3, 0.2, 1.0])
def test_gradient_agrees_with_differences(distance, noise):
    assert torch.autograd.gradcheck(distance, drawn(8, noise=noise).requires_grad_())


@pytest.mark.parametrize(
    "theta",
    [
        with_singular_values(1.0, 2e-3, 1e-3),
        with_singular_values(1.0, 2e-3, -1e-3),
        with_singular_values(1.0, 0.5, -0.499),
        rotation(math.pi - 1e-3),
        rotation(math.pi - 1e-3) @ diagonal(1.2, 1, 0.8),
        diagonal(1, 1, 1e-3),
    ],
)
def test_gradient_agrees_with_differences_a_thousandth_from_the_singular_places(distance, theta):
    assert torch.autograd.gradcheck(distance, theta.clone().requires_grad_(), eps=1e-7, rtol=1e-4, atol=1e-5)


def test_gradient_in_single_precision_is_that_in_double(distance):
    theta = drawn(500, noise=0.2)
    torch.testing.assert_close(slope(distance, theta.float()).double(), slope(distance, theta), rtol=1e-4, atol=1e-4)


@quick
@given(matrices(2), seeds, st.sampled_from([1.0, -1.0]))
def test_distance_is_the_same_in_every_frame_and_of_the_transpose(offset, seed, sign):
    theta = torch.eye(3) + offset + 1e-3 * drawn(1, noise=1.0, seed=seed)[0]
    frame = orthogonal(seed % 1000, sign)
    for distance in DISTANCES.values():
        for other in (theta.mT, frame @ theta @ frame.mT):
            torch.testing.assert_close(distance(other), distance(theta), rtol=1e-6, atol=1e-9)


def test_autocast_and_half_precision_are_computed_in_single(distance):
    theta = drawn(50, noise=0.2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values, gradient = distance(theta), slope(distance, theta)
        half = distance(theta.bfloat16())
    assert values.dtype == half.dtype == torch.float32
    assert torch.equal(values, distance(theta)) and torch.equal(gradient, slope(distance, theta))
    assert torch.equal(half, distance(theta.bfloat16().float()))
    assert slope(distance, theta.bfloat16()).dtype == torch.bfloat16


def test_what_is_not_finite_gives_nan_and_spares_its_neighbours(distance):
    theta = drawn(3, noise=0.2)
    values = distance(theta)
    theta[1, 0, 2] = math.nan
    assert distance(theta)[1].isnan() and torch.equal(distance(theta)[[0, 2]], values[[0, 2]])


def test_distance_takes_any_batch(distance):
    theta = drawn(6, noise=0.2)
    assert torch.allclose(distance(theta.unflatten(0, (2, 3))).flatten(), distance(theta), rtol=1e-12)
    assert torch.allclose(distance(theta[0]), distance(theta)[0], rtol=1e-12)
    assert distance(theta[:0]).shape == (0,)


COMPILED = """
import torch
from inverseform.distance import DISTANCES
def distances(theta):
    return torch.stack([distance(theta) for distance in DISTANCES.values()])
results = []
for run in (distances, torch.compile(distances, fullgraph=True, backend="aot_eager")):
    theta = (torch.eye(3) + 0.2 * torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0))).requires_grad_()
    values = run(theta)
    (values * torch.tensor([[1.0], [2], [3]])).sum().backward()
    results.append((values, theta.grad))
for one, other in zip(*results, strict=True):
    torch.testing.assert_close(one, other)
"""


# In a process of its own: pytest's checks of annotations cannot be traced.
def test_distances_compile_in_one_graph_with_the_same_values_and_gradients():
    subprocess.run([sys.executable, "-c", COMPILED], check=True, cwd=ROOT)


# The Euclidean one.


@quick
@given(matrices(3))
def test_euclidean_is_the_root_of_the_sum_of_squares(offset):
    slow = sum(x.item() ** 2 for x in offset.flatten()) ** 0.5
    assert abs(euclidean((torch.eye(3) + offset).float()).item() - slow) < 1e-5


# The geodesic one.


def nearest_rotation(theta):
    left, _, right = np.linalg.svd(theta)
    return left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right


@pytest.mark.parametrize(("noise", "within"), [(0.2, 1e-6), (1.0, 2e-5), (10.0, 2e-4)])
def test_geodesic_is_eq_3_with_the_determinant_of_u_v_transposed(noise, within):
    theta = drawn(500, noise=noise)
    slow = []
    for matrix in theta.numpy():
        nearest = nearest_rotation(matrix)
        slow.append(np.arccos((np.trace(nearest) - 1) / 2) + 0.1 * np.sum((matrix - nearest) ** 2))
    np.testing.assert_allclose(geodesic(theta), slow, rtol=1e-9)
    np.testing.assert_allclose(geodesic(theta.float()), slow, rtol=within)
    assert 0.1 < (torch.linalg.det(drawn(500, noise=1.0)) < 0).double().mean()


@quick
@given(st.floats(0, math.pi), st.integers(0, 1000))
def test_geodesic_of_a_rotation_is_its_angle(angle, seed):
    assert abs(geodesic(rotation(angle, seed)).item() - angle) < 1e-7


@quick
@given(st.floats(0.01, 5), st.floats(0.01, 5), st.floats(0, 1))
def test_geodesic_sees_the_square_of_a_change_of_size_and_no_more(x, y, weight):
    left = weight * ((x - 1) ** 2 + (y - 1) ** 2)
    assert abs(geodesic(diagonal(x, y, 1), weight).item() - left) < 1e-9


def test_geodesic_gradient_of_a_half_turn_leaves_the_direction_open():
    assert not slope(geodesic, diagonal(-1, -1, 1)).any()
    before = slope(geodesic, rotation(math.pi - 1e-6))
    after = slope(geodesic, rotation(math.pi + 1e-6))
    assert before.norm() > 0.5 and torch.allclose(before, -after, atol=1e-5)


@pytest.mark.parametrize("gap", [1e-1, 1e-2, 1e-3, 6e-4, 4e-4, 1e-5, 0.0])
def test_geodesic_gradient_grows_to_a_bound_and_fades_where_the_nearest_rotations_are_many(gap):
    size = slope(geodesic, with_singular_values(1.0, 0.5, -0.5 + gap)).norm().item()
    assert size < 4000
    assert gap > 1e-5 or size < 100


def test_geodesic_refuses_a_second_derivative():
    theta = drawn(1, noise=0.2).requires_grad_()
    (gradient,) = torch.autograd.grad(geodesic(theta).square().sum(), theta, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


# The one in the Lie algebra.


def affine(offset):
    return torch.eye(3) + offset * torch.tensor([[1.0], [1], [0]])


@quick
@given(matrices(0.3))
def test_lie_is_the_norm_of_the_logarithm(offset):
    # Near the least numbers there are, scipy's own logarithm divides by what it has rounded to nothing.
    offset = offset.where(offset.abs() > 1e-200, 0.0)
    for theta in (affine(offset), torch.eye(3) + offset):
        slow = np.linalg.norm(scipy.linalg.logm(theta.numpy()))
        assert abs(lie(theta).item() - slow) < 1e-10
        assert abs(lie(theta.float()).item() - slow) < 2e-5


@pytest.mark.parametrize(
    ("theta", "wanted"),
    [
        (rotation(math.radians(71)), math.sqrt(2) * math.radians(71)),
        (diagonal(0.33, 0.33, 1), math.sqrt(2) * math.log(1 / 0.33)),
        (diagonal(7, 7, 1), math.sqrt(2) * math.log(7)),
        (diagonal(0.1, 1, 1), math.log(10)),
        (diagonal(3.7, 1, 1), math.log(3.7)),
        (diagonal(1, 1, 1) + 1.55 * diagonal(1, 1, 1)[[2, 1, 0]] * diagonal(1, 0, 0).sum(1)[:, None], 1.55),
    ],
)
def test_lie_is_exact_for_moves_alone_as_far_as_promised(theta, wanted):
    assert abs(lie(theta).item() - wanted) < 1e-8


@quick
@given(matrices(0.12))
def test_lie_of_the_inverse_is_the_same_and_of_the_square_twice(offset):
    theta = torch.eye(3) + offset
    assert abs(lie(torch.linalg.inv(theta)) - lie(theta)) < 1e-10
    assert abs(lie(theta @ theta) - 2 * lie(theta)) < 1e-10


@quick
@given(matrices(30))
def test_lie_takes_the_logarithm_of_nothing_near_the_negative_axis(offset):
    inside = torch.eye(3) + offset / _reach(offset)
    assert np.linalg.eigvalsh((inside + inside.mT).numpy() / 2)[0] > 0.1 - 1e-9
    assert torch.linalg.vector_norm(offset) > 0.9 or _reach(offset) == 1


@pytest.mark.parametrize("name", [name for name in SINGULAR if not name.startswith("large")])
def test_lie_grows_on_in_proportion_where_there_is_no_logarithm(name):
    offset = SINGULAR[name] - torch.eye(3)
    if _reach(offset) > 1:
        assert abs(lie(torch.eye(3) + 3 * offset) - 3 * lie(torch.eye(3) + offset)) < 1e-9
    along = torch.linspace(0, 3, 300, dtype=torch.float64)[:, None, None]
    assert (lie(torch.eye(3) + along * offset).diff() > 0).all()


@pytest.mark.parametrize("name", [name for name in SINGULAR if not name.startswith("large")])
def test_lie_has_no_jump_where_there_is_no_logarithm(name):
    moved = SINGULAR[name] + 1e-6 * drawn(200, noise=1.0)
    assert (lie(moved) - lie(SINGULAR[name])).abs().max() < 1e-4


@pytest.mark.parametrize("axes", [(1, 1), (1, 0)])
def test_lie_and_euclidean_grow_with_a_change_of_size_both_ways_and_geodesic_hardly(axes):
    for sizes in (torch.linspace(1, 8, 200), torch.linspace(1, -2, 200)):
        theta = torch.diag_embed(1 + (sizes.double() - 1)[:, None] * torch.tensor([*axes, 0]))
        assert (lie(theta).diff() > 0).all() and (euclidean(theta).diff() > 0).all()
    wider = diagonal(1.1, 1, 1)
    assert lie(wider) > 0.09 and euclidean(wider) > 0.09 and geodesic(wider) < 0.0011


def test_lie_counts_twice_as_large_and_half_as_large_the_same():
    assert abs(lie(diagonal(2, 2, 1)) - lie(diagonal(0.5, 0.5, 1))) < 1e-9
    assert euclidean(diagonal(2, 2, 1)) > 1.9 * euclidean(diagonal(0.5, 0.5, 1))
