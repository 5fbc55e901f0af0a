"""Stage 4: samples and the frozen inverse network to a segmentation network."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from components import stage
from components.progress import track
from components.segmentation_batches import Batch, Batches, SamplingParams, Statistics, check_split, statistics
from components.stage import Input, Output, Report, Scratch
from components.validation import ValidationParams, validate
from components.validation import check_split as check_validation
from inverseform import coupling, networks, weights
from inverseform.boundary_aware import BoundaryAwareLoss, LossTerms
from inverseform.coupling import LossParams, gamma_at
from inverseform.data.augment import AugmentParams
from inverseform.data.sample_store import SampleStore
from inverseform.inverse_net import load as load_inverse_net
from inverseform.loss import InverseFormLoss
from inverseform.networks import Card, Channels, NetworkParams, Segmenter, SmpParams, normalisation, normalise
from inverseform.networks.transfer import transfer
from inverseform.process_group import ProcessGroup, summed
from inverseform.sample import Prediction
from inverseform.settings import InputError, Settings
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.curve import ends_a_row
from inverseform.training.launch import Machine, MachineParams, launch
from inverseform.training.loop import Step, Validation, train
from inverseform.training.optimiser import OptimiserParams


class TrainSegmentationParams(Settings):
    """The segmentation network, with the frozen inverse network in its loss."""

    network: NetworkParams
    init: str | None
    """The folder of a segmenter whose weights the network starts from, but for its classes; null for none. The network
    must be of the same settings; images are normalised as that one's were."""
    augment: AugmentParams
    sampling: SamplingParams
    loss: LossParams
    optimiser: OptimiserParams
    validation: ValidationParams
    machine: MachineParams


def train_segmentation(
    params: TrainSegmentationParams,
    *,
    samples: Input,
    inverse_net: Input,
    segmenter: Output,
    metrics: Output,
    curves: Output,
    checkpoints: Scratch,
) -> Report:
    """Minimise eq. (6) over the training samples; the boundary head is kept, for export to take off.

    Where the network is validated on the way, the best is written, and the last beside it if that is another.
    """
    begun = time.monotonic()
    store = SampleStore.open(samples)
    check_split(store)
    check_validation(params.validation, store)
    # Who loads the batches changes none of them.
    settings = params.model_dump(mode="json", exclude={"machine": {"workers"}})
    # By contents, not by paths or dates: a pod's folders are new each time it is started.
    inputs = {"samples": stage.digest(samples), "inverse_net": stage.digest(inverse_net)}
    if params.init is not None:
        inputs["init"] = weights.digest(params.init)
    place = Place(checkpoints, settings, inputs)
    machine = launch(params.machine, unused_parameters=leaves_unused(params))
    torch.manual_seed(params.optimiser.seed)
    network = networks.build(params.network, num_classes=len(store.info.classes))
    card = None if params.init is None else transfer(network, params.init, num_classes=len(store.info.classes))
    known = knowledge(params, store, start=card)
    criterion = loss_of(params.loss, store, inverse_net, counts=known.counts, group=machine.group).to(machine.device)
    batches = Batches(store, params.augment, seed=params.optimiser.seed, sampling=params.sampling)
    steps = train(
        network,
        batches,
        loss_function(criterion, params, mean=known.mean, std=known.std),
        params.optimiser,
        machine=machine,
        place=place,
        describe=batches.describe,
        validation=_validation(params.validation, store, known, machine),
    )
    last = first = next(steps)
    for step in track(
        steps, description="segmentation network, step", total=params.optimiser.steps, done=first.step,
        shown=machine.is_first,
    ):  # fmt: skip
        last = step
    # What comes now is done once: the other processes are asked for no outputs.
    if not machine.is_first:
        return {}
    card = Card(
        network=params.network, classes=store.info.classes, colours=store.info.colours, mean=known.mean, std=known.std,
        inverse_net=weights.digest(inverse_net) if params.loss.gamma else None, params=fingerprint(settings),
    )  # fmt: skip
    _save(segmenter, network, card, last)
    pd.DataFrame(last.history).to_csv(curves, index=False)
    figures = _figures(last)
    metrics.write_text(json.dumps(figures, indent=1) + "\n")
    return {**figures, "seconds": time.monotonic() - begun}


def knowledge(params: TrainSegmentationParams, store: SampleStore, *, start: Card | None = None) -> Statistics:
    """How images are normalised, and the pixels of each class; the samples are read once, and only if need be."""
    # Weights that were learned elsewhere know the images as they were normalised there.
    known = normalisation(params.network) if start is None else (start.mean, start.std)
    if known is not None and getattr(params.loss.segmentation, "class_weights", None) != "enet":
        return Statistics(*known, counts=[])
    found = statistics(store)
    return found if known is None else Statistics(*known, counts=found.counts)


def loss_function(
    criterion: BoundaryAwareLoss, params: TrainSegmentationParams, *, mean: Channels, std: Channels
) -> Callable[[nn.Module, Batch], dict[str, Tensor]]:
    """The terms of a network and a batch; at the end of a row of the curve also how strongly each pulls."""
    steps = params.optimiser.steps

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        prediction = model(normalise(batch.images, mean=mean, std=std))
        asked = ends_a_row(batch.step, steps)
        if asked:
            prediction = _alias(prediction)
        terms = criterion(
            prediction.segmentation, batch.labels, boundary_logits=prediction.boundary, auxiliary=prediction.auxiliary,
            boundary_at_scales=prediction.boundary_at_scales, gamma=gamma_at(params.loss, batch.step / steps),
        )  # fmt: skip
        told = gradients(criterion, terms, prediction, params) if asked else {}
        return terms._asdict() | told

    return loss


def _alias(prediction: Prediction) -> Prediction:
    """The same logits; in mixed precision the network's own refuse to be asked for a gradient before the backward."""
    boundary = prediction.boundary
    return prediction._replace(
        segmentation=prediction.segmentation.view_as(prediction.segmentation),
        boundary=None if boundary is None else boundary.view_as(boundary),
    )


def leaves_unused(params: TrainSegmentationParams) -> bool:
    """Whether a step may leave some parameters of the network without a gradient."""
    loss = params.loss
    # The decoders of that library may leave out deep stages of an encoder.
    if isinstance(params.network, SmpParams):
        return True
    # Without beta the head waits for gamma to start; and none of its maps may be asked for at all.
    asked = loss.boundary_from != "classes" and "main" in loss.boundary_outputs and loss.beta > 0
    return params.network.boundary_head and not params.network.boundary_feedback and not asked


def loss_of(
    params: LossParams, store: SampleStore, inverse_net: Path, *, counts: list[int], group: ProcessGroup | None = None
) -> BoundaryAwareLoss:
    """Eq. (6) with the network of a folder frozen inside.

    Args:
        params: Settings.
        store: The samples.
        inverse_net: The folder.
        counts: Pixels of each class, where they are known.
        group: The processes that share a batch.

    Raises:
        InputError: The network was trained on other boundaries than those of the samples.
    """
    net = load_inverse_net(inverse_net)
    if net.settings.boundary != store.info.boundary:
        raise InputError(
            f"{inverse_net} was trained on boundaries made with {net.settings.boundary} and the samples have "
            f"{store.info.boundary}; run `dvc repro` so that both come from the same ingest"
        )
    inverse, classes = InverseFormLoss(net, distance=params.distance, group=group), len(store.info.classes)
    return BoundaryAwareLoss.of(params, inverse, num_classes=classes, counts=counts or None, group=group)


def gradients(
    criterion: BoundaryAwareLoss, terms: LossTerms, prediction: Prediction, params: TrainSegmentationParams
) -> dict[str, Tensor]:
    """How strongly each weighted term pulls at the logits that it sees, and whether InverseForm and the first agree.

    What shows at once whether a term does anything: a norm of 0 is a dead one. Norms are those of the batch that all
    processes share; where it comes in micro-batches, as if all of them pulled as this one does.
    """
    boundary_from, group = params.loss.boundary_from, criterion.group
    weighted = criterion.weighted(terms)
    classes = {"classes": prediction.segmentation}
    seen = classes if boundary_from != "head" else {}
    if boundary_from != "classes" and prediction.boundary is not None:
        seen = {**seen, "boundary": prediction.boundary}
    # Each is a way back through the loss: asked for once, and used for its norm and for the cosine.
    pulls = {
        name: coupling.gradients(weighted[name], tensors)
        for name, tensors in (("segmentation", classes), ("boundary", seen), ("inverseform", seen))
    }
    squares = {
        f"gradient_{name}_{at}": pull.square().sum() for name, each in pulls.items() for at, pull in each.items()
    }
    # The loss of a share counts as many times as there are processes, and that of a micro-batch as there are of them.
    parts = 1 if group is None else group.size()
    whole = summed(torch.stack(list(squares.values())), group) / (parts**2 * params.optimiser.accumulate)
    told = dict(zip(squares, whole.sqrt(), strict=True))
    if "classes" in seen:
        pull = coupling.cosine(pulls["inverseform"]["classes"], pulls["segmentation"]["classes"])
        told["cosine_inverseform_segmentation"] = pull
    return told


def _validation(params: ValidationParams, store: SampleStore, known: Statistics, machine: Machine) -> Validation | None:
    if params.every is None:
        return None

    def score(network: Any) -> dict[str, float]:  # noqa: ANN401 (a Segmenter, by way of a loop for any network)
        return validate(network, store, params, mean=known.mean, std=known.std, machine=machine)

    return Validation(params.every, f"val_{params.metric}", score)


def _save(folder: Path, network: Segmenter, card: Card, last: Step) -> None:
    """Write the network: of a validated training the best, and the last as the folder `last` in it."""
    if last.best is None or last.best.step == last.step:
        networks.save(folder, network, card)
        return
    weights.save(folder, last.best.tensors, card.model_dump(mode="json"), format=networks.FORMAT)
    networks.save(folder / "last", network, card)


def _figures(last: Step) -> dict[str, float]:
    """What the last row of the curve holds, and the scores of the best network."""
    row = {name: value for name, value in last.history[-1].items() if name != "step"}
    figures = {name if name.startswith("val_") else f"train_{name}": value for name, value in row.items()}
    if last.best is None:
        return figures
    return figures | {"best_step": last.best.step} | {f"best_{k}": v for k, v in last.best.figures.items()}


if __name__ == "__main__":
    stage.main(train_segmentation)
