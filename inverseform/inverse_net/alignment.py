"""An inverse network that aligns: correlate the two tiles place by place, then fit the transform by least squares.

It rests on what is known of the problem, and learns the rest. A shared encoder describes both tiles on a pyramid of
lattices. On each level, coarse to fine, every cell of the predicted tile is compared with the cells around its place in
the target; a few convolutions turn that into a displacement and a 2x2 precision matrix (an edge alone shows no shift
along itself, and its precision says so). The transform is the mean of the posterior: weighted least squares over all
cells, with the spread of the training pairs as prior,

    n = argmin_n  sum_c |L_c^T (A_c (mean + scale n) - d_c)|^2 + |n|^2,

in closed form, by normal equations of 4, 6 or 8 unknowns. The next level looks where this one pointed. Being
convolutions and a sum over cells it has some 1e5 parameters, where dense layers need 1e6 to 1e8 to know less.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inverseform.inverse_net.network import Network
from inverseform.settings import InputError, Settings
from inverseform.transform import ENTRIES, from_offsets, grid

STRIDES = (8, 16)
"""Pixels (after pooling) of a cell, on the fine and on the coarse lattice of the pyramid."""
_STEM = 4


class LevelParams(Settings):
    """One step from coarse to fine."""

    stride: Literal[8, 16]
    """Pixels of a cell."""
    reach: int = Field(ge=1, le=8)
    """Cells in each direction that a cell is compared with."""
    width: PositiveInt
    """Channels of its convolutions."""
    depth: int = Field(ge=1)
    """How many 3x3 convolutions: how far a cell asks around."""


class AlignmentParams(Settings):
    """A network that correlates the tiles place by place and fits the transform by weighted least squares."""

    name: Literal["alignment"]
    pooling: int = Field(ge=1)
    """Tiles are averaged over squares of this many pixels first; 1 for none."""
    features: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels of the description of a tile: at 4 pixels, at 8, at 16."""
    levels: tuple[LevelParams, ...] = Field(min_length=1)
    """Coarse to fine; each begins where the one before it ended."""


class Alignment(Network):
    """Coarse-to-fine correlation and weighted least squares."""

    def __init__(
        self, params: AlignmentParams, tile: int, *, mean: tuple[float, ...], scale: tuple[float, ...]
    ) -> None:
        super().__init__()
        least = params.pooling * max(STRIDES)
        if tile % least:
            raise InputError(
                f"tile is {tile} and network.pooling {params.pooling}: this network needs a multiple of {least} "
                f"pixels; set the tile to {-(-tile // least) * least}"
            )
        self.pooling = params.pooling
        stem, fine, coarse = params.features
        # Every 4x4 block to a vector at once: its pattern holds the place of a line to a fraction of a pixel.
        self.stem = nn.Conv2d(1, stem, _STEM, stride=_STEM)
        self.fine = nn.Conv2d(stem, fine, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        channels: dict[int, int] = dict(zip(STRIDES, (fine, coarse), strict=True))
        self.levels = nn.ModuleList(
            _Level(level, channels[level.stride], tile // params.pooling // level.stride, len(mean))
            for level in params.levels
        )
        self.strides: list[int] = [level.stride for level in params.levels]
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def embed(self, target: Float[Tensor, "batch tile tile"]) -> tuple[Tensor, Tensor]:
        """The description of a tile on both lattices, each (batch, channels, rows, columns)."""
        # The average, not the largest: it keeps a gradient for every pixel of a prediction.
        values = F.relu(self.stem(F.avg_pool2d(target[:, None], self.pooling)))
        fine = self.fine(values)
        return _normalise(fine), _normalise(self.coarse(F.relu(fine)))

    def compare(
        self, predicted: Float[Tensor, "batch tile tile"], embedded: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets, with the target already described."""
        return self._answers(predicted, embedded, graph_of_all=False)[-1]

    def refine(
        self, predicted: Float[Tensor, "batch tile tile"], embedded: tuple[Tensor, Tensor]
    ) -> list[Float[Tensor, "batch numbers"]]:
        """The answers of all levels, the last of which counts; all are trained."""
        return self._answers(predicted, embedded, graph_of_all=True)

    def _answers(
        self, predicted: Float[Tensor, "batch tile tile"], embedded: tuple[Tensor, Tensor], *, graph_of_all: bool
    ) -> list[Float[Tensor, "batch numbers"]]:
        described: dict[int, Tensor] = dict(zip(STRIDES, self.embed(predicted), strict=True))
        wanted: dict[int, Tensor] = dict(zip(STRIDES, embedded, strict=True))
        answers: list[Tensor] = []
        theta = None
        for place, (stride, level) in enumerate(zip(self.strides, self.levels, strict=True), start=1):
            # Only the last answer leads on to a loss: the graph of the others is built for training alone.
            with torch.set_grad_enabled(torch.is_grad_enabled() and (graph_of_all or place == len(self.levels))):
                answers.append(level(described[stride], wanted[stride], theta, self.mean, self.scale))
            # Where to look next is no matter of the gradient: at the true transform it does not change the answer.
            theta = from_offsets(answers[-1].detach() * self.scale + self.mean)
        return answers


class _Level(nn.Module):
    """Displacement and precision of each cell, and the transform that fits them best."""

    def __init__(self, params: LevelParams, channels: int, side: int, numbers: int) -> None:
        super().__init__()
        self.side, self.numbers = side, numbers
        around = (2 * params.reach + 1) ** 2
        self.mix = nn.Conv2d(around + 2 * channels, params.width, 1)
        self.look = nn.ModuleList(nn.Conv2d(params.width, params.width, 3, padding=1) for _ in range(params.depth))
        self.say = nn.Conv2d(params.width, 5, 1)
        self.register_buffer("around", _around(side, params.reach), persistent=False)
        centres = grid(torch.eye(3)[None], side, side)[0]
        self.register_buffer("centres", rearrange(centres, "row column xy -> xy (row column)"), persistent=False)
        self.around: Tensor
        self.centres: Tensor

    def forward(
        self,
        predicted: Float[Tensor, "batch channels side side"],
        target: Float[Tensor, "batch channels side side"],
        theta: Float[Tensor, "batch 3 3"] | None,
        mean: Float[Tensor, " numbers"],
        scale: Float[Tensor, " numbers"],
    ) -> Float[Tensor, "batch numbers"]:
        if theta is not None:
            target = F.grid_sample(target, grid(theta, self.side, self.side), align_corners=False)
        values = torch.cat([self._correlate(predicted, target), F.relu(predicted), F.relu(target)], dim=1)
        values = F.relu(self.mix(values))
        for look in self.look:
            values = F.relu(look(values))
        said = rearrange(self.say(values), "batch number row column -> batch number (row column)")
        # In cells, so that the same weights serve any tile.
        cell = 2 / self.side
        found = self.centres + said[:, :2] * cell
        if theta is not None:
            mapped = theta[:, :, :2] @ found + theta[:, :, 2:]
            found = mapped[:, :2] / mapped[:, 2:]
        return self._fit(found, said[:, 2:], mean, scale, cell)

    def _correlate(
        self, predicted: Float[Tensor, "batch channels side side"], target: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "batch around side side"]:
        """How alike each cell is to those around its place in the target."""
        one, other = (maps.flatten(2) for maps in (predicted, target))
        # All cells with all, in one product, and the near ones taken out: less work than a product for each shift.
        alike = one.transpose(-1, -2) @ other / one.shape[1] ** 0.5
        near = F.pad(alike, (0, 1)).gather(2, repeat(self.around, "cell k -> batch cell k", batch=len(alike)))
        return rearrange(near, "batch (row column) k -> batch k row column", row=self.side)

    def _fit(
        self,
        found: Float[Tensor, "batch 2 cells"],
        precision: Float[Tensor, "batch 3 cells"],
        mean: Float[Tensor, " numbers"],
        scale: Float[Tensor, " numbers"],
        cell: float,
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets that send the cells' centres closest to where they were found."""
        rows = _rows(self.centres, found)[..., list(ENTRIES[self.numbers])]
        # The Cholesky factor of each cell's precision, by its entries; whitened, all residuals count alike.
        first, slant, second = F.softplus(precision[:, 0] - 1), precision[:, 1], F.softplus(precision[:, 2] - 1)
        moved = (found - self.centres) / cell
        x, y = rows.unbind(dim=1)
        left = torch.cat([first[..., None] * x + slant[..., None] * y, second[..., None] * y], dim=1) / cell
        right = torch.cat([first * moved[:, 0] + slant * moved[:, 1], second * moved[:, 1]], dim=1)
        right = right[..., None] - left @ mean[:, None]
        left = left * scale
        normal = left.transpose(-1, -2) @ left + torch.eye(self.numbers, dtype=left.dtype, device=left.device)
        # Never singular, as the prior is in it; the form that does not wait for the GPU to say so.
        factor, _ = torch.linalg.cholesky_ex(normal)
        return torch.cholesky_solve(left.transpose(-1, -2) @ right, factor)[..., 0]


def _normalise(maps: Float[Tensor, "batch channels row column"]) -> Float[Tensor, "batch channels row column"]:
    """No mean over the tile, and a spread of 1 over all channels: faint tiles are described as strong ones are."""
    maps = maps - maps.mean(dim=(-2, -1), keepdim=True)
    # A tile without a boundary is described by zeros.
    return maps * torch.rsqrt(maps.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-4)


def _around(side: int, reach: int) -> Int64[Tensor, "cells around"]:
    """For each cell the cells around it, by number; `side * side` stands for none."""
    place = torch.arange(side)
    step = torch.arange(-reach, reach + 1)
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    down, right = torch.meshgrid(step, step, indexing="ij")
    row = rows.flatten()[:, None] + down.flatten()
    column = columns.flatten()[:, None] + right.flatten()
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    return torch.where(inside, row * side + column, side * side)


def _rows(centres: Float[Tensor, "2 cells"], found: Float[Tensor, "batch 2 cells"]) -> Float[Tensor, "batch 2 cells 8"]:
    """How each offset moves each centre u, in x and y: theta u is found where rows @ offsets = found - u.

    A homography divides by its third coordinate; multiplied out, with the place that was found on the other side, its
    last two numbers enter linearly as well.
    """
    x, y = centres.expand(len(found), 2, -1).unbind(dim=1)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    to_x = torch.stack([x, y, one, none, none, none, -found[:, 0] * x, -found[:, 0] * y], dim=-1)
    to_y = torch.stack([none, none, none, x, y, one, -found[:, 1] * x, -found[:, 1] * y], dim=-1)
    return torch.stack([to_x, to_y], dim=1)
