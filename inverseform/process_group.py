"""Means over a batch that is dealt out to several processes, each of which sees its share alone.

Data-parallel training averages gradients over the processes, and the mean of local means is not the mean of the batch
where the processes have different numbers of known pixels, or of tiles. Told of the group, a loss divides by what all
processes have together: then the mean of the local losses is the loss of the whole batch, and so with the gradients.
"""

from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from inverseform.settings import InputError

# Some builds of torch, as those for small boards, have no process groups.
if TYPE_CHECKING or dist.is_available():
    from torch.distributed import ProcessGroup
else:
    ProcessGroup = Any


def summed(amounts: Float[Tensor, "*shape"], group: ProcessGroup | None) -> Float[Tensor, "*shape"]:
    """Amounts summed over the processes of a group, which must all ask; without a gradient. As they are without one.

    Neither the host nor the device waits for more than the sum itself.
    """
    if group is None:
        return amounts
    total = amounts.detach().clone()
    dist.all_reduce(total, group=group)
    return total


def ratio(
    total: Float[Tensor, "*shape"],
    amount: Float[Tensor, "*shape"],
    group: ProcessGroup | None,
    *,
    least: float = 1.0,
) -> Float[Tensor, "*shape"]:
    """This process's part of sum(total) / sum(amount) over a group: the mean of the parts is the whole.

    Args:
        total: Sums over this process's share of the batch; 0 where it has nothing.
        amount: What they are to be divided by: numbers, or sums of weights, of this share.
        group: The processes; none stands for this one alone.
        least: Taken in place of a sum of amounts that is smaller, as is that of nothing at all.
    """
    whole = summed(amount, group).clamp(min=least)
    # The mean over the processes divides by their number, which is taken back here.
    return total / whole if group is None else total * dist.get_world_size(group) / whole


class Held:
    """A process group as a module keeps it: a copy of the module asks the same processes.

    Raises:
        InputError: This process is not of the group.
    """

    def __init__(self, group: ProcessGroup | None) -> None:
        if group is not None and dist.get_rank(group) < 0:
            raise InputError(
                f"group is one that process {dist.get_rank()} of {dist.get_world_size()} is not of; give one that it "
                f"is of, or none"
            )
        self.group = group

    def __deepcopy__(self, memo: dict[int, Any]) -> "Held":
        return self
