"""What is said of a step whose loss or gradient is not finite: which term it was, and which samples it came from.

It is looked for once the training is over anyway, and may cost a step or two.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inverseform.settings import InputError
from inverseform.training.batches import Division, Part
from inverseform.training.descent import Descent, Gradient


def check_finite(
    descent: Descent, gradient: Gradient, step: int, *, division: Division, describe: Callable[[Part], str]
) -> None:
    """Refuse what would spoil the weights; on all processes alike.

    In half precision a gradient that overflows is skipped, as long as its scale can still be lowered.

    Args:
        descent: What the gradient is of.
        gradient: Of the step.
        step: Its number, from 0.
        division: Which samples were where.
        describe: Says what a part's samples are.

    Raises:
        InputError: A term, or the gradient, is not finite.
    """
    if gradient.is_finite:
        return
    # All that any process knows: (processes, micro-batches, terms).
    terms = descent.machine.gather(gradient.terms)
    if not terms.isfinite().all():
        name, value, part = _first(terms, gradient.names, step, division)
        what = f"the loss term {name} is {value} at step {step + 1}"
    elif _skipped(descent):
        return
    else:
        norms = descent.machine.gather(_norms(descent, gradient, step))
        what = f"the norm of the gradient is {gradient.length} at step {step + 1}"
        if norms.isfinite().all():
            raise InputError(
                f"{what}, and must be finite; computed anew each term's is, so that something in the step is left to "
                f"chance; lower the learning rate, or set machine.precision to 32-true"
            )
        name, value, part = _first(norms, gradient.names, step, division)
        what += f", that of the loss term {name} {value}"
    raise InputError(
        f"{what}, and must be finite; its batch was {describe(part)}; look at these samples, or lower the learning "
        f"rate and begin anew, without the checkpoint that this run left"
    )


def _first(figures: Tensor, names: list[str], step: int, division: Division) -> tuple[str, float, Part]:
    """Name and value of a figure that is not finite, and the samples it is of."""
    # The total is not finite if any of its terms is not, and says the least.
    order = sorted(range(len(names)), key=lambda index: names[index] == "total")
    places = (~figures.isfinite()).nonzero().tolist()
    rank, micro, index = min(places, key=lambda place: order.index(place[2]))
    return names[index], figures[rank, micro, index].item(), division.part(step, micro, rank=rank)


def _skipped(descent: Descent) -> bool:
    """Whether the gradient overflowed for its scale alone, so that the optimiser will skip it."""
    scaler = descent.machine.scaler
    # Below 1 the scale makes numbers smaller than they are: what overflows now is no matter of half precision.
    return scaler is not None and scaler.get_scale() >= 1


def _norms(descent: Descent, gradient: Gradient, step: int) -> Tensor:
    """Norm of the gradient of each term of each micro-batch on this process, computed anew: (micro-batches, terms)."""
    parameters = [parameter for parameter in descent.model.parameters() if parameter.requires_grad]
    descent.seed(step)
    return torch.stack([_norms_of(descent, batch, parameters) for batch in gradient.batches])


def _norms_of(descent: Descent, batch: Any, parameters: list[torch.nn.Parameter]) -> Tensor:  # noqa: ANN401
    fabric = descent.machine.fabric
    with fabric.autocast():
        terms = descent.loss(descent.model.train(), fabric.to_device(batch))
    norms = []
    for term in terms.values():
        found = term.new_zeros(())
        if term.requires_grad:
            gradients = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            found = torch.nn.utils.get_total_norm([each for each in gradients if each is not None])
        norms.append(found.double())
    return torch.stack(norms)
