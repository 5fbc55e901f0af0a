"""One loop for both networks."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from inverseform.settings import InputError
from inverseform.training import checkpoint, exchange
from inverseform.training.batches import Division, Part, load, positions
from inverseform.training.checkpoint import Checkpoint, Place
from inverseform.training.curve import Curve, History
from inverseform.training.descent import Descent, Loss
from inverseform.training.interrupts import Interrupts
from inverseform.training.launch import Machine
from inverseform.training.nonfinite import check_finite
from inverseform.training.optimiser import OptimiserParams

Batch = TypeVar("Batch")
# By time, not by steps: what an interruption costs is the same for a fast network and a slow one.
EVERY = 20.0
"""Seconds between two checkpoints."""


class Best(NamedTuple):
    """The best weights of a training that is validated."""

    step: int
    """After which they were found."""
    figures: dict[str, float]
    """What they scored."""
    tensors: dict[str, Tensor]
    """The network's state dict, on the CPU."""


class Validation(NamedTuple):
    """How a network is scored while it is trained."""

    every: int
    """Steps between two scorings; the last step is scored too."""
    by: str
    """The figure that tells the best network: the larger the better."""
    score: Callable[[nn.Module], dict[str, float]]
    """Figures of a network, called on all processes with the same weights; columns of the curve."""


class Step(NamedTuple):
    """What a step of training did."""

    step: int
    """Its number, from 1."""
    terms: dict[str, float]
    """Every term of the loss, and the total; the mean over all processes."""
    history: History
    """The curve until here."""
    best: Best | None
    """The best weights until here, where there is a validation."""


def train(
    model: nn.Module,
    batches: Callable[[Part], Batch],
    loss: Loss,
    params: OptimiserParams,
    *,
    machine: Machine,
    place: Place,
    describe: Callable[[Part], str] = positions,
    validation: Validation | None = None,
    keep: bool = False,
) -> Iterator[Step]:
    """Train a model, step by step; the caller watches.

    Goes on from a checkpoint of the same run if there is one. On SIGTERM and SIGINT, to whichever process, all end the
    step, the first saves a checkpoint, and all leave as the signal asks. With the same number of processes a run in
    parts gives the same numbers as a whole one, to the last bit.

    Args:
        model: Changed in place; holds the averaged weights at the end, where `ema` is set.
        batches: The samples of a part, which must depend on the part alone.
        loss: The terms for a network and a batch; `total` is minimised.
        params: Optimiser, schedule, number of steps.
        machine: This process and the others.
        place: Where checkpoints are kept, and what makes the run what it is.
        describe: Says what the samples of a part are, for messages.
        validation: How the network is scored on the way.
        keep: Leave a checkpoint of the last step too, for a caller that may yet refuse what came out.

    Raises:
        InputError: A term, or the gradient, is not finite; or a checkpoint of another run is in the way.
    """
    division = Division.of(params, processes=machine.processes)
    descent = Descent(model, loss, params, machine)
    start, curve, best = _resume(descent, place)
    saved = time.monotonic()
    with Interrupts() as interrupts:
        parts = load(batches, division, range(start, params.steps), machine=machine)
        for step in range(start, params.steps):
            gradient = descent.gradient(step, parts, interrupts.flags)
            # Before the weights are changed, so that the last checkpoint is of a network that still works.
            check_finite(descent, gradient, step, division=division, describe=describe)
            descent.descend(step, gradient.norm)
            figures, last = gradient.means, step + 1 == params.steps
            if validation and ((step + 1) % validation.every == 0 or last):
                scores = _score(descent, validation)
                best = _better(best, step + 1, scores, validation, descent)
                figures = figures | scores
            curve.add(step + 1, figures)
            # One process heeds a signal at once; several do when all of them know of it.
            stop = interrupts.agree(gradient.flags) if machine.processes > 1 else interrupts.signal is not None
            if stop or (keep and last) or time.monotonic() - saved > EVERY:
                if machine.is_first:
                    checkpoint.save(place, _state(descent, step + 1, curve, best))
                saved = time.monotonic()
            if stop:
                # Whoever left before the checkpoint is written would have the others killed.
                machine.wait()
                interrupts.leave()
            if last:
                descent.finish()
            yield Step(step + 1, gradient.means, curve.rows, best)
    # A run that ended after its last step still owes its caller the curve.
    if start >= params.steps:
        descent.finish()
        yield Step(start, {}, curve.rows, best)


def _score(descent: Descent, validation: Validation) -> dict[str, float]:
    network = descent.result.eval()
    # Each process has counted other batches into its buffers, such as the means of a batch norm.
    for buffer in network.buffers():
        descent.machine.share(buffer)
    with torch.no_grad():
        return validation.score(network)


def _better(best: Best | None, step: int, scores: dict[str, float], validation: Validation, descent: Descent) -> Best:
    """The best weights, when those of a step have been scored too."""
    if best is not None and scores[validation.by] <= best.figures[validation.by]:
        return best
    tensors = {name: tensor.detach().cpu().clone() for name, tensor in descent.result.state_dict().items()}
    return Best(step, scores, tensors)


def _state(descent: Descent, step: int, curve: Curve, best: Best | None) -> Checkpoint:
    tensors, facts = descent.tensors(), {"curve": curve.state(), "scale": descent.scale(), "best": None}
    if best is not None:
        tensors |= {"best": best.tensors}
        facts |= {"best": {"step": best.step, "figures": best.figures}}
    return Checkpoint(step, tensors, facts)


def _resume(descent: Descent, place: Place) -> tuple[int, Curve, Best | None]:
    """Steps that are done, the curve and the best weights until then; fills the model and all that goes with it."""
    steps = descent.params.steps
    found = exchange.find(place, descent.machine)
    if found is None:
        return 0, Curve(steps), None
    try:
        descent.restore(found.tensors, found.facts["scale"], source=str(place.folder))
    except InputError as error:
        # Settings and inputs are the same: it is the code that builds another network of them.
        raise InputError(
            f"{place.folder}: its checkpoint was left by another version of the code ({error}); go on with that one, "
            f"or begin anew: rm -r {place.folder}"
        ) from error
    best = found.facts["best"] and Best(**found.facts["best"], tensors=found.tensors["best"])
    return found.step, Curve(steps, **found.facts["curve"]), best
