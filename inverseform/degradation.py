"""Boundary tiles as a network might have predicted them: soft, thick, thin, broken, noisy, in the wrong place.

Each degradation has a name, a probability and a strength. All of a tile's are a function of its own seed, so it comes
out the same in whatever batch it is. They come in the order in which a prediction goes wrong: what is seen where, how
wide it is, how soft it is, and how the network's last sigmoid answers.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor

from inverseform.noise import bank, displacement, uniform, window
from inverseform.settings import Settings

NUMBERS = 8
"""Random numbers that each degradation of a tile may use."""
CHUNK = 32
LEVELS = 6
"""Widths of the blur: so few, that their matrices can be made once."""


class DegradationParams(Settings):
    """How often the transformed tile of a pair is made to look like a prediction, and how much."""

    added: float = Field(ge=0, le=1)
    """Probability of lines that are not there: a part of the tile's own boundary, mirrored and moved, or drawn ones."""
    thin: float = Field(ge=0, le=1)
    """Probability that lines of two pixels become lines of one."""
    jittered: float = Field(ge=0, le=1)
    """Probability that lines wobble: moved by a smooth field whose mean and linear part over the tile are 0."""
    jitter_pixels: float = Field(ge=0)
    """Largest move along x and y, in pixels."""
    broken: float = Field(ge=0, le=1)
    """Probability of gaps of some 4 to 16 pixels, which take away 10% to 50% of the lines."""
    missing: float = Field(ge=0, le=1)
    """Probability that a square of up to half the tile's side is wiped out."""
    thick: float = Field(ge=0, le=1)
    """Probability that lines are made thicker."""
    thick_radius: int = Field(ge=1)
    """Most pixels by which a line grows to each side; the least is 1."""
    blurred: float = Field(ge=0, le=1)
    """Probability of a Gaussian blur, half of the time through a grid four times coarser, as heads have."""
    blur_sigma: float = Field(ge=0.5)
    """Largest standard deviation of that blur, in pixels; the smallest is 0.5."""
    cluttered: float = Field(ge=0, le=1)
    """Probability that textured regions, such as trees, answer all over, in streaks, almost like a boundary."""
    clutter: float = Field(ge=0, le=1)
    """Largest value of that answer; the least is a third of it."""
    noisy: float = Field(ge=0, le=1)
    """Probability of noise, smooth and of single pixels in any proportion."""
    noise: float = Field(ge=0, le=1)
    """Largest value of the noise, to both sides."""
    soft: float = Field(ge=0, le=1)
    """Probability of a sigmoid's answer: 0 becomes 0.005 to 0.3, 1 becomes 0.6 to 1, with any slope between."""
    faint: float = Field(ge=0, le=1)
    """Probability that all values are multiplied by a factor between 0.3 and 1."""


Tiles = Float[Tensor, "count tile tile"]
Numbers = Float[Tensor, "count numbers"]


def degrade(
    tiles: Float[Tensor, "count tile tile"], seeds: Int64[Tensor, " count"], params: DegradationParams
) -> Float[Tensor, "count tile tile"]:
    """Tiles in [0, 1] as a network might have predicted them; the same for the same seeds, in whatever batch."""
    # A few at a time on a CPU, so that they stay in its cache from one degradation to the next.
    some = CHUNK if tiles.device.type == "cpu" else max(1, len(tiles))
    result = tiles.clone()
    for part, its in zip(result.split(some), seeds.split(some), strict=True):
        part.copy_(_degrade(part, its, params))
    return result


def _degrade(tiles: Tiles, seeds: Int64[Tensor, " count"], params: DegradationParams) -> Tiles:
    kinds = len(DEGRADATIONS)
    chance, amount = uniform(seeds, 1, kinds), uniform(seeds, 2, kinds * NUMBERS).unflatten(1, (kinds, NUMBERS))
    # A degradation keeps its place among the numbers: one that is switched off changes none of the others.
    for k, (name, change) in enumerate(DEGRADATIONS.items()):
        if probability := getattr(params, name):
            tiles = _some(change, tiles, chance[:, k] < probability, amount[:, k], params)
    return tiles.clamp_(0, 1)


Change = Callable[[Tiles, Numbers, DegradationParams], Tiles]


def _some(
    change: Change, tiles: Tiles, chosen: Bool[Tensor, " count"], amount: Numbers, params: DegradationParams
) -> Tiles:
    """Tiles with some of them changed, in place where that can be."""
    # A GPU works on all of them: to count the chosen ones it would have to wait.
    if tiles.device.type != "cpu":
        return torch.where(chosen[:, None, None], change(tiles, amount, params), tiles)
    index = chosen.nonzero()[:, 0]
    return tiles.index_copy_(0, index, change(tiles.index_select(0, index), amount[index], params))


def _add(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    side = tiles.shape[-1]
    drawn = window(bank(side, tiles.device).lines, amount[:, 1:3], side)
    place = torch.arange(side, device=tiles.device)
    # Mirrored or not, and moved round the tile; of that, what lies in a square of a third to two thirds of the side.
    sign, shift = torch.where(amount[:, 1:3] < 0.5, -1, 1), (amount[:, 3:5] * side).floor()
    rows, columns = ((sign[:, k, None] * place + shift[:, k, None]) % side for k in (0, 1))
    own = _take(tiles, rows[:, :, None], columns[:, None, :]) * _square(side, amount[:, 5:7], 1 / 6 + amount[:, 7] / 6)
    return torch.maximum(tiles, torch.where(_wide(amount[:, 0] < 0.5), own, drawn))


def _thin(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    """What is left of 2x2 squares: a line of two pixels is made of such, one at each step of the border within it."""
    side = tiles.shape[-1]
    for k, dim in ((0, 1), (1, 2)):
        both = torch.minimum(tiles.narrow(dim, 1, side - 1), tiles.narrow(dim, 0, side - 1))
        nothing = torch.zeros_like(tiles.narrow(dim, 0, 1))
        # Which of the two pixels stays is drawn: the line is half a pixel off, but to no side on average.
        first, last = torch.cat([both, nothing], dim), torch.cat([nothing, both], dim)
        tiles = torch.where(_wide(amount[:, k] < 0.5), first, last)
    return tiles


def _jitter(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    side = tiles.shape[-1]
    largest = params.jitter_pixels * (0.3 + 0.7 * amount[:, 4])
    field = displacement(amount[:, :4], largest, side)
    place = torch.arange(side, device=tiles.device)
    rows, columns = (
        moved.add_(line).round_().clamp_(0, side - 1)
        for line, moved in zip((place[:, None], place), field.unbind(1), strict=True)
    )
    return _take(tiles, rows, columns)


def _break(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    blobs = window(bank(tiles.shape[-1], tiles.device).smooth, amount[:, 1:3], tiles.shape[-1])
    return tiles * (blobs >= _wide(0.1 + 0.4 * amount[:, 0]))


def _miss(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    return tiles * ~_square(tiles.shape[-1], amount[:, 1:3], amount[:, 0] / 4)


def _thicken(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    radius = 1 + (amount[:, 0] * params.thick_radius).long()
    for step in range(1, params.thick_radius + 1):
        # A square and a cross in turn make an octagon: lines grow about alike in all directions.
        down = _spread(tiles, 1)
        grown = _spread(down, 2) if step % 2 else torch.maximum(down, _spread(tiles, 2))
        tiles = torch.where(_wide(radius >= step), grown, tiles)
    return tiles


def _blur(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    matrices = _blurs(tiles.shape[-1], params.blur_sigma, tiles.device)
    chosen = matrices[(amount[:, 0] * len(matrices)).long()]
    return chosen @ tiles @ chosen.transpose(1, 2)


def _answer(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    floor, top = torch.logit(0.005 + 0.295 * amount[:, 0]), torch.logit(0.6 + 0.38 * amount[:, 1])
    # From `knee` of the way to a tile's strongest response on the answer is above `top`: half of it may be certain.
    # What a blur takes from thin lines comes back so; a network, too, is taught to answer them.
    knee = (0.4 + 0.6 * amount[:, 2]) * tiles.amax((1, 2)).clamp(0.25, 1)
    return torch.sigmoid(torch.addcmul(_wide(floor), tiles, _wide((top - floor) / knee)))


def _fade(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    return tiles * _wide(0.3 + 0.7 * amount[:, 0])


def _clutter(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    textures, side = bank(tiles.shape[-1], tiles.device), tiles.shape[-1]
    streaks = window(textures.streaks, amount[:, 0:2], side)
    streaks = torch.where(_wide(amount[:, 2] < 0.25), streaks.transpose(1, 2), streaks)
    # A region of a fifth of the tile to all of it, with wide flanks: its rim is no line.
    share, low = 0.2 + 0.8 * amount[:, 3], 0.3 + 0.5 * amount[:, 4]
    inside = ((window(textures.regions, amount[:, 5:7], side) - _wide(1 - share)) * 5).clamp_(0, 1)
    largest = params.clutter * (1 + 2 * amount[:, 7]) / 3
    return torch.maximum(tiles, inside * torch.addcmul(_wide(largest * low), streaks, _wide(largest * (1 - low))))


def _disturb(tiles: Tiles, amount: Numbers, params: DegradationParams) -> Tiles:
    textures, side = bank(tiles.shape[-1], tiles.device), tiles.shape[-1]
    largest = 2 * params.noise * amount[:, 0]
    for texture, share, place in (
        # Mostly the smooth one: what comes out of a head has been interpolated.
        (textures.smooth, 1 - amount[:, 1] ** 2, amount[:, 2:4]),
        (textures.white, amount[:, 1] ** 2, amount[:, 4:6]),
    ):
        tiles = torch.addcmul(tiles, window(texture, place, side) - 0.5, _wide(largest * share))
    return tiles


DEGRADATIONS: dict[str, Change] = {
    "added": _add, "thin": _thin, "jittered": _jitter, "broken": _break, "missing": _miss, "thick": _thicken,
    "blurred": _blur, "cluttered": _clutter, "noisy": _disturb, "soft": _answer, "faint": _fade,
}  # fmt: skip
"""In the order in which they are done."""


def _wide(numbers: Tensor) -> Tensor:
    """A number a tile, to go with all its pixels."""
    return numbers[:, None, None]


def _take(tiles: Tiles, rows: Tensor, columns: Tensor) -> Tiles:
    """Each tile's pixels at the given rows and columns."""
    # Counted in floats, which hold these whole numbers exactly and are half as wide.
    place = torch.add(columns, rows, alpha=tiles.shape[-1]).long()
    return tiles.flatten(1).gather(1, place.flatten(1)).view_as(tiles)


def _square(side: int, centre: Float[Tensor, "count 2"], half: Float[Tensor, " count"]) -> Bool[Tensor, "count s s"]:
    """Where a square lies, its centre and half its side given in sides of the tile."""
    place = torch.arange(side, device=centre.device)
    near = (place - centre[..., None] * side).abs() <= half[:, None, None] * side
    return near[:, 0, :, None] & near[:, 1, None, :]


def _spread(tiles: Tiles, dim: int) -> Tiles:
    """The largest of each pixel and its two neighbours along one axis."""
    side, result = tiles.shape[-1], tiles.clone()
    for here, there in ((1, 0), (0, 1)):
        part = result.narrow(dim, here, side - 1)
        torch.maximum(part, tiles.narrow(dim, there, side - 1), out=part)
    return result


@lru_cache(maxsize=4)
def _blurs(side: int, largest: float, device: torch.device) -> Float[Tensor, "kinds side side"]:
    """Blurs along one axis as matrices: `LEVELS` Gaussians, and the same through a grid four times coarser."""
    place = torch.arange(side, dtype=torch.float32)
    sigma = torch.linspace(0.5, largest, LEVELS)
    weight = torch.exp(-0.5 * ((place[:, None] - place) / sigma[:, None, None]) ** 2)
    # Rows sum to 1 at the tile's edge too: the line goes on beyond it, and does not fade there.
    gaussian = weight / weight.sum(dim=-1, keepdim=True)
    coarse = F.interpolate(torch.eye(side)[None], size=-(-side // 4), mode="area")
    through = F.interpolate(coarse, size=side, mode="linear", align_corners=False)[0].T
    return torch.cat([gaussian, through @ gaussian]).to(device)
