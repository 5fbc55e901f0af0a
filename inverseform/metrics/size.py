"""What a network costs: its parameters, and the multiply-adds of a forward pass, by the counter that torch has.

Counted are convolutions, products of matrices and attention. Additions, activations, norms, resizing and pooling are
not, as in most published figures. A multiply-add is one operation here and two in that counter; papers that say FLOPs
may mean either.
"""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(module: nn.Module) -> int:
    """Numbers that are trained, frozen ones among them; one that two layers share counts once. No buffers."""
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(module: nn.Module, *inputs: Tensor) -> int:
    """Of one forward pass in evaluation mode; the module is left in the mode that it was in.

    On the meta device, module and inputs, it costs neither time nor memory:

    >>> with torch.device("meta"):
    ...     multiply_adds(nn.Conv2d(3, 8, 3, padding=1), torch.empty(1, 3, 10, 10))
    21600
    """
    modes = {part: part.training for part in module.modules()}
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            module.eval()(*inputs)
    finally:
        for part, training in modes.items():
            part.training = training
    return counter.get_total_flops() // 2
