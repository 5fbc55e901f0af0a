"""Stage 3: pairs to an inverse network."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from components import stage
from components.progress import track
from components.stage import Input, Output, Report, Scratch
from inverseform import inverse_net as nets
from inverseform import inverse_report
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.degradation import DegradationParams, degrade
from inverseform.inverse_net import InverseNet, InverseNetSettings, NetworkParams
from inverseform.metrics.gate import InverseGateParams, checks, misses
from inverseform.metrics.inverse_net import Explained
from inverseform.metrics.response import Answers, answers, figures
from inverseform.pairs import reflect, remainders
from inverseform.plots import Points, read_curves
from inverseform.probes import Probe, probes
from inverseform.settings import InputError, Settings
from inverseform.training.batches import Part
from inverseform.training.checkpoint import Place
from inverseform.training.launch import MachineParams, launch
from inverseform.training.loop import train
from inverseform.training.optimiser import OptimiserParams
from inverseform.transform import DegreesOfFreedom, offsets


class TrainInverseParams(Settings):
    """The inverse network, from pairs."""

    init: Literal["pretrained", "random"]
    """Where training begins: the network that comes with the package, for a short fine-tuning, or random weights."""
    network: NetworkParams
    degradation: DegradationParams
    blended: float = Field(ge=0, le=1)
    """Share of the pairs whose prediction is a mixture of itself and what it would be in place, 0 to 1 of the way; the
    transform counts as far. What lies between is what a gradient step on a map leads to."""
    gate: InverseGateParams
    """What the network must reach on held-out images; below it the stage fails."""
    optimiser: OptimiserParams
    machine: MachineParams


class PairBatches:
    """The batches of a training; sent to another process, they open their folder again."""

    def __init__(self, folder: Path, *, seed: int) -> None:
        self.folder, self.seed, self.store = folder, seed, PairStore(folder, "train")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(PairBatches, seed=self.seed), (self.folder,)

    def __call__(self, part: Part) -> Pairs:
        """The pairs of a part: of an endless stream, each epoch of it in another order."""
        return self.store.batch(part.start // part.size, part.size, seed=self.seed)


class Refined(nn.Module):
    """All answers of a network, as one forward pass."""

    def __init__(self, net: InverseNet) -> None:
        super().__init__()
        self.net = net

    def forward(
        self, predicted: Float[Tensor, "count tile tile"], target: Float[Tensor, "count tile tile"]
    ) -> list[Float[Tensor, "count numbers"]]:
        """What the network answers on the way, and in the end."""
        return list(self.net.refine(predicted, target))


def train_inverse(
    params: TrainInverseParams,
    *,
    pairs: Input,
    inverse_net: Output,
    metrics: Output,
    curves: Output,
    report: Output,
    checkpoints: Scratch,
) -> Report:
    """Regress the transform between the tiles of a pair (sec. 3.2); fail if held-out images show that it cannot."""
    begun = time.monotonic()
    if params.machine.precision != "32-true":
        raise InputError(
            f"train_inverse.machine.precision is {params.machine.precision}: the inverse network measures parts of a "
            f"pixel and solves equations, and is trained in single precision alone; set it to 32-true"
        )
    store, val, probe = (PairStore(pairs, split) for split in ("train", "val", "probe"))
    optimiser = params.optimiser
    machine = launch(params.machine)
    torch.manual_seed(optimiser.seed)
    net = _initial(params, store)
    # Not the gate: whoever lowers it goes on from the checkpoint that the failed run left. Nor who loads the batches.
    settings = params.model_dump(mode="json", exclude={"gate": True, "machine": {"workers"}})
    inputs = {"pairs": stage.digest(pairs), "initial weights": _digest(net)}

    def loss(model: nn.Module, batch: Pairs) -> dict[str, Tensor]:
        # Moved as bits, eight to a float's thirty-two: softening them is the device's work.
        reflected = _reflected(batch)
        predicted, left = _blended(reflected, params)
        # In units of their spread all numbers count alike; in plain offsets it would be the square of eq. (1).
        truth = (left * offsets(reflected.theta, net.settings.degrees_of_freedom) - net.mean) / net.scale
        # A network that refines its answer is asked to be right on the way too.
        each = model(predicted, reflected.tile.float())
        return {"total": torch.stack([(answer - truth).square().mean() for answer in each]).mean()}

    steps = train(
        Refined(net),
        PairBatches(pairs, seed=optimiser.seed),
        loss,
        optimiser,
        machine=machine,
        place=Place(checkpoints, settings, inputs),
        keep=True,
    )
    # Where a resumed run goes on is known only after its first step; the bar starts there.
    first = next(steps)
    history = first.history
    for step in track(
        steps, description="inverse network, step", total=optimiser.steps, done=first.step, shown=machine.is_first
    ):
        history = step.history
    # What comes now is done once: the other processes are asked for no outputs.
    if not machine.is_first:
        return {}
    found = assess(net.cpu().eval(), val, probe, params.degradation)
    _refuse(found, params.gate, net.settings.degrees_of_freedom)
    nets.save(inverse_net, net)
    pd.DataFrame(history).to_csv(curves, index=False)
    metrics.write_text(json.dumps(found, indent=1) + "\n")
    stores = {"train": store, "val": val, "probe": probe}
    report.write_text(_page(net, stores, params, found, read_curves(curves)), encoding="utf-8")
    return {**found, "seconds": time.monotonic() - begun}


@torch.no_grad()
def assess(net: InverseNet, val: PairStore, probe: PairStore, degradation: DegradationParams) -> Report:
    """Figures of a network on images that it has not seen: on random transforms, and on one move at a time."""
    explained = Explained(net)
    for batch in val.all():
        explained.update(batch.tile.float(), batch.warped.float(), _predicted(batch, degradation), batch.theta)
    moves = probes(net.settings.tile)
    _check_probes(probe, moves)
    parts, asked = [], cycle(moves)
    for batch in probe.all():
        which = list(islice(asked, len(batch.seed)))
        tile, warped = batch.tile.float(), batch.warped.float()
        degraded, unmoved = (degrade(maps, batch.seed, degradation) for maps in (warped, tile))
        parts.append(answers(net, tile, warped, degraded, which, unmoved=unmoved))
    # A row group may end in the middle of a tile's probes; put together they are whole.
    table = Answers(*(torch.cat(c).unflatten(0, (-1, len(moves))) for c in zip(*parts, strict=True)))
    return {**explained.figures(), **figures(table, moves, net.settings.tile)}


def _page(
    net: InverseNet,
    stores: Mapping[str, PairStore],
    params: TrainInverseParams,
    found: Report,
    curves: dict[str, Points],
) -> str:
    """The report, in which a person sees whether the network works."""
    contents = inverse_report.gather(
        net, stores, lambda pairs: _predicted(pairs, params.degradation), figures=found,
        checks=checks(found, params.gate, degrees_of_freedom=net.settings.degrees_of_freedom),
        params=params.model_dump(mode="json"), curves=curves,
    )  # fmt: skip
    return inverse_report.render(contents)


def _reflected(pairs: Pairs) -> Pairs:
    """Pairs under a symmetry of the square each, real predictions along with their tiles."""
    tile, warped, theta = reflect(pairs.tile, pairs.warped, pairs.theta, pairs.seed)
    reflected = pairs._replace(tile=tile, warped=warped, theta=theta)
    if pairs.prediction is None:
        return reflected
    # The seed alone decides on the symmetry, so that a second call gives the same.
    return reflected._replace(prediction=reflect(pairs.tile, pairs.prediction, pairs.theta, pairs.seed)[1])


def _predicted(pairs: Pairs, degradation: DegradationParams) -> Float[Tensor, "count tile tile"]:
    """The predicted maps of pairs: what a network gave where the store has that, else the degraded warped tile."""
    degraded = degrade(pairs.warped.float(), pairs.seed, degradation)
    if pairs.prediction is None or pairs.soft is None:
        return degraded
    return torch.where(pairs.soft[:, None, None], pairs.prediction.float() / 255, degraded)


def _blended(
    pairs: Pairs, params: TrainInverseParams
) -> tuple[Float[Tensor, "count tile tile"], Float[Tensor, "count 1"]]:
    """Predicted maps, some of them blended with the unmoved ones, and what share of the transform is left in each."""
    left, moved = remainders(pairs.seed, params.blended), _predicted(pairs, params.degradation)
    if not params.blended:
        return moved, left[:, None]
    # A GPU works on all of them: to count those that are blended it would have to wait.
    some = (left < 1).nonzero()[:, 0] if left.device.type == "cpu" else torch.arange(len(left), device=left.device)
    # The same seeds: what a network got wrong it gets wrong all the way.
    still = degrade(pairs.tile[some].float(), pairs.seed[some], params.degradation)
    return moved.index_copy(0, some, torch.lerp(still, moved[some], left[some, None, None])), left[:, None]


def _check_probes(store: PairStore, moves: list[Probe]) -> None:
    """That the store's probes are those of this version."""
    theta, known = store.theta(), torch.stack([move.theta for move in moves])
    if len(theta) % len(known) or not torch.allclose(theta, known.repeat(len(theta) // len(known), 1, 1), atol=1e-5):
        raise InputError(
            f"pairs: its {len(theta)} probes are not those of this version, {len(known)} a tile in a fixed order; "
            f"delete data/pairs and run `dvc repro synthesize`"
        )


def _refuse(figures: Report, gate: InverseGateParams, degrees_of_freedom: DegreesOfFreedom) -> None:
    """Stop if a figure misses the gate.

    Raises:
        InputError: With every figure that does, and what to change; and all the others, as no file is written.
    """
    if missed := misses(figures, gate, degrees_of_freedom=degrees_of_freedom):
        lines = "".join(f"\n- {line}" for line in missed)
        known = ", ".join(f"{name} {value:.4g}" for name, value in figures.items() if isinstance(value, float))
        raise InputError(
            f"train_inverse.gate: the network misses {len(missed)} of its thresholds on held-out images, and none is "
            f"written, as no segmentation should be trained with it:{lines}\nAll figures: {known}\nThe checkpoint "
            f"stays: with lower thresholds in train_inverse.gate the stage goes on from it and need not train again"
        )


def _initial(params: TrainInverseParams, store: PairStore) -> InverseNet:
    """The network to begin with: random weights, or those that come with the package."""
    if params.init == "random":
        return InverseNet(_settings(params, store, _units(store)))
    ready = nets.pretrained()
    kept = {"mean": ready.settings.mean, "scale": ready.settings.scale}
    settings = _settings(params, store, kept)
    keys = {
        "network": "train_inverse.network", "tile": "synthesize.tile",
        "degrees_of_freedom": "synthesize.degrees_of_freedom", "boundary": "ingest.boundary",
    }  # fmt: skip
    ours, theirs = settings.model_dump(mode="json"), ready.settings.model_dump(mode="json")
    for name, key in keys.items():
        if ours[name] != theirs[name]:
            raise InputError(
                f"train_inverse.init is pretrained and {key} {json.dumps(ours[name])}: the network of the package has "
                f"{json.dumps(theirs[name])}; set {key} to that, or train_inverse.init to random with more steps"
            )
    net = InverseNet(settings)
    net.load_state_dict(ready.state_dict())
    return net


def _settings(params: TrainInverseParams, store: PairStore, units: Mapping[str, Sequence[float]]) -> InverseNetSettings:
    """What the network is told of itself: how its pairs were made, and the mean and spread of their transforms."""
    network = params.network.model_dump(mode="json")
    return InverseNetSettings.model_validate({"network": network, **store.settings, **units}, strict=False)


def _units(store: PairStore) -> dict[str, list[float]]:
    """Mean and spread of each number over the training pairs."""
    made = store.settings
    mean, scale = store.moments(made["degrees_of_freedom"])
    # Targets are divided by it; a spread of a millionth of half a tile is rounding and no movement.
    if (scale < 1e-6).any():
        raise InputError(
            f"synthesize.ranges {made['ranges']}: number {int(scale.argmin())} of {made['degrees_of_freedom']} never "
            f"varies, so there is nothing to learn; widen the ranges, or lower degrees_of_freedom or identity"
        )
    return {"mean": mean.tolist(), "scale": scale.tolist()}


def _digest(net: nn.Module) -> str:
    """SHA-256 of the weights a run begins with: those of the package may change between versions."""
    total = hashlib.sha256()
    for tensor in net.state_dict().values():
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


if __name__ == "__main__":
    stage.main(train_inverse)
