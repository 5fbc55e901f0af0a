"""A segmentation network scored on the val split while it is trained, as evaluate scores the finished one."""

import logging
from typing import Literal

import torch
from pydantic import Field

from inverseform.data.sample_store import SampleStore
from inverseform.inference import segment
from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.metrics.segmentation import Confusion
from inverseform.networks import Channels, Segmenter
from inverseform.scores import InferenceParams
from inverseform.settings import InputError, Settings
from inverseform.training.launch import Machine

SPLIT = "val"
log = logging.getLogger("inverseform")


class ValidationParams(Settings):
    """How the network is scored while it is trained; the best one is what is written then."""

    every: int | None = Field(ge=1)
    """Steps between two scorings, the last step apart, which is scored too; null: none, and the last network counts."""
    metric: Literal["miou", "mba"]
    """The score of the best network."""
    inference: InferenceParams
    """How the network is shown an image."""


def check_split(params: ValidationParams, store: SampleStore) -> None:
    """Refuse a validation without samples.

    Raises:
        InputError: There are none.
    """
    if params.every is not None and not (SPLIT in store.splits and store.size(SPLIT)):
        raise InputError(
            f"train_segmentation.validation.every is {params.every} and there are no {SPLIT} samples from "
            f"{store.info.source}; give the data set some and run `dvc repro ingest`, or set it to null"
        )


def validate(
    network: Segmenter, store: SampleStore, params: ValidationParams, *, mean: Channels, std: Channels, machine: Machine
) -> dict[str, float]:
    """Scores on the split, as val_miou and val_mba; each process looks at its share of the samples.

    Counts are added over the processes: the scores are those that one process would find.

    Raises:
        InputError: The metric that is asked for has no value on these samples.
    """
    bare = network.without_boundary_head()
    confusion, boundary = Confusion(len(store.info.classes), device=machine.device), BoundaryAccuracy()
    with torch.inference_mode():
        for index in range(machine.rank, store.size(SPLIT), machine.processes):
            sample = store.sample(SPLIT, index)
            image, labels = sample.image.to(machine.device), sample.labels.to(machine.device)
            predicted = segment(
                lambda images: bare(images).segmentation, image, mean=mean, std=std, inference=params.inference
            )
            confusion.update(predicted, labels)
            boundary.update(predicted, labels)
        confusion.counts = machine.sum(confusion.counts)
        boundary.images = machine.sum(boundary.images).cpu()
    scores = {"val_miou": confusion.scores().miou, "val_mba": boundary.scores().mba}
    if scores[f"val_{params.metric}"] is None:
        raise InputError(
            f"train_segmentation.validation.metric is {params.metric}, which has no value on the {SPLIT} samples: they "
            f"have no {'boundary' if params.metric == 'mba' else 'labels'}; set it to another, or every to null"
        )
    found = {name: value for name, value in scores.items() if value is not None}
    if machine.is_first:
        log.info("on %s: %s", SPLIT, ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    return found
