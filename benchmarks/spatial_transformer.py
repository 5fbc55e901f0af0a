"""What the spatial transformer learned: how wide its transforms are, and how much they depend on the image.

    python -m benchmarks.spatial_transformer --samples DIR [--localiser DIR]

DIR is a folder that ingest wrote; without a localiser one is fitted, as synthesize does. On tiles of val, which it was
not fitted to. Spread is the standard deviation of a quantity over that of the random draw, and `by the image` the share
of its variance that the tile explains. The energy is what is minimised: minus the image gradient under the moved
boundary, in standard deviations; with `shuffled images` the localiser sees the image of another tile.
"""

import argparse
import platform
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from components.pair_params import SynthesizeParams
from components.synthesize import fit
from components.tiles import scenes, tiles
from inverseform import spatial_transformer
from inverseform.data.sample_store import SampleStore
from inverseform.params import load_section
from inverseform.spatial_transformer import Localiser, divergence, energy
from inverseform.transform import identity

QUANTITIES = ("shift x", "shift y", "scale x", "scale y", "rotation", "shear", "perspective x", "perspective y")
DRAWS = 16


class Drawn(NamedTuple):
    """Draws of a localiser for some tiles."""

    x: Float[Tensor, "draws tiles numbers"]
    divergence: float


def draws(localiser: Localiser, seen: Float[Tensor, "tiles 2 wide wide"]) -> Drawn:
    """Several for each tile."""
    mean, factor = localiser(seen)
    noise = torch.randn(DRAWS, *mean.shape, generator=torch.Generator().manual_seed(0))
    x = mean + torch.einsum("tij,dtj->dti", factor, noise)
    return Drawn(x, divergence(mean, factor).mean().item())


def gained(localiser: Localiser, pool: Float[Tensor, "tiles 2 wide wide"], x: Float[Tensor, "d t n"]) -> float:
    """Mean energy of draws on tiles."""
    return torch.stack([energy(pool, localiser.transforms(some)) for some in x]).mean().item()


@torch.no_grad()
def report(localiser: Localiser, pool: Float[Tensor, "tiles 2 wide wide"]) -> None:
    """Print both tables."""
    own = draws(localiser, pool)
    # The tiles of a sample follow each other: half of all tiles further on is another image.
    other = torch.cat([pool[:, :1].roll(len(pool) // 2, 0), pool[:, 1:]], dim=1)
    random = torch.randn(own.x.shape, generator=torch.Generator().manual_seed(1))
    still = energy(pool, identity(len(pool), like=pool)).mean().item()
    print("| transforms | mean energy |\n|---|--:|")
    print(f"| of q, on its own image | {gained(localiser, pool, own.x):.3f} |")
    print(f"| of q, of shuffled images | {gained(localiser, pool, draws(localiser, other).x):.3f} |")
    print(f"| random draw | {gained(localiser, pool, random):.3f} |")
    print(f"| identity | {still:.3f} |\n\nKL(q, random draw): {own.divergence:.2f} nats\n")
    print("| quantity | spread over random draw | by the image |\n|---|--:|--:|")
    places = torch.special.ndtr(own.x)
    whole = places.flatten(0, 1)
    explained = 1 - places.var(dim=0).mean(dim=0) / whole.var(dim=0)
    for name, spread, share in zip(QUANTITIES, whole.std(dim=0) * 12**0.5, explained, strict=False):
        print(f"| {name} | {spread:.2f} | {share:.2f} |")


def main() -> None:
    """Fit or load, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--localiser", type=Path)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--overrides", default="{}", metavar="JSON")
    parser.add_argument("--tiles", type=int, default=512)
    given = parser.parse_args()
    params = load_section(given.params, "synthesize", SynthesizeParams, overrides=given.overrides)
    params = params.model_copy(update={"source": "spatial_transformer"})
    store = SampleStore.open(given.samples)
    generator = torch.Generator().manual_seed(params.seed)
    each = -(-given.tiles // store.size("val"))
    found = tiles(params, store, "val", turn=0, count=given.tiles, each=each, generator=generator)
    pool = torch.cat([scenes(params, sample, places) for sample, places in found])
    with tempfile.TemporaryDirectory() as folder:
        place = given.localiser or Path(folder, "localiser")
        if not given.localiser:
            done = fit(params, samples=given.samples, checkpoints=place.parent)
            print(f"fitted in {done['seconds']:.0f} s, objective {done['objective']:.2f}")
        localiser = spatial_transformer.load(
            place, ranges=params.ranges, degrees_of_freedom=params.degrees_of_freedom, tile=params.tile
        )
    size = sum(weight.numel() for weight in localiser.parameters())
    print(f"samples: {store.info.source}; {len(pool)} tiles of {params.tile} of val; {size} parameters")
    print(f"{params.spatial_transformer}\ntorch {torch.__version__}, {platform.platform()}\n")
    report(localiser, pool)


if __name__ == "__main__":
    main()
