"""Transforms that look at the image: the spatial transformer of sec. 3.4, and the objective it is fitted with.

The paper does not say what makes a transform realistic. Here it is this: a segmentation network errs by putting a
boundary where the image looks like one. So a small network, the localiser, reads an image tile I with its boundary map
b and gives a distribution q(theta | I, b) of transforms, which is fitted by variational inference:

    minimise  E_q[ E(theta; I, b) ] / T + KL( q || p )

- E(theta; I, b) = - mean of g(u) over the pixels u of the moved boundary b(theta u). g says how far the gradient of the
  image stands out at u: in standard deviations over the tile, and blurred so that it has a basin. It is zero on the
  unmoved boundary and next to it, so that staying there gains nothing. The gradient of E reaches the localiser through
  the differentiable warp.
- p is the bounded random draw of `transform.draw`, and q a Gaussian over x, with the drawn quantities at Phi(x) of
  their ranges. Under a standard normal x they are exactly uniform: KL is closed, and where the image says nothing, q
  stays at the random draw.
- T says how much gradient one nat away from the random draw is worth.

The best q is the Gaussian nearest to p exp(-E / T), which has a width: nothing draws it into a point, or to the
identity.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float, Int64, UInt8
from pydantic import Field
from torch import Tensor, nn

from inverseform import weights
from inverseform.settings import InputError, Settings
from inverseform.transform import DegreesOfFreedom, TransformRanges, grid, within

FORMAT = "inverseform.spatial_transformer/1"
SIDE = 32
"""Side of a tile as the localiser sees it, whatever it was."""
FAINT = 0.02
"""Spread of the gradient, of a grey from 0 to 1, under which an image tile says nothing."""


class SpatialTransformerParams(Settings):
    """How the localiser is fitted; used with `source: spatial_transformer`."""

    temperature: float = Field(gt=0)
    """T: how much image gradient, in standard deviations, one nat away from the random draw is worth."""
    steps: int = Field(ge=1)
    batch: int = Field(ge=1)
    """Tiles in a step."""
    learning_rate: float = Field(gt=0)


class Localiser(nn.Module):
    """Reads a tile, gives the Gaussian of the transforms that are realistic there.

    Args:
        ranges: How far the quantities of a transform may go.
        degrees_of_freedom: How many there are: shifts and scales, then rotation and shear, then perspective.
    """

    def __init__(self, ranges: TransformRanges, degrees_of_freedom: DegreesOfFreedom) -> None:
        super().__init__()
        self.ranges, self.numbers = ranges, degrees_of_freedom
        self.layers = nn.Sequential(
            nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 48, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * (SIDE // 8) ** 2, 96), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(96, degrees_of_freedom * (degrees_of_freedom + 3) // 2)
        # It begins as the random draw.
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @classmethod
    def fresh(cls, ranges: TransformRanges, degrees_of_freedom: DegreesOfFreedom, *, seed: int) -> "Localiser":
        """One to be fitted; it gives the random draw, and its other weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(ranges, degrees_of_freedom)

    def forward(
        self, scenes: Float[Tensor, "count 2 wide wide"]
    ) -> tuple[Float[Tensor, "count numbers"], Float[Tensor, "count numbers numbers"]]:
        """Mean, and lower triangular factor of the covariance, of the Gaussian over x."""
        tile = scenes[..., SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2]
        grey, boundary = tile[:, :1], tile[:, 1:]
        grey = grey - grey.mean(dim=(-1, -2), keepdim=True)
        values = self.head(self.layers(torch.cat([grey / (grey.std(dim=(-1, -2), keepdim=True) + FAINT), boundary], 1)))
        mean, diagonal, below = values.split([self.numbers, self.numbers, values.shape[1] - 2 * self.numbers], dim=1)
        factor = torch.diag_embed(diagonal.clamp(-5, 2).exp())
        row, column = torch.tril_indices(self.numbers, self.numbers, -1)
        factor[:, row, column] = below
        return mean, factor

    def transforms(self, x: Float[Tensor, "count numbers"]) -> Float[Tensor, "count 3 3"]:
        """The transforms that x stands for."""
        return within(torch.special.ndtr(x), self.ranges)

    @torch.no_grad()
    def draw(
        self, scenes: Float[Tensor, "count 2 wide wide"], generator: torch.Generator
    ) -> Float[Tensor, "count 3 3"]:
        """A transform for each tile."""
        mean, factor = self(scenes)
        noise = torch.randn(mean.shape, generator=generator)
        return self.transforms(mean + einsum(factor, noise, "count i j, count j -> count i"))


def scenes(
    image: UInt8[Tensor, "3 height width"],
    boundary: Float[Tensor, "1 height width"],
    places: Int64[Tensor, "count 2"],
    tile: int,
) -> Float[Tensor, "count 2 wide wide"]:
    """Tiles with half a tile around them on every side, at twice SIDE: the grey image, 0..1, and the boundary."""
    grey = image.float().mean(dim=0, keepdim=True) / 255
    around = torch.arange(2 * tile) - tile // 2
    rows, columns = places[:, :1] + around, places[:, 1:] + around
    height, width = boundary.shape[-2:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    # Beyond the map the image goes on as it ends: its frame is no edge.
    maps = torch.cat([grey, boundary])[
        :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]
    maps = torch.stack([maps[0], maps[1] * inside], dim=1)
    return F.interpolate(maps, size=(2 * SIDE, 2 * SIDE), mode="area")


def energy(scenes: Float[Tensor, "count 2 wide wide"], theta: Float[Tensor, "count 3 3"]) -> Float[Tensor, " count"]:
    """E(theta; I, b): minus the mean image gradient under the moved boundary, in standard deviations."""
    image, boundary = scenes[:, :1], scenes[:, 1:]
    # The scene is twice as wide as its tile.
    moved = F.grid_sample(boundary, grid(theta, SIDE, SIDE) / 2, mode="bilinear", align_corners=False)
    return -(moved * standing_out(image, boundary)).sum(dim=(1, 2, 3)) / (moved.sum(dim=(1, 2, 3)) + 1)


def standing_out(
    image: Float[Tensor, "count 1 wide wide"], boundary: Float[Tensor, "count 1 wide wide"]
) -> Float[Tensor, "count 1 side side"]:
    """g: how far the image's gradient stands out, 0 next to the unmoved boundary."""
    slope = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4
    both = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), torch.stack([slope, slope.T])[:, None])
    inner = slice(SIDE // 2, -SIDE // 2)
    gradient = both.square().sum(dim=1, keepdim=True).sqrt()[..., inner, inner]
    free = (F.max_pool2d(boundary, 3, stride=1, padding=1)[..., inner, inner] < 0.25).float()
    count = free.sum(dim=(-1, -2), keepdim=True).clamp(min=1)
    mean = (gradient * free).sum(dim=(-1, -2), keepdim=True) / count
    spread = ((gradient - mean).square() * free).sum(dim=(-1, -2), keepdim=True).div(count).sqrt()
    excess = ((gradient - mean) / (spread + FAINT)).clamp(max=3) * free
    weight = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    return F.conv2d(excess, torch.outer(weight, weight)[None, None], padding=2)


def fit(
    localiser: Localiser, pool: UInt8[Tensor, "tiles 2 wide wide"], params: SpatialTransformerParams, *, seed: int
) -> Iterator[float]:
    """Fit a localiser to a pool of scenes, 255 times what `scenes` gives; yields the objective of each step."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(localiser.parameters(), params.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, params.steps)
    for _ in range(params.steps):
        batch = pool[torch.randint(len(pool), (params.batch,), generator=generator)].float() / 255
        mean, factor = localiser(batch)
        noise = torch.randn(mean.shape, generator=generator)
        theta = localiser.transforms(mean + einsum(factor, noise, "count i j, count j -> count i"))
        loss = (energy(batch, theta) / params.temperature + divergence(mean, factor)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        yield loss.item()


def divergence(
    mean: Float[Tensor, "count numbers"], factor: Float[Tensor, "count numbers numbers"]
) -> Float[Tensor, " count"]:
    """KL(q || p) of the Gaussian against a standard normal, in nats."""
    logs = factor.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
    return (factor.square().sum(dim=(-1, -2)) + mean.square().sum(dim=-1) - mean.shape[1]) / 2 - logs


def save(folder: Path, localiser: Localiser, *, tile: int) -> None:
    """Write a localiser for tiles of a side; whole or not at all."""
    ranges = localiser.ranges.model_dump(mode="json")
    settings = {"tile": tile, "degrees_of_freedom": localiser.numbers, "ranges": ranges}
    weights.save(folder, localiser.state_dict(), settings, format=FORMAT)


def load(folder: Path, *, ranges: TransformRanges, degrees_of_freedom: DegreesOfFreedom, tile: int) -> Localiser:
    """Read a localiser that was fitted for the same transforms and tiles.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: It holds something else, or a localiser that was fitted for others.
    """
    tensors, settings = weights.load(folder, format=FORMAT)
    wanted = {"tile": tile, "degrees_of_freedom": degrees_of_freedom, "ranges": ranges.model_dump(mode="json")}
    for name, value in wanted.items():
        if settings.get(name) != value:
            raise InputError(
                f"{folder}: was fitted with {name} {settings.get(name)} and synthesize.{name} is {value}; run "
                f"`python -m components.synthesize --fit` anew"
            )
    localiser = Localiser(ranges, degrees_of_freedom)
    weights.fill(localiser, tensors, source=folder)
    return localiser.eval()
