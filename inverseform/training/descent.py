"""One step of a training, on one process or several: the gradient of a batch, and the weights that follow from it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from inverseform import weights
from inverseform.training.average import WeightAverage
from inverseform.training.launch import Machine
from inverseform.training.optimiser import OptimiserParams, build, learning_rate

Batch = TypeVar("Batch")
Loss = Callable[[nn.Module, Any], dict[str, Tensor]]
"""From a network and a batch on its device to the terms of the loss, each of shape (); `total` is minimised."""


class Gradient(NamedTuple):
    """What a step knows before it changes the weights."""

    batches: list[Any]
    """Its micro-batches on this process."""
    names: list[str]
    """Of the terms."""
    terms: Tensor
    """(micro-batches, terms) on this process, in double precision."""
    means: dict[str, float]
    """Each term's mean over all processes and micro-batches."""
    norm: Tensor
    """Of the gradient, on the device."""
    length: float
    """The norm as a number."""
    flags: list[float]
    """The mean over all processes of what each was given to tell the others."""

    @property
    def is_finite(self) -> bool:
        """Whether all terms and the gradient are."""
        return all(abs(value) < float("inf") for value in (*self.means.values(), self.length))


class Descent:
    """A model, its optimiser, and the average of its weights.

    Args:
        model: Changed in place.
        loss: What is minimised.
        params: Settings.
        machine: This process.
    """

    def __init__(self, model: nn.Module, loss: Loss, params: OptimiserParams, machine: Machine) -> None:
        self.model, self.loss, self.params, self.machine = machine.place(model), loss, params, machine
        self.average = None if params.ema is None else WeightAverage(model, params.ema)
        self.optimiser = build(params, model.parameters())
        self.network = machine.network(model)
        self.stepper = machine.fabric.setup_optimizers(self.optimiser)

    @property
    def result(self) -> nn.Module:
        """The network that the training is for: the averaged one, or the model itself."""
        return self.model if self.average is None else self.average.model

    def seed(self, step: int) -> None:
        """Make everything that is drawn in a step depend on its number, so that a resumed run draws the same."""
        # Processes draw apart; the prime keeps their seeds apart from those of the steps nearby.
        torch.manual_seed(self.params.seed * 1_000_003 + step + self.machine.rank * 1_000_000_007)

    def gradient(self, step: int, batches: Iterator[Any], flags: Callable[[], list[float]]) -> Gradient:
        """The gradient of a step's batch, left in the parameters, unscaled and not yet clipped.

        Args:
            step: Its number, from 0.
            batches: Gives the micro-batches of this process.
            flags: What this process tells the others, asked for as late as can be.
        """
        fabric, count = self.machine.fabric, self.params.accumulate
        self.seed(step)
        self.optimiser.zero_grad(set_to_none=True)
        seen, names, rows = [], [], []
        for micro in range(count):
            seen.append(next(batches))
            # Gradients are averaged over the processes once, with the last micro-batch.
            with fabric.no_backward_sync(self.network, enabled=micro + 1 < count):  # pyright: ignore
                terms = self.loss(self.network.train(), fabric.to_device(seen[-1]))
                fabric.backward(terms["total"] if count == 1 else terms["total"] / count)
            names = list(terms)
            rows.append(torch.stack([term.detach().double() for term in terms.values()]))
        self.machine.unscale(self.optimiser)
        found = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm, table = nn.utils.get_total_norm(found).to(self.machine.device), torch.stack(rows)
        # All in one tensor: the host waits for the device once a step, and the processes for each other.
        told = torch.cat([table.mean(dim=0), norm[None].double(), table.new_tensor(flags())])
        values = self.machine.mean(told).tolist()
        means, length, heard = values[: len(names)], values[len(names)], values[len(names) + 1 :]
        return Gradient(seen, names, table, dict(zip(names, means, strict=True)), norm, length, heard)

    def descend(self, step: int, norm: Tensor) -> None:
        """Change the weights by the gradient that is there, and count them into the average."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.params, step)
        if self.params.clip is not None:
            nn.utils.clip_grads_with_norm_(self.model.parameters(), self.params.clip, norm)
        self.stepper.step()  # pyright: ignore
        if self.average is not None:
            self.average.update(self.model, step)

    def finish(self) -> None:
        """Put the averaged weights into the model, if there are any."""
        if self.average is not None:
            self.model.load_state_dict(self.average.model.state_dict())

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What a checkpoint keeps of it."""
        state = self.optimiser.state_dict()["state"]
        kept = {
            "model": self.model.state_dict(),
            "optimiser": {f"{i}.{key}": torch.as_tensor(v) for i, some in state.items() for key, v in some.items()},
        }
        return kept if self.average is None else {**kept, "average": self.average.model.state_dict()}

    def scale(self) -> dict[str, Any]:
        """What a checkpoint keeps of the scale of half precision: numbers."""
        return {} if self.machine.scaler is None else self.machine.scaler.state_dict()

    def restore(self, tensors: dict[str, dict[str, Tensor]], scale: dict[str, Any], *, source: str) -> None:
        """Take over what `tensors` and `scale` gave.

        Raises:
            InputError: Some of it does not fit the model.
        """
        weights.fill(self.model, tensors["model"], source=source)
        if self.average is not None:
            weights.fill(self.average.model, tensors["average"], source=source)
        parameters, state = list(self.model.parameters()), {}
        for name, tensor in tensors.get("optimiser", {}).items():
            index, _, key = name.partition(".")
            like = parameters[int(index)]
            # In the layout of its parameter, as it was before it was written: another one rounds otherwise.
            laid = (
                torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
                if tensor.dim() and like.shape == tensor.shape
                else tensor
            )
            state.setdefault(int(index), {})[key] = laid
        # Its groups are those of the settings: the learning rate is set anew at each step anyway.
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        if self.machine.scaler is not None:
            self.machine.scaler.load_state_dict(scale)
