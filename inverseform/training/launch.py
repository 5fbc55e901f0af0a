"""The processes and the device of a training: this process alone, or those that torchrun started.

`torchrun --nproc-per-node 4 -m components.train_segmentation ...` trains on four devices of a machine; one process of
them, the first, writes files. What they share goes through tensors: nothing is pickled between them.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from pydantic import Field
from torch import Tensor, nn

from inverseform.settings import InputError, Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Model = TypeVar("Model", bound=nn.Module)


class MachineParams(Settings):
    """How a training uses its machine."""

    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    """Of the network: single, or bfloat16 or half by autocast; weights, losses and averages stay single. Half needs its
    loss scaled, and a step whose gradient overflows is skipped."""
    channels_last: bool
    """Whether the channels of a pixel lie side by side in memory, which GPUs' convolutions in mixed precision want."""
    compile: bool
    """Whether the network is compiled by torch.compile: minutes at the start, faster steps."""
    workers: int = Field(ge=0)
    """Processes that load batches ahead; 0 loads them in the loop. They change no batch."""


PLAIN = MachineParams(precision="32-true", channels_last=False, compile=False, workers=0)
"""Single precision, and nothing that changes what is computed."""


class Machine(NamedTuple):
    """A process of a training, and what it needs to agree with the others."""

    params: MachineParams
    fabric: "Fabric"

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.fabric.world_size

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reads and writes files and tells people."""
        return self.rank == 0

    @property
    def group(self) -> dist.ProcessGroup | None:
        """All processes; None where there is one."""
        return dist.group.WORLD if self.processes > 1 else None

    def network(self, model: nn.Module) -> nn.Module:
        """A model as it is called in training: laid out, compiled, in mixed precision, its gradients averaged."""
        return self.fabric.setup_module(torch.compile(model) if self.params.compile else model)  # pyright: ignore

    def place(self, model: Model) -> Model:
        """A model on the device, in the layout of the settings; changed in place, and to be used as it comes back."""
        # There is no synchronised batch norm for CPUs.
        if self.processes > 1 and self.device.type == "cuda":
            model = synchronised(model)
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if self.params.channels_last else model  # pyright: ignore

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, on the device."""
        values = values.to(self.device)
        if self.processes > 1:
            dist.all_reduce(values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over all processes, on the device."""
        return self.sum(values) / self.processes if self.processes > 1 else values

    def gather(self, values: Tensor) -> Tensor:
        """The values of all processes, stacked by their number."""
        if self.processes == 1:
            return values[None]
        found = [torch.empty_like(values) for _ in range(self.processes)]
        dist.all_gather(found, values)
        return torch.stack(found)

    def share(self, values: Tensor) -> None:
        """Give all processes the values of the first, in place."""
        if self.processes > 1:
            dist.broadcast(values, src=0)

    def wait(self) -> None:
        """Wait for all processes to come here."""
        if self.processes > 1:
            dist.barrier()

    def unscale(self, optimiser: torch.optim.Optimizer) -> None:
        """Take the scale of half precision off the gradients; nothing in other precisions."""
        self.fabric.strategy.precision.unscale_gradients(optimiser)

    @property
    def scaler(self) -> "torch.amp.GradScaler | None":
        """What scales the loss in half precision."""
        return getattr(self.fabric.strategy.precision, "scaler", None)


def launch(params: MachineParams, *, unused_parameters: bool = False) -> Machine:
    """Join the processes that torchrun started, or be the only one; on CUDA where there is some, else on the CPU.

    Args:
        params: Settings.
        unused_parameters: Whether a step may leave some parameters without a gradient, for which several processes
            must look then.

    Raises:
        InputError: lightning-fabric is not installed, or there are more processes than GPUs.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    here, nodes = _processes()
    if device == "cuda" and here > torch.cuda.device_count():
        raise InputError(
            f"torchrun started {here} processes here and there are {torch.cuda.device_count()} GPUs, one for each; "
            f"lower --nproc-per-node"
        )
    fabric_class, precision_class, strategy_class = _fabric()
    options: dict[str, Any] = {"strategy": "auto"}
    if here * nodes > 1:
        options["strategy"] = strategy_class(find_unused_parameters=unused_parameters)
    if params.precision == "32-true":
        options["precision"] = params.precision
    else:
        # As a plug-in, since by name half precision on a CPU would become bfloat16.
        options["plugins"] = [precision_class(precision=params.precision, device=device)]
    fabric = fabric_class(accelerator=device, devices=here, num_nodes=nodes, **options)
    fabric.launch()
    return Machine(params, fabric)


def synchronised(model: Model) -> Model:
    """A model whose batch norms see the batches of all processes; weights and their names stay."""
    # timm's, since torch's own drops the activation that some of timm's batch norms bring.
    from timm.layers.norm_act import convert_sync_batchnorm

    return convert_sync_batchnorm(model)  # pyright: ignore (the same class comes out, but for a batch norm itself)


def _processes() -> tuple[int, int]:
    """Processes on this machine, and machines; of torchrun's environment."""
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        return 1, 1
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here


def _fabric() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.plugins.precision import MixedPrecision
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise InputError(
            f"training needs lightning-fabric, which is not installed ({error}); type: pip install 'inverseform[train]'"
        ) from error
    return Fabric, MixedPrecision, DDPStrategy
