"""Moves one at a time, in a fixed order: what held-out tiles are put through to see how a distance answers.

Pairs of a random transform tell how much of theta a network explains. These tell the rest: whether its distance grows
with a shift, a scale, a turn or a shear alone, by how many pixels it is wrong, and where its gradient points.
"""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.transform import compose

Move = Literal["identity", "shift", "scale", "rotation", "shear"]
UNITS: dict[Move, str] = {
    "identity": "none", "shift": "pixels", "scale": "relative", "rotation": "degrees", "shear": "tangent",
}  # fmt: skip
"""What the amounts of each move are counted in."""
REACH = 0.2
"""Largest shift, in half tiles; no shift of 1 to 6 pixels is left out for it."""


class Probe(NamedTuple):
    """One move: warped(u) = tile(theta u)."""

    move: Move
    amount: float
    """How much of it, in `UNITS`; 0 is the identity."""
    theta: Float[Tensor, "3 3"]
    """From coordinates of the moved tile to those of the tile."""
    direction: str
    """Which way: `right`, `left`, `down` or `up` for a shift (of theta's translation), else `more` or `less`."""


def probes(tile: int) -> list[Probe]:
    """All moves for tiles of a side, in pixels, the identity first; their number depends on the tile alone.

    >>> [(probe.move, probe.amount, probe.direction) for probe in probes(40)[:3]]
    [('identity', 0.0, 'none'), ('shift', 1.0, 'right'), ('shift', 2.0, 'right')]
    >>> len(probes(64)), len(probes(128))
    (49, 53)
    """
    sides = ("right", "left", "down", "up")
    ways: list[tuple[Move, tuple[str, ...], list[float]]] = [
        ("identity", ("none",), [0.0]),
        ("shift", sides, shifts(tile)),
        ("scale", ("more", "less"), [0.05, 0.1, 0.15, 0.2]),
        ("rotation", ("more", "less"), [3.0, 6.0, 9.0, 12.0]),
        ("shear", ("more", "less"), [0.05, 0.1, 0.15, 0.2]),
    ]
    return [
        Probe(move, amount, theta(move, amount, way, tile), way)
        for move, directions, amounts in ways
        for way in directions
        for amount in amounts
    ]


def shifts(tile: int) -> list[float]:
    """The shifts of tiles of a side, in pixels: 1 to 6, then in steps of at most 6 to `REACH` half tiles."""
    # Whole pixels: of hard maps, a shift by a part of one looks like the nearest whole one.
    last = math.floor(REACH * tile / 2)
    steps = max(0, math.ceil((last - 6) / 6))
    return [float(pixels) for pixels in range(1, 7)] + [
        float(round(6 + (last - 6) * (step + 1) / steps)) for step in range(steps)
    ]


def theta(move: Move, amount: float, direction: str, tile: int) -> Float[Tensor, "3 3"]:
    """The matrix of one move, of an amount in `UNITS`, for tiles of a side in pixels."""
    sign = 1 if direction in ("right", "down", "more") else -1
    shift, size, angle, slant = torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1), torch.zeros(1)
    if move == "shift":
        shift[0, int(direction in ("down", "up"))] = sign * amount * 2 / tile
    elif move == "scale":
        # Both axes at once; the inverse of a factor is its other side, as minus is that of a shift.
        size = size * (1 + amount) ** sign
    elif move == "rotation":
        angle = angle + math.radians(sign * amount)
    elif move == "shear":
        slant = slant + sign * amount
    return compose(shift, size, angle, slant)[0]
