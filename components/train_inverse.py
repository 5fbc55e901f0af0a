"""Stage 3: pairs to an inverse network."""

import json
import time
from statistics import fmean

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from components import stage
from components.progress import track
from components.stage import Input, Output, Report, Scratch
from inverseform import inverse_net as nets
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.distance import euclidean
from inverseform.inverse_net import DenseParams, InverseNet, InverseNetSettings
from inverseform.metrics.inverse_net import Determination, Move, response
from inverseform.pairs import DegradationParams, degrade, reflect
from inverseform.settings import InputError, Settings
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.loop import train
from inverseform.training.optimiser import OptimiserParams
from inverseform.transform import offsets

AMOUNTS: dict[Move, list[float]] = {
    "shift": [0.0, 0.05, 0.1, 0.15, 0.2],
    "scale": [0.0, 0.05, 0.1, 0.15, 0.2],
    "rotation": [0.0, 3.0, 6.0, 9.0, 12.0],
}
"""What the finished network is asked about: how its distance grows with each move."""


class TrainInverseParams(Settings):
    """The inverse network, from pairs."""

    network: DenseParams
    degradation: DegradationParams
    optimiser: OptimiserParams


def train_inverse(
    params: TrainInverseParams,
    *,
    pairs: Input,
    inverse_net: Output,
    metrics: Output,
    curves: Output,
    checkpoints: Scratch,
) -> Report:
    """Regress the transform between the tiles of a pair (sec. 3.2); say how well that goes on held-out images."""
    begun = time.monotonic()
    store, held_out = PairStore(pairs, "train"), PairStore(pairs, "val")
    optimiser = params.optimiser
    torch.manual_seed(optimiser.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = InverseNet(_settings(params, store)).to(device)

    def loss(model: nn.Module, batch: Pairs) -> dict[str, Tensor]:
        # Moved as bits, eight to a float's thirty-two: softening them is the device's work.
        tiles, warps, thetas, seeds = (field.to(device) for field in batch)
        tile, warped, theta = reflect(tiles, warps, thetas, seeds)
        predicted = degrade(warped.float(), seeds, params.degradation)
        # In units of their spread all numbers count alike; in plain offsets it would be the square of eq. (1).
        truth = (offsets(theta, net.settings.degrees_of_freedom) - net.mean) / net.scale
        return {"total": (model(predicted, tile.float()) - truth).square().mean()}

    run = fingerprint("train_inverse", params.model_dump(mode="json"), stage.digest(pairs))
    steps = train(
        net,
        lambda step: store.batch(step, optimiser.batch, seed=optimiser.seed),
        loss,
        optimiser,
        place=Place(checkpoints, run),
    )
    # Where a resumed run goes on is known only after its first step; the bar starts there.
    first = next(steps)
    history = first.history
    for step in track(steps, description="inverse network, step", total=optimiser.steps, done=first.step):
        history = step.history
    figures = assess(net.cpu().eval(), held_out, params.degradation)
    nets.save(inverse_net, net)
    pd.DataFrame(history).to_csv(curves, index=False)
    metrics.write_text(json.dumps(figures, indent=1) + "\n")
    return {**figures, "seconds": time.monotonic() - begun}


@torch.no_grad()
def assess(net: InverseNet, held_out: PairStore, degradation: DegradationParams) -> Report:
    """Figures of a network on pairs of images that it has not seen.

    R2 per number on hard and on degraded tiles; d(x, x) as the network answers, before the loss takes it off;
    how d grows with shift, scale and rotation.
    """
    numbers = net.settings.degrees_of_freedom
    explained = {"r2": Determination(numbers), "r2_degraded": Determination(numbers)}
    still: list[Float[Tensor, " batch"]] = []
    for batch in held_out.all():
        tile, warped = batch.tile.float(), batch.warped.float()
        truth = offsets(batch.theta, numbers)
        for name, predicted in (("r2", warped), ("r2_degraded", degrade(warped, batch.seed, degradation))):
            explained[name].update(net(predicted, tile) * net.scale + net.mean, truth)
        still.append(euclidean(net.theta(net(tile, tile))))
    figures: Report = {}
    for name, determination in explained.items():
        each = determination.compute()
        figures[name] = fmean(known) if (known := [r2 for r2 in each if r2 is not None]) else None
        figures[f"{name}_each"] = each
    figures["distance_of_identity"] = torch.cat(still).mean().item()
    # One row group, a thousand tiles, is enough for a mean, and every amount moves them anew.
    tiles = next(held_out.all()).tile.float()
    for move, amounts in AMOUNTS.items():
        grown = response(net, tiles, move, amounts)
        figures[f"distance_by_{move}"] = {str(amount): d for amount, d in zip(amounts, grown, strict=True)}
    return figures


def _settings(params: TrainInverseParams, store: PairStore) -> InverseNetSettings:
    """What the network is told of itself: how its pairs were made, and the mean and spread of their transforms."""
    made = store.settings
    numbers = offsets(store.theta(), made["degrees_of_freedom"]).double()
    scale = numbers.std(dim=0, correction=0)
    # Targets are divided by it; a spread of a millionth of half a tile is rounding and no movement.
    if (scale < 1e-6).any():
        raise InputError(
            f"synthesize.ranges {made['ranges']}: number {int(scale.argmin())} of {made['degrees_of_freedom']} never "
            f"varies, so there is nothing to learn; widen the ranges, or lower degrees_of_freedom or identity"
        )
    measured = {"mean": numbers.mean(dim=0).tolist(), "scale": scale.tolist()}
    network = params.network.model_dump(mode="json")
    return InverseNetSettings.model_validate({"network": network, **made, **measured}, strict=False)


if __name__ == "__main__":
    stage.main(train_inverse)
