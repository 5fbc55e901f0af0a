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
from einops import rearrange
from jaxtyping import Float, Int64
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from inverseform.inverse_net.least_squares import fit
from inverseform.inverse_net.network import Network, demand_multiple
from inverseform.settings import Settings
from inverseform.transform import from_offsets, grid

STRIDES = (8, 16)
"""Pixels (after pooling) of a cell, on the fine and on the coarse lattice of the pyramid."""
_STEM = 4
"""Pixels (after pooling) of the blocks that the stem describes."""

Maps = Float[Tensor, "batch row column channels"]
"""Channels last: a linear layer per cell, products of cells and convolutions all read them as they lie."""


class LevelParams(Settings):
    """One step from coarse to fine."""

    stride: Literal[8, 16]
    """Pixels of a cell."""
    reach: int = Field(ge=0, le=8)
    """Cells in each direction that a cell is compared with; 0 compares it, channel by channel, with its like alone."""
    width: PositiveInt
    """Channels of its convolutions."""
    depth: int = Field(ge=1)
    """How many 3x3 convolutions: how far a cell asks around."""


class AlignmentParams(Settings):
    """A network that correlates the tiles place by place and fits the transform by weighted least squares."""

    name: Literal["alignment"]
    pooling: int = Field(ge=1)
    """Tiles are averaged over squares of this many pixels first; 1 for none."""
    smoothing: float = Field(ge=0, le=8)
    """Standard deviation, in pixels after pooling, of a Gaussian under which both tiles are seen; 0 for none."""
    subsampling: Literal[1, 2, 4]
    """Of the smoothed tile squares of this many pixels are averaged: what a Gaussian leaves needs no more."""
    features: tuple[PositiveInt, PositiveInt, PositiveInt]
    """Channels of the description of a tile: at 4 pixels, at 8, at 16."""
    levels: tuple[LevelParams, ...] = Field(min_length=1)
    """Coarse to fine; each begins where the one before it ended."""


class Alignment(Network):
    """Coarse-to-fine correlation and weighted least squares."""

    def __init__(
        self, params: AlignmentParams, side: int, *, mean: tuple[float, ...], scale: tuple[float, ...]
    ) -> None:
        super().__init__()
        demand_multiple(side, max(STRIDES), params.pooling)
        # What is subsampled must be smooth first: else a gradient holds the pattern of the stem's blocks more than the
        # way to the target, and points back the less often the better the network has become.
        self.register_buffer("band", _band(side, params.smoothing, params.subsampling), persistent=False)
        self.band: Tensor
        stem, fine, coarse = params.features
        # Every 4x4 block to a vector at once: its pattern holds the place of a line to a fraction of a pixel.
        self.block = _STEM // params.subsampling
        self.stem = nn.Linear(self.block**2, stem)
        self.fine = nn.Conv2d(stem, fine, 3, stride=2, padding=1)
        self.coarse = nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
        channels: dict[int, int] = dict(zip(STRIDES, (fine, coarse), strict=True))
        self.levels = nn.ModuleList(
            _Level(level, channels[level.stride], side // level.stride, len(mean)) for level in params.levels
        )
        self.strides: list[int] = [level.stride for level in params.levels]
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.mean: Tensor
        self.scale: Tensor

    def embed(self, target: Float[Tensor, "batch side side"]) -> tuple[Tensor, Tensor]:
        """The description of a tile on both lattices, each (batch, rows, columns, channels)."""
        seen = self.band @ target @ self.band.T
        blocks = rearrange(seen, "batch (row i) (column j) -> batch row column (i j)", i=self.block, j=self.block)
        fine = _convolve(self.fine, F.relu(self.stem(blocks)))
        return _normalise(fine), _normalise(_convolve(self.coarse, F.relu(fine)))

    def compare(
        self, predicted: Float[Tensor, "batch side side"], embedded: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch numbers"]:
        """Normalised offsets, with the target already described.

        The value is that of the last answer, the gradient the mean over all of them: a coarse level is less exact, but
        its way to the target is smoother, and more gradients of the mean point back than of any answer alone.
        """
        answers = self._answers(self.embed(predicted), embedded)
        mean = torch.stack(answers).mean(dim=0)
        # The difference is exactly 0, so that the value stays what it is to the last bit.
        return answers[-1].detach() + (mean - mean.detach())

    def itself(
        self, target: Float[Tensor, "batch side side"], embedded: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "batch numbers"]:
        """The answer to a tile and itself; one encoder serves both sides."""
        return self._answers(embedded, embedded)[-1]

    def refine(
        self, predicted: Float[Tensor, "batch side side"], embedded: tuple[Tensor, Tensor]
    ) -> list[Float[Tensor, "batch numbers"]]:
        """The answers of all levels, the last of which counts; all are trained."""
        return self._answers(self.embed(predicted), embedded)

    def _answers(
        self, described: tuple[Tensor, Tensor], embedded: tuple[Tensor, Tensor]
    ) -> list[Float[Tensor, "batch numbers"]]:
        given: dict[int, Tensor] = dict(zip(STRIDES, described, strict=True))
        wanted: dict[int, Tensor] = dict(zip(STRIDES, embedded, strict=True))
        answers: list[Tensor] = []
        theta = None
        for stride, level in zip(self.strides, self.levels, strict=True):
            answers.append(level(given[stride], wanted[stride], theta, self.mean, self.scale))
            # Where to look next is no matter of the gradient: at the true transform it does not change the answer.
            theta = from_offsets(answers[-1].detach() * self.scale + self.mean)
        return answers


class _Level(nn.Module):
    """Displacement and precision of each cell, and the transform that fits them best."""

    def __init__(self, params: LevelParams, channels: int, side: int, numbers: int) -> None:
        super().__init__()
        self.side, self.numbers = side, numbers
        self.reach = params.reach
        around = (2 * params.reach + 1) ** 2 if params.reach else channels
        self.mix = nn.Linear(around + 2 * channels, params.width)
        self.look = nn.ModuleList(nn.Conv2d(params.width, params.width, 3, padding=1) for _ in range(params.depth))
        self.say = nn.Linear(params.width, 5)
        near, inside = _around(side, params.reach)
        self.register_buffer("near", near, persistent=False)
        self.register_buffer("inside", inside, persistent=False)
        centres = grid(torch.eye(3)[None], side, side)[0]
        self.register_buffer("centres", rearrange(centres, "row column xy -> xy (row column)"), persistent=False)
        self.near: Tensor
        self.inside: Tensor
        self.centres: Tensor

    def forward(
        self,
        predicted: Float[Tensor, "batch side side channels"],
        target: Float[Tensor, "batch side side channels"],
        theta: Float[Tensor, "batch 3 3"] | None,
        mean: Float[Tensor, " numbers"],
        scale: Float[Tensor, " numbers"],
    ) -> Float[Tensor, "batch numbers"]:
        if theta is not None:
            target = _sample(target, _map(theta, self.centres))
        # Where the level before has left less than a cell, the convolutions see the cells around for themselves.
        alike = self._correlate(predicted, target) if self.reach else predicted * target
        values = torch.cat([alike, F.relu(predicted), F.relu(target)], dim=-1)
        values = F.relu(self.mix(values))
        for look in self.look:
            values = F.relu(_convolve(look, values))
        said = rearrange(self.say(values), "batch row column number -> batch number (row column)")
        # In cells, so that the same weights serve any tile.
        cell = 2 / self.side
        found = self.centres + said[:, :2] * cell
        if theta is not None:
            found = _map(theta, found)
        # A Cholesky factor of each cell's precision, by its entries, in cells.
        first, slant, second = F.softplus(said[:, 2] - 1), said[:, 3], F.softplus(said[:, 4] - 1)
        precision = torch.stack([first * first, first * slant, slant * slant + second * second], dim=1) / cell**2
        return fit(self.centres, found, precision, mean, scale)

    def _correlate(
        self, predicted: Float[Tensor, "batch side side channels"], target: Float[Tensor, "batch side side channels"]
    ) -> Float[Tensor, "batch side side around"]:
        """How alike each cell is to those around its place in the target; 0 where there is none."""
        one, other = predicted.flatten(1, 2), target.flatten(1, 2)
        # All cells with all, in one product, and the near ones taken out: less work than a product for each shift.
        alike = (one / one.shape[-1] ** 0.5) @ other.transpose(-1, -2)
        near = alike.gather(2, self.near.expand(len(alike), -1, -1)) * self.inside
        return near.unflatten(1, (self.side, self.side))


def _sample(maps: Maps, points: Float[Tensor, "batch 2 cells"]) -> Maps:
    """Maps read at a point for each of their cells, bilinear, 0 beyond them; points in [-1, 1], without a gradient.

    The same as `grid_sample`, which takes three times as long on the CPU as the channels come last here: a point is a
    weighted sum of four rows of a table.
    """
    batch, side, _, channels = maps.shape
    x, y = ((points + 1) * (side / 2) - 0.5).unbind(dim=1)
    left, top = x.floor(), y.floor()
    columns = torch.stack([left, left + 1, left, left + 1], dim=-1)
    rows = torch.stack([top, top, top + 1, top + 1], dim=-1)
    weight = (1 - (x[..., None] - columns).abs()) * (1 - (y[..., None] - rows).abs())
    weight = weight * ((columns >= 0) & (columns < side) & (rows >= 0) & (rows < side))
    # Maps that are not finite are to give a loss that is not, which tells more than a row that is not in the table.
    cells = (rows.clamp(0, side - 1) * side + columns.clamp(0, side - 1)).nan_to_num(0).long()
    cells = cells + side**2 * torch.arange(batch, device=maps.device)[:, None, None]
    table = maps.reshape(-1, channels)
    each = F.embedding_bag(cells.flatten(0, 1), table, per_sample_weights=weight.flatten(0, 1), mode="sum")
    return each.view(maps.shape)


def _map(theta: Float[Tensor, "batch 3 3"], points: Float[Tensor, "*batch 2 cells"]) -> Float[Tensor, "batch 2 cells"]:
    """Where a transform sends points."""
    mapped = theta[:, :, :2] @ points + theta[:, :, 2:]
    return mapped[:, :2] / mapped[:, 2:]


def _band(side: int, sigma: float, step: int) -> Float[Tensor, "kept side"]:
    """The matrix that smooths a line of a tile by a Gaussian of `sigma` pixels and averages it over `step` of them.

    Both are linear and separable, so that two products with it do a whole tile: on a CPU at half the time of
    convolutions of single channels. What lies beyond the tile counts as it ends.
    """
    reach = round(2.5 * sigma)
    # 2.5 standard deviations hold 98.8% of a Gaussian; for a width of 0 all of it lies in the middle.
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / max(sigma, 1e-6)) ** 2)
    padded = F.pad(torch.eye(side)[:, None], (reach, reach), mode="replicate")
    smooth = F.conv1d(padded, (weight / weight.sum())[None, None])[:, 0].T
    return smooth.unflatten(0, (-1, step)).mean(dim=1)


def _convolve(layer: nn.Module, maps: Maps) -> Float[Tensor, "batch _ _ channels_after"]:
    """A convolution of maps whose channels come last."""
    return layer(maps.movedim(-1, 1)).movedim(1, -1)


def _normalise(maps: Maps) -> Maps:
    """No mean over the tile, and a spread of 1 over all channels: faint tiles are described as strong ones are."""
    maps = maps - maps.mean(dim=(1, 2), keepdim=True)
    # A tile without a boundary is described by zeros.
    return maps * torch.rsqrt(maps.square().mean(dim=(1, 2, 3), keepdim=True) + 1e-4)


def _around(side: int, reach: int) -> tuple[Int64[Tensor, "cells around"], Float[Tensor, "cells around"]]:
    """For each cell the cells around it, by number, and 1 where there is such a cell, else 0."""
    place = torch.arange(side)
    step = torch.arange(-reach, reach + 1)
    rows, columns = torch.meshgrid(place, place, indexing="ij")
    down, right = torch.meshgrid(step, step, indexing="ij")
    row = rows.flatten()[:, None] + down.flatten()
    column = columns.flatten()[:, None] + right.flatten()
    inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
    return torch.where(inside, row * side + column, 0), inside.float()
