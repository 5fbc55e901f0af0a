"""Stage 4: samples and the frozen inverse network to a segmentation network."""

import json
import time
from functools import lru_cache
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from components import stage
from components.progress import track
from components.stage import Input, Output, Report, Scratch
from inverseform import networks, weights
from inverseform.boundary_aware import BoundaryAwareLoss, LossTerms
from inverseform.coupling import BoundaryFrom, LossParams, gamma_at, gradient_cosine, gradient_norms
from inverseform.data.augment import AugmentParams, augment
from inverseform.data.sample_store import SampleStore
from inverseform.inverse_net import load as load_inverse_net
from inverseform.loss import InverseFormLoss
from inverseform.networks import Card, NetworkParams, SmpParams, normalise
from inverseform.networks.smp import normalisation
from inverseform.sample import Prediction
from inverseform.settings import InputError, Settings
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.loop import ends_a_row, train
from inverseform.training.optimiser import OptimiserParams

Channels = tuple[float, float, float]
"""A number for red, green and blue."""


class Batch(NamedTuple):
    """What a step of training sees."""

    step: int
    images: UInt8[Tensor, "batch 3 height width"]
    labels: UInt8[Tensor, "batch height width"]


class TrainSegmentationParams(Settings):
    """The segmentation network, with the frozen inverse network in its loss."""

    network: NetworkParams
    augment: AugmentParams
    loss: LossParams
    optimiser: OptimiserParams


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
    """Minimise eq. (6) over the training samples; the boundary head is kept, for export to take off."""
    begun = time.monotonic()
    store, settings = SampleStore.open(samples), params.model_dump(mode="json")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    criterion = loss_of(params.loss, store, inverse_net).to(device)
    torch.manual_seed(params.optimiser.seed)
    network = networks.build(params.network, num_classes=len(store.info.classes)).to(device)
    # Weights that were learned elsewhere know the images as they were normalised there.
    known = normalisation(params.network) if isinstance(params.network, SmpParams) else None
    mean, std = known or image_statistics(store)
    steps_in_all = params.optimiser.steps

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, labels = batch.images.to(device), batch.labels.to(device)
        prediction = model(normalise(images, mean=mean, std=std))
        terms = criterion(
            prediction.segmentation, labels, boundary_logits=prediction.boundary, auxiliary=prediction.auxiliary,
            boundary_at_scales=prediction.boundary_at_scales, gamma=gamma_at(params.loss, batch.step / steps_in_all),
        )  # fmt: skip
        if not ends_a_row(batch.step, steps_in_all):
            return terms._asdict()
        return terms._asdict() | gradients(criterion, terms, prediction, boundary_from=params.loss.boundary_from)

    # By contents, not by paths or dates: a pod's folders are new each time it is started.
    run = fingerprint("train_segmentation", settings, stage.digest(samples), stage.digest(inverse_net))
    steps = train(
        network,
        lambda step: draw_batch(store, params, step),
        loss,
        params.optimiser,
        place=Place(checkpoints, run),
    )
    first = next(steps)
    history = first.history
    for step in track(steps, description="segmentation network, step", total=params.optimiser.steps, done=first.step):
        history = step.history
    card = Card(
        network=params.network, classes=store.info.classes, colours=store.info.colours, mean=mean, std=std,
        inverse_net=weights.digest(inverse_net) if params.loss.gamma else None, params=fingerprint(settings),
    )  # fmt: skip
    networks.save(segmenter, network, card)
    pd.DataFrame(history).to_csv(curves, index=False)
    figures = {f"train_{name}": value for name, value in history[-1].items() if name != "step"}
    metrics.write_text(json.dumps(figures, indent=1) + "\n")
    return {**figures, "seconds": time.monotonic() - begun}


def loss_of(params: LossParams, store: SampleStore, inverse_net: Input) -> BoundaryAwareLoss:
    """Eq. (6) with the network of a folder frozen inside.

    Raises:
        InputError: The network was trained on other boundaries than those of the samples.
    """
    net = load_inverse_net(inverse_net)
    if net.settings.boundary != store.info.boundary:
        raise InputError(
            f"{inverse_net} was trained on boundaries made with {net.settings.boundary} and the samples have "
            f"{store.info.boundary}; run `dvc repro` so that both come from the same ingest"
        )
    inverse, classes = InverseFormLoss(net, distance=params.distance), len(store.info.classes)
    # They cost a reading of the training labels.
    counts = class_counts(store) if getattr(params.segmentation, "class_weights", None) == "enet" else None
    return BoundaryAwareLoss.of(params, inverse, num_classes=classes, counts=counts)


def gradients(
    criterion: BoundaryAwareLoss, terms: LossTerms, prediction: Prediction, *, boundary_from: BoundaryFrom
) -> dict[str, Tensor]:
    """How strongly each weighted term pulls at the logits that it sees, and whether InverseForm and the first agree.

    What shows at once whether a term does anything: a norm of 0 is a dead one.
    """
    weighted = criterion.weighted(terms)
    seen = {"classes": prediction.segmentation} if boundary_from != "head" else {}
    if boundary_from != "classes" and prediction.boundary is not None:
        seen["boundary"] = prediction.boundary
    told = gradient_norms({"segmentation": weighted["segmentation"]}, {"classes": prediction.segmentation})
    told |= gradient_norms({name: weighted[name] for name in ("boundary", "inverseform")}, seen)
    if "classes" in seen:
        pull = gradient_cosine(weighted["inverseform"], weighted["segmentation"], prediction.segmentation)
        told["cosine_inverseform_segmentation"] = pull
    return told


def draw_batch(store: SampleStore, params: TrainSegmentationParams, step: int) -> Batch:
    """The batch of a step: every sample once an epoch, in an order and an augmentation drawn from seed and step."""
    size, count, seed = params.optimiser.batch, store.size("train"), params.optimiser.seed
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    parts = []
    for position in range(step * size, (step + 1) * size):
        epoch, place = divmod(position, count)
        sample = store.sample("train", _order(seed, epoch, count)[place])
        parts.append(augment(sample, params.augment, generator=generator))
    images, labels = (torch.stack(tensors) for tensors in zip(*parts, strict=True))
    return Batch(step, images, labels)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> list[int]:
    """The order of an epoch; two are kept, as a batch may lie in both."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)).tolist()


def class_counts(store: SampleStore) -> list[int]:
    """Pixels of each class in the training labels; from evenly spread samples."""
    counts = torch.zeros(256, dtype=torch.int64)
    for index in _spread(store):
        counts += torch.bincount(store.sample("train", index).labels.flatten().long(), minlength=256)
    return counts[: len(store.info.classes)].tolist()


def _spread(store: SampleStore, most: int = 256) -> range:
    """At most so many training samples, evenly spread."""
    return range(0, store.size("train"), max(1, -(-store.size("train") // most)))


def image_statistics(
    store: SampleStore, most: int = 256
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the training images, per channel, in [0, 1]; from evenly spread samples."""
    count = store.size("train")
    if not count:
        raise InputError(
            f"samples: there are no train samples from {store.info.source}; give the data set some and run "
            f"`dvc repro ingest`"
        )
    total, square, pixels = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 0
    for index in _spread(store, most):
        # In double precision, as the variance below is the difference of two large sums.
        image = store.sample("train", index).image.double() / 255
        total += image.sum(dim=(1, 2))
        square += image.square().sum(dim=(1, 2))
        pixels += image[0].numel()
    mean = total / pixels
    # The floor, a deviation of 1e-3, keeps a channel of one value from being divided by 0.
    std = (square / pixels - mean.square()).clamp(min=1e-6).sqrt()
    red, green, blue = zip(mean.tolist(), std.tolist(), strict=True)
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


if __name__ == "__main__":
    stage.main(train_segmentation)
