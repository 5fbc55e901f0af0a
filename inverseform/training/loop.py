"""One loop for both networks."""

import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from inverseform.settings import InputError
from inverseform.training import checkpoint
from inverseform.training.checkpoint import Place
from inverseform.training.optimiser import OptimiserParams, build, learning_rate

Batch = TypeVar("Batch")
History = list[dict[str, float]]
"""Rows of a training curve: the step, and each term's mean since the row before."""
# By time, not by steps: what an interruption costs is the same for a fast network and a slow one.
EVERY = 20.0
"""Seconds between two checkpoints."""
ROWS = 100
"""How many rows a training curve has at least, and less than twice as many; a shorter training has one a step."""


class Step(NamedTuple):
    """What a step of training did."""

    step: int
    """Its number, from 1."""
    terms: dict[str, float]
    """Every term of the loss, and the total."""
    history: History
    """The curve until here."""


def train(
    model: nn.Module,
    batches: Callable[[int], Batch],
    loss: Callable[[nn.Module, Batch], dict[str, Tensor]],
    params: OptimiserParams,
    *,
    place: Place,
    keep: bool = False,
) -> Iterator[Step]:
    """Train a model, step by step; the caller watches.

    Goes on from a checkpoint of the same run if there is one. On SIGTERM and SIGINT it saves one and leaves as the
    signal asks.

    Args:
        model: Changed in place.
        batches: The batch of a step, which must depend on the step's number alone.
        loss: The terms for a model and a batch, each of shape (); `total` is minimised.
        params: Optimiser, schedule, number of steps.
        place: Where checkpoints are kept, and the fingerprint of the run.
        keep: Leave a checkpoint of the last step too, for a caller that may yet refuse what came out.

    Raises:
        InputError: A term, or the gradient, is not finite.
    """
    optimiser = build(params, model.parameters())
    start, before = checkpoint.resume(place, model, optimiser)
    curve = Curve(every=_every(params.steps), **before)
    saved = time.monotonic()
    with _Interrupts() as interrupts:
        for step in range(start, params.steps):
            # Everything that is drawn in a step depends on its number, so that a resumed run draws the same.
            torch.manual_seed(params.seed * 1_000_003 + step)
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(params, step)
            terms = loss(model.train(), batches(step))
            figures = {name: term.item() for name, term in terms.items()}
            # Before the weights are changed, so that the last checkpoint is of a network that still works.
            _check_finite({f"loss term {name}": value for name, value in figures.items()}, step)
            _descend(model, optimiser, terms["total"], step)
            curve.add(step + 1, figures)
            last = keep and step + 1 == params.steps
            if interrupts.signal or last or time.monotonic() - saved > EVERY:
                checkpoint.save(place, model, optimiser, step=step + 1, curve=curve.state())
                saved = time.monotonic()
                interrupts.leave()
            yield Step(step + 1, figures, curve.rows)
    # A run that ended after its last step still owes its caller the curve.
    if start >= params.steps:
        yield Step(start, {}, curve.rows)


def ends_a_row(step: int, steps: int) -> bool:
    """Whether a row of the curve ends with a step, counted from 0: when to ask for what is too dear for each step."""
    return (step + 1) % _every(steps) == 0


class Curve:
    """Means of the terms over every so many steps; of those that only some steps have, over these."""

    def __init__(self, *, every: int, rows: History | None = None, sums: dict[str, list[float]] | None = None) -> None:
        self.every = every
        self.rows: History = rows or []
        self.sums: dict[str, list[float]] = sums or {}
        """The total of each term since the last row, and over how many steps."""

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Count a step, by its number from 1; ends a row when it is time."""
        for name, value in figures.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + value, count + 1]
        if step % self.every == 0:
            self.rows.append({"step": step, **{name: total / count for name, (total, count) in self.sums.items()}})
            self.sums = {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it; JSON gives every float back to the last bit."""
        return {"rows": self.rows, "sums": self.sums}


def _every(steps: int) -> int:
    return max(1, steps // ROWS)


def _descend(model: nn.Module, optimiser: torch.optim.Optimizer, total: Tensor, step: int) -> None:
    optimiser.zero_grad(set_to_none=True)
    total.backward()
    # A finite loss can have a gradient that is not; after the last step no loss would show what it did.
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    _check_finite({"norm of the gradient": nn.utils.get_total_norm(gradients).item()}, step)
    optimiser.step()


def _check_finite(figures: dict[str, float], step: int) -> None:
    for name, value in figures.items():
        if not abs(value) < float("inf"):
            raise InputError(
                f"the {name} is {value} at step {step + 1}, and must be finite; lower the learning rate, or look at "
                f"the samples of that batch"
            )


class _Interrupts:
    """Remembers SIGTERM and SIGINT while a step is under way, so that a checkpoint is of a whole step."""

    def __enter__(self) -> "_Interrupts":
        self.signal: int | None = None
        self.before = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if exception[0] is None:
            # It came when the last step was done already.
            self.leave()

    def leave(self) -> None:
        """Do now what the signal asked for."""
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal:
            # How a shell tells of a death by signal.
            raise SystemExit(128 + self.signal)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
