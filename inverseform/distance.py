"""How far a transform is from doing nothing: three distances of a 3x3 matrix from the identity.

All are zero only at the identity, and finite with their gradients for entries up to 1e12; where there is no gradient,
it is a choice that is stated. Half precision is computed, and comes out, as fp32, autocast or not; nan or inf in a
matrix gives nan.

| | sees a shift | a turn | a change of size | perspective |
|---|---|---|---|---|
| `euclidean` | in full | yes | yes | yes |
| `geodesic` | half | in full, to 180 degrees | hardly: `weight` times its square | half |
| `lie` | in full | yes | the same in and out | yes |
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

Distance = Callable[[Float[Tensor, "batch 3 3"]], Float[Tensor, " batch"]]
DistanceName = Literal["euclidean", "geodesic", "lie"]

NARROW = 1e-3
"""Where two nearest rotations are equally near, the gradient of `geodesic` is infinite; it is real down to here."""
SHRINK, FAR, NODES = 0.9, 9.0, 16
"""The edges inside which `lie` is the logarithm, and the points of its quadrature."""


def euclidean(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Frobenius distance of a transform from the identity, eq. (1).

    Zero only at the identity, where its gradient is zero too, not nan.

    >>> euclidean(torch.eye(3))
    tensor(0.)
    """
    # vector_norm, not (x * x).sum().sqrt(): the gradient of that is nan at the identity, a perfect prediction.
    return torch.linalg.vector_norm(_offset(theta), dim=(-2, -1))


def geodesic(theta: Float[Tensor, "*batch 3 3"], weight: float = 0.1) -> Float[Tensor, "*batch"]:
    """Angle of the nearest rotation P, plus a weight times what is left over, |theta - P|^2: eq. (3) and (4).

    P = U diag(1, 1, det(U V^T)) V^T of the singular value decomposition (the paper prints det(U V)^T), and the angle is
    arccos((tr P - 1) / 2), in radians, 0 to pi. theta is taken as it is, its last entry 1: its size does not move P,
    and the paper scales it nowhere. With a positive weight it is zero only at the identity, on all 3x3 matrices.

    It is nearly blind to size: of a matrix that is symmetric with positive eigenvalues, P is the identity, and all that
    is left is weight * |theta - I|^2, 0.001 for an image 10% wider. Use `lie` where sizes matter.

    The gradient, in closed form, holds 1 / (s_i + s_j), s the singular values with the sign of the determinant on the
    smallest. Where it does not exist:

    - at the identity and where the nearest rotation is a half turn, the angle has a cone; the gradient's angle part is
      0, the mean over all directions and an element of the (super)differential;
    - where s_2 + s_3 = 0 (reflections with two equal values, rank 1, the zero matrix) many rotations are equally near,
      one of them counts, and the angle jumps. From s_i + s_j = 0.0005 down, 1 / x fades to x / 0.0005^2: nothing is
      learned about which of the many to take, and the gradient stays under 4000.

    Differentiable once.

    >>> geodesic(torch.diag(torch.tensor([-1.0, -1.0, 1.0])))
    tensor(3.1416)
    """
    with torch.autocast(theta.device.type, enabled=False):
        return _Geodesic.apply(_precise(theta), weight)  # pyright: ignore[reportReturnType]


class _Geodesic(torch.autograd.Function):
    """The distance and, at once, its gradient.

    The unit quaternion (w, v) of the nearest rotation is the eigenvector of the largest eigenvalue of Horn's symmetric
    4x4 matrix K(theta). The eigenvalues below are lower by 2 (s_i + s_j): all that the gradient needs, with no singular
    value squared. One 4x4 symmetric eigenproblem costs less than one 3x3 SVD.
    """

    @staticmethod
    def forward(ctx: Any, theta: Float[Tensor, "*batch 3 3"], weight: float) -> Float[Tensor, "*batch"]:  # noqa: ANN401
        # LAPACK raises on nan and inf; here they pass through the remainder and come out as nan.
        known = theta.isfinite().all(dim=(-2, -1), keepdim=True)
        values, vectors = torch.linalg.eigh(_horn(torch.where(known, theta, 0)))
        quaternion = vectors[..., -1]
        w, v = quaternion[..., :1], quaternion[..., 1:]
        sine = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
        remainder = theta - _adjoint(quaternion[..., :, None] * quaternion[..., None, :])
        # d angle = 2 along . d(quaternion); sign(0) = 0, so a half turn has none of it, and v = 0 makes 0 of the rest.
        along = torch.cat([-sine * w.sign(), w.abs() * v / sine.clamp(min=torch.finfo(v.dtype).tiny)], dim=-1)
        gap = values[..., -1:] - values
        # d(quaternion) = sum of e (e . dK q) / gap; the eigenvector itself has gap 0, so it drops out.
        share = (vectors * along[..., None]).sum(-2) * gap / gap.clamp(min=NARROW).square()
        turn = (vectors * share[..., None, :]).sum(-1)
        turned = turn[..., :, None] * quaternion[..., None, :]
        ctx.save_for_backward(_adjoint(turned + turned.mT) + 2 * weight * remainder)
        angle = 2 * torch.atan2(sine, w.abs())[..., 0]
        return angle + weight * remainder.square().sum(dim=(-2, -1))

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        grad: Float[Tensor, "*batch"],
    ) -> tuple[Float[Tensor, "*batch 3 3"], None]:
        (slope,) = ctx.saved_tensors
        return grad[..., None, None] * slope, None


def lie(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    """Frobenius norm of the matrix logarithm: the distance in the Lie algebra, which sees size.

    theta counts as a matrix of GL(3) with last entry 1, as the network gives it, not as a homography free of scale:
    for affine maps, whose logarithm has a last row of zeros, this is their own group, and a factor s in size is
    sqrt(2) |ln s|. Dividing by the cube root of the determinant would take 42% of that away and charge a part of it to
    the last entry. A rotation has sqrt(2) times its angle, a shift or a shear its length.

    A real logarithm need not exist: reflections and singular matrices have none. With X = theta - I,

        d = g |log(I + X / g)|,    g = max(1, -m / 0.9, |X| / 9),    m = tr(X) / 3 - sqrt(2/3) |sym(X) - tr(X) I / 3|

    m is a lower bound of the eigenvalues of sym(X), so I + X / g has a symmetric part of at least 0.1: its logarithm is
    there, real and bounded. g is 1, and d the logarithm's norm, wherever |X| <= 0.9; of moves alone, for turns up to 71
    degrees, sizes from 0.33 to 7, a single axis from 0.1 to 3.7, and shifts up to 1.55 half tiles. Farther out d goes
    on in proportion, along the ray from the identity: continuous, finite, growing.

    Zero only at the identity, on all 3x3 matrices, with gradient 0 there. d(Q theta Q^T) = d(theta) = d(theta^T) for
    orthogonal Q; d(theta^-1) = d(theta) and d(theta^n) = n d(theta) where g is 1 for both.

    >>> lie(torch.diag(torch.tensor([1.25, 1.0, 1.0]))), lie(torch.diag(torch.tensor([0.8, 1.0, 1.0])))
    (tensor(0.2231), tensor(0.2231))
    """
    with torch.autocast(theta.device.type, enabled=False):
        offset = _offset(theta)
        return torch.linalg.vector_norm(_logarithm(offset, _reach(offset)), dim=(-2, -1))


def _logarithm(offset: Float[Tensor, "*batch 3 3"], reach: Float[Tensor, "*batch 1"]) -> Float[Tensor, "*batch 3 3"]:
    """The matrix g log(I + X / g): the mean of X (I + u X)^-1 over u from 0 to 1 / g.

    By Cayley and Hamilton X (I + u X)^-1 is (X + u (tr(adj X) I - adj X) + u^2 det(X) I) / p(u), p(u) = det(I + u X):
    three means of numbers, by Gauss and Legendre, and no inverse, square root or product of matrices.
    """
    eye = torch.eye(3, dtype=offset.dtype, device=offset.device)
    adjugate = _adjugate(offset)
    determinant = (offset[..., 0, :] * adjugate[..., :, 0]).sum(-1)[..., None]
    minors = _trace(adjugate)
    points, weights = torch.tensor(_QUADRATURE, dtype=offset.dtype, device=offset.device)
    u = points / reach
    # At least 0.1^3 but for rounding: a determinant is no less than that of the symmetric part (Ostrowski, Taussky).
    p = (1 + u * (_trace(offset) + u * (minors + u * determinant))).clamp(min=(1 - SHRINK) ** 3 / 2)
    first, second, third = ((weights * u**k / p).sum(-1)[..., None, None] for k in range(3))
    return first * offset + (second * minors[..., None] + third * determinant[..., None]) * eye - second * adjugate


def _reach(offset: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 1"]:
    """How many times too far out an offset is for its logarithm, g of `lie`; 1 where it is not."""
    mean = _trace(offset) / 3
    round_part = torch.eye(3, dtype=offset.dtype, device=offset.device) * mean[..., None]
    spread = torch.linalg.vector_norm((offset + offset.mT) / 2 - round_part, dim=(-2, -1))[..., None]
    # A bound, not the eigenvalue: its gradient has no trouble where two eigenvalues meet.
    lowest = mean - (2 / 3) ** 0.5 * spread
    size = torch.linalg.vector_norm(offset, dim=(-2, -1))[..., None]
    return torch.maximum(-lowest / SHRINK, size / FAR).clamp(min=1)


def _precise(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    return theta if theta.dtype == torch.float64 else theta.float()


def _offset(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    return _precise(theta) - torch.eye(3, device=theta.device)


def _adjugate(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    x, y, z = matrix.unbind(-1)
    return torch.stack([torch.linalg.cross(y, z), torch.linalg.cross(z, x), torch.linalg.cross(x, y)], dim=-2)


def _trace(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 1"]:
    return matrix.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)


def _horn(theta: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4 4"]:
    """The symmetric K with q^T K q = tr(P(q)^T theta), P(q) the rotation of a unit quaternion q."""
    eye = torch.eye(3, dtype=theta.dtype, device=theta.device)
    trace = _trace(theta)[..., None]
    axis = torch.linalg.cross(theta, eye.expand_as(theta)).sum(-2)[..., None]
    top = torch.cat([trace, axis.mT], dim=-1)
    return torch.cat([top, torch.cat([axis, theta + theta.mT - trace * eye], dim=-1)], dim=-2)


def _adjoint(form: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The transpose of `_horn` on symmetric forms: of q q^T it is the rotation of q."""
    eye = torch.eye(3, dtype=form.dtype, device=form.device)
    inner = form[..., 1:, 1:]
    trace = form[..., :1, :1] - _trace(inner)[..., None]
    skew = torch.linalg.cross(eye.expand_as(inner), form[..., :1, 1:].expand_as(inner))
    return trace * eye + 2 * inner + 2 * skew


def _gauss_legendre(count: int) -> list[list[float]]:
    """Points and weights on [0, 1], as the eigenvalues and vectors of the polynomials' recurrence."""
    k = torch.arange(1, count, dtype=torch.float64)
    side = torch.diag(k / (4 * k * k - 1).sqrt(), 1)
    points, vectors = torch.linalg.eigh(side + side.mT)
    return [((points + 1) / 2).tolist(), vectors[0].square().tolist()]


_QUADRATURE = _gauss_legendre(NODES)

DISTANCES: dict[DistanceName, Distance] = {"euclidean": euclidean, "geodesic": geodesic, "lie": lie}
"""The distances by the name they have in settings."""
