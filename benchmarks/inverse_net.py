"""An inverse network on held-out images: the figures that a loss must have, beside what was to be reached.

    python -m benchmarks.inverse_net --samples DIR [--net FOLDER] [--split val]

DIR is a folder that ingest wrote. Pairs and one-at-a-time moves are cut from its val split by the code of synthesize;
where the samples have real predictions (the boundary maps that some network gave for them) these are asked too: what R2
is on them, and whether the gradient moves a shifted prediction back.
"""

import argparse
import platform
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from components import stage
from components.pair_params import SynthesizeParams
from components.synthesize import synthesize
from components.tiles import occupied
from components.train_inverse import TrainInverseParams, assess
from inverseform import inverse_net as nets
from inverseform.data.pair_store import PairStore
from inverseform.data.sample_store import SampleStore
from inverseform.degradation import DegradationParams
from inverseform.distance import euclidean
from inverseform.inverse_net import InverseNet
from inverseform.metrics.inverse_net import Explained
from inverseform.metrics.response import points_back
from inverseform.pairs import crop
from inverseform.params import load_section

MOVES = ("shift", "scale", "rotation", "shear")
SHIFTS = (1, 2, 3, 4, 5, 6)
"""Pixels, in each of four directions."""
TILES = 2
"""Tiles of an image whose prediction is shifted."""


def pairs_of(samples: Path, net: InverseNet, folder: Path, *, predicted: float, ranges: dict[str, Any]) -> Path:
    """Held-out pairs and probes for a network."""
    settings = net.settings
    params = SynthesizeParams.model_validate(
        {
            "source": "random", "tile": settings.tile, "degrees_of_freedom": settings.degrees_of_freedom,
            "spatial_transformer": {"temperature": 1.0, "steps": 1, "batch": 1, "learning_rate": 0.1},
            "ranges": ranges, "identity": 0.0, "predicted": predicted, "occupancy": 0.02, "train_pairs": 1,
            "val_pairs": 4096, "probe_tiles": 128, "pairs_per_sample": 41, "shard_pairs": 4096, "seed": 7, "workers": 2,
        },
        strict=False,
    )  # fmt: skip
    checkpoints = folder.with_name(f"{folder.name}-checkpoints")
    stage.run(synthesize, params, {"samples": samples, "pairs": folder, "checkpoints": checkpoints})
    return folder


@torch.no_grad()
def _prediction_tiles(store: SampleStore, tile: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Boundary map, prediction and tile origins of each val sample that has a prediction; every shift stays inside."""
    found, generator = [], torch.Generator().manual_seed(0)
    for index in range(store.size("val")):
        sample = store.sample("val", index)
        if sample.prediction is None:
            continue
        origins = occupied(sample.boundary, tile, 0.02)
        reach = max(SHIFTS)
        height, width = sample.boundary.shape[-2:]
        room = torch.tensor([height - tile - reach, width - tile - reach])
        origins = origins[((origins >= reach) & (origins <= room)).all(dim=1)]
        if len(origins):
            chosen = origins[torch.randint(len(origins), (TILES,), generator=generator)]
            found.append((sample.boundary, sample.prediction, chosen))
    return found


def real_determination(net: InverseNet, store: PairStore) -> float:
    """Mean R2 of pairs that hold a real prediction each."""
    explained = Explained(net)
    for pairs in store.all():
        assert pairs.prediction is not None
        explained.update(pairs.tile.float(), pairs.warped.float(), pairs.prediction.float() / 255, pairs.theta)
    return explained.figures()["r2_degraded"]


def shifted_predictions(net: InverseNet, store: SampleStore) -> dict[int, float] | None:
    """Share of real predictions, shifted by whole pixels, that the gradient moves back; None where there are none.

    Counted are those whose target changes under the shift by half its mass or more.
    """
    tile, counts = net.settings.tile, {pixels: [0, 0] for pixels in SHIFTS}
    for boundary, prediction, origins in _prediction_tiles(store, tile):
        target, still = crop(boundary, origins, tile).float(), crop(prediction, origins, tile).float()
        for pixels in SHIFTS:
            for way in ((0, 1), (0, -1), (1, 0), (-1, 0)):
                there = origins + pixels * torch.tensor(way)
                moved = crop(prediction, there, tile).float()
                changed = (crop(boundary, there, tile).float() - target).abs().sum((1, 2)) >= target.sum((1, 2)) / 2
                back = points_back(_gradient(net, moved, target), moved, still)
                counts[pixels][0] += int((back & changed).sum())
                counts[pixels][1] += int(changed.sum())
    return {k: hits / total for k, (hits, total) in counts.items()} if counts[SHIFTS[-1]][1] else None


def _gradient(
    net: InverseNet, predicted: Float[Tensor, "n tile tile"], target: Float[Tensor, "n tile tile"]
) -> Float[Tensor, "n tile tile"]:
    leaf = predicted.clone().requires_grad_()
    return torch.autograd.grad(euclidean(net.estimate(leaf, target)).sum(), leaf)[0]


def report(net: InverseNet, samples: Path, degradation: DegradationParams) -> None:
    """Measure and print."""
    settings = net.settings
    store = SampleStore.open(samples)
    first = store.sample("val", 0)
    height, width = first.labels.shape
    ranges = settings.ranges.model_dump()
    with tempfile.TemporaryDirectory() as folder:
        made = pairs_of(samples, net, Path(folder) / "pairs", predicted=0.0, ranges=ranges)
        figures = assess(net, PairStore(made, "val"), PairStore(made, "probe"), degradation)
        real = None
        if first.prediction is not None:
            made = pairs_of(samples, net, Path(folder) / "real", predicted=1.0, ranges=ranges)
            real = real_determination(net, PairStore(made, "val"))
    shifted = shifted_predictions(net, store)
    back = figures["points_back_by_shift"]
    print(
        f"{store.info.source} val, {store.size('val')} images of {width}x{height}, tile {settings.tile}, at least "
        f"{settings.occupancy:.0%} boundary, radius {settings.boundary.radius}; {settings.network.name}, "
        f"{sum(p.numel() for p in net.parameters()):,} parameters; offsets {ranges}; torch {torch.__version__}, "
        f"{platform.machine()}\n\n| figure | to reach | reached |\n|---|--:|--:|"
    )
    rows: list[tuple[str, str, float | None]] = [
        ("mean R2, hard pairs", "0.90", figures["r2"]),
        ("mean R2, degraded pairs", "", figures["r2_degraded"]),
        ("mean R2, real predictions", "", real),
        ("normal displacement error at 3 pixels, median, pixels", "<= 0.5", figures["normal_error_pixels"]),
        ("the same, mean", "", figures["normal_error_pixels_mean"]),
        ("d(x, x) / d(largest shift), calibrated as the loss is", "<= 0.02",
         figures["distance_of_identity_calibrated"] / figures["distance_at_largest_shift"]),
        ("the same, uncalibrated", "", figures["identity_ratio"]),
        *((f"Spearman, {move}", "0.95", figures[f"spearman_{move}"]) for move in MOVES),
        *((f"Spearman within a tile and direction, {move}", "", figures[f"spearman_within_a_tile_{move}"])
          for move in MOVES),
        ("points back, hard, 1 to 6 pixels", "0.99", figures["points_back"]),
        ("the same, at its worst", "", min(value for value in back.values() if value is not None)),
        ("points back, degraded", "", figures["points_back_degraded"]),
        ("points back, real predictions, 1 to 6 pixels", "0.95", shifted and fmean(shifted.values())),
        ("the same, at its worst", "", shifted and min(shifted.values())),
    ]  # fmt: skip
    for name, wanted, value in rows:
        print(f"| {name} | {wanted} | {'-' if value is None else f'{value:.3f}'} |")
    for name in ("r2_each", "r2_degraded_each"):
        print(f"\n{name}: {[round(value, 3) for value in figures[name]]}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=Path, required=True, help="a folder that ingest wrote")
    parser.add_argument("--net", help="an inverse network of train_inverse; the packaged one by default")
    parser.add_argument("--params", type=Path, default=Path("recipes/universal.yaml"), help="where degradations stand")
    given = parser.parse_args()
    torch.set_num_threads(1)
    net = nets.load(given.net) if given.net else nets.pretrained()
    report(net, given.samples, load_section(given.params, "train_inverse", TrainInverseParams).degradation)


if __name__ == "__main__":
    main()
