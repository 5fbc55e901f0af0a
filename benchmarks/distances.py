"""Distances of a transform from the identity: whether their gradients are finite, and what they cost.

    python -m benchmarks.distances                 # a million thetas of each kind, some minutes
    python -m benchmarks.distances --count 100000

Each distance beside the way it is written first: the root of the sum of squares; eq. (3) by torch.linalg.svd, arccos
and autograd, clamped; the logarithm by torch.linalg.eig. Values and gradients are computed forward and backward, in
fp32 and under bf16 autocast; a theta counts as not finite when its value or an entry of its gradient is nan or
infinite, and where the call raises, all thetas of the batch do. Then the medians of the time, and the machine.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.distance import DISTANCES, Distance

BATCH, RUNS = 1 << 14, 25
SIZES = (64, 256, 1024, 16384)
NOISE = {"1e-4 from the identity": 1e-4, "0.2 from the identity": 0.2, "3 from the identity": 3.0}


def plain_euclidean(theta: Float[Tensor, "batch 3 3"]) -> Float[Tensor, " batch"]:
    """Eq. (1) as it reads."""
    return (theta - torch.eye(3)).square().sum(dim=(-2, -1)).sqrt()


def plain_geodesic(theta: Float[Tensor, "batch 3 3"]) -> Float[Tensor, " batch"]:
    """Eq. (3) and (4) as they read, with the determinant of U V^T and a clamp that keeps arccos off its ends."""
    left, _, right = torch.linalg.svd(theta)
    sign = torch.linalg.det((left @ right).float())
    nearest = left @ torch.diag_embed(torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)) @ right
    cosine = (nearest.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    return cosine.clamp(-1 + 1e-6, 1 - 1e-6).arccos() + 0.1 * (theta - nearest).square().sum(dim=(-2, -1))


def plain_lie(theta: Float[Tensor, "batch 3 3"]) -> Float[Tensor, " batch"]:
    """The logarithm by eigenvalues and eigenvectors."""
    values, vectors = torch.linalg.eig(theta)
    inverse, _ = torch.linalg.inv_ex(vectors)
    return (vectors * values.log()[..., None, :] @ inverse).real.square().sum(dim=(-2, -1)).sqrt()


PLAIN: dict[str, Distance] = {"euclidean": plain_euclidean, "geodesic": plain_geodesic, "lie": plain_lie}


def turns(count: int, generator: torch.Generator) -> Float[Tensor, "count 3 3"]:
    """Random rotations."""
    frame, _ = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64))
    return frame * torch.linalg.det(frame)[:, None, None]


def singular(count: int, generator: torch.Generator) -> Float[Tensor, "count 3 3"]:
    """The places where decompositions have no derivative, in equal parts and random frames."""
    left, right = turns(count, generator), turns(count, generator)
    kind = torch.arange(count) % 8
    a, b, c = torch.rand(3, count, generator=generator, dtype=torch.float64).sort(dim=0, descending=True).values + 0.1
    one, zero = torch.ones_like(a), torch.zeros_like(a)
    values = torch.stack(
        [
            torch.stack([one, one, one], -1),  # the identity itself
            torch.stack([a, b, -b], -1),  # reflections with two equal values: two nearest rotations
            torch.stack([a, a, -a], -1),  # inversions
            torch.stack([-one, -one, one], -1),  # half turns
            torch.stack([a, b, zero], -1),  # rank 2
            torch.stack([a, zero, zero], -1),  # rank 1
            torch.stack([zero, zero, zero], -1),  # nothing
            torch.stack([-a, -b, c], -1),  # negative eigenvalues: no real logarithm
        ]
    )[kind, torch.arange(count)]
    # The identity, half turns and negative eigenvalues are so in one frame only.
    same = ((kind == 0) | (kind == 3) | (kind == 7))[:, None, None]
    theta = left @ torch.diag_embed(values) @ torch.where(same, left.mT, right)
    theta[kind == 0] = torch.eye(3, dtype=torch.float64)
    return theta


def batches(kind: str, count: int) -> Iterator[Float[Tensor, "batch 3 3"]]:
    """Thetas of a kind."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        if kind == "singular":
            yield singular(size, generator).float()
        else:
            yield torch.eye(3) + NOISE[kind] * torch.randn(size, 3, 3, generator=generator)


def slopes(distance: Distance, theta: Float[Tensor, "batch 3 3"]) -> Float[Tensor, "batch 10"]:
    """Value and gradient of each theta."""
    theta = theta.clone().requires_grad_()
    value = distance(theta)
    value.float().sum().backward()
    assert theta.grad is not None
    return torch.cat([value.detach().float()[:, None], theta.grad.flatten(1)], dim=1)


def not_finite(distance: Distance, kind: str, count: int, *, autocast: bool) -> tuple[int, float]:
    """How many thetas have a value or a gradient that is not finite, and the largest gradient of the others."""
    bad, largest = 0, 0.0
    for theta in batches(kind, count):
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                found = slopes(distance, theta)
        except RuntimeError:
            bad += len(theta)
            continue
        fine = found.isfinite().all(dim=1)
        bad += int((~fine).sum())
        largest = max(largest, float((found[:, 1:].norm(dim=1) * fine).nan_to_num(nan=0).max()))
    return bad, largest


def median_us(distances: tuple[Distance, ...], size: int) -> list[float]:
    """Median microseconds a theta of each, forward and backward, in turns, after one call that does not count."""
    theta = next(batches("0.2 from the identity", size))
    times: list[list[float]] = [[] for _ in distances]
    for run in range(RUNS + 1):
        for distance, its in zip(distances, times, strict=True):
            start = time.perf_counter()
            slopes(distance, theta)
            if run:
                its.append(1e6 * (time.perf_counter() - start) / size)
    return [statistics.median(its) for its in times]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="thetas of each kind")
    count = parser.parse_args().count
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {platform.processor()}, {platform.machine()}")
    print(f"\nNot finite, of {count} thetas of each kind; (the largest gradient of the others)\n")
    print("| distance | thetas | ours, fp32 | ours, bf16 autocast | plain, fp32 | plain, bf16 autocast |")
    print("|---|---|--:|--:|--:|--:|")
    for name, ours in DISTANCES.items():
        for kind in (*NOISE, "singular"):
            cells = [
                "{} ({:.3g})".format(*not_finite(distance, kind, count, autocast=autocast))
                for distance in (ours, PLAIN[name])
                for autocast in (False, True)
            ]
            print(f"| {name} | {kind} | {' | '.join(cells)} |", flush=True)
    print("\nMicroseconds a theta, forward and backward, median of", RUNS, "\n")
    print("| distance | thetas | ours | plain | ratio |\n|---|--:|--:|--:|--:|")
    for name, ours in DISTANCES.items():
        for size in SIZES:
            mine, theirs = median_us((ours, PLAIN[name]), size)
            print(f"| {name} | {size} | {mine:.2f} | {theirs:.2f} | {theirs / mine:.1f} |", flush=True)


if __name__ == "__main__":
    main()
