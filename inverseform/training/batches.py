"""Which process loads which samples of a step, and when: in the loop, or ahead of it in processes of their own.

The samples of all steps are one endless stream; a step's batch is the next `batch` of it. It is divided into
`accumulate` micro-batches, and each of these among the processes: what a loss divides by, such as the occupied tiles of
a micro-batch, is then the same with any number of processes.
"""

import signal
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from inverseform.settings import InputError
from inverseform.training.launch import Machine
from inverseform.training.optimiser import OptimiserParams

Batch = TypeVar("Batch")


class Part(NamedTuple):
    """Samples that are loaded together: a micro-batch."""

    step: int
    """Of the training, from 0."""
    first: int
    """Place of its first sample in the batch of the step, from 0."""
    size: int
    """How many samples."""
    start: int
    """Place of its first sample in the stream of all steps, from 0."""


class Division(NamedTuple):
    """How the batch of a step is divided."""

    batch: int
    accumulate: int
    processes: int

    @classmethod
    def of(cls, params: OptimiserParams, *, processes: int) -> "Division":
        """The division that settings ask for.

        Raises:
            InputError: The batch cannot be divided so.
        """
        if params.batch % (params.accumulate * processes):
            raise InputError(
                f"optimiser.batch is {params.batch} and divided by accumulate {params.accumulate} and by {processes} "
                f"process(es): it must be a multiple of {params.accumulate * processes}; change one of them"
            )
        return cls(params.batch, params.accumulate, processes)

    def part(self, step: int, micro: int, *, rank: int) -> Part:
        """What a process loads for a micro-batch of a step, all counted from 0."""
        count = self.batch // (self.processes * self.accumulate)
        first = (micro * self.processes + rank) * count
        return Part(step, first, count, step * self.batch + first)


def positions(part: Part) -> str:
    """A part in words: the places of its samples in the stream of all steps."""
    return f"samples {part.start} to {part.start + part.size - 1} of the stream of training samples"


def load(batches: Callable[[Part], Batch], division: Division, steps: range, *, machine: Machine) -> Iterator[Batch]:
    """The micro-batches of this process, step by step.

    Args:
        batches: Makes one; it must depend on the part alone and, where workers are forked anew, can be pickled.
        division: Of each step's batch.
        steps: Which steps, counted from 0.
        machine: This process.

    Raises:
        InputError: A sample cannot be read, whichever process found it out.
    """
    # What is given for an index is a whole batch: who loads it, and when, changes nothing in it.
    loader = DataLoader(
        _Stream(batches, division, machine.rank),
        batch_size=None,
        sampler=range(steps.start * division.accumulate, steps.stop * division.accumulate),
        num_workers=machine.params.workers,
        collate_fn=_as_it_is,
        pin_memory=machine.device.type == "cuda",
        worker_init_fn=_undisturbed,
        # Without one of its own it would draw from the generator of the steps.
        generator=torch.Generator(),
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Stream(Dataset):
    """Micro-batches by their number; a number's batch may be an error, to be raised in the process that trains."""

    def __init__(self, batches: Callable[[Part], Any], division: Division, rank: int) -> None:
        self.batches, self.division, self.rank = batches, division, rank

    def __getitem__(self, index: int) -> Any:  # noqa: ANN401 (whatever the batches are)
        step, micro = divmod(index, self.division.accumulate)
        try:
            return self.batches(self.division.part(step, micro, rank=self.rank))
        except (InputError, OSError) as error:
            # Raised here it would come out wrapped into the traceback of a worker.
            return error


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401
    return batch


def _undisturbed(worker: int) -> None:
    """Leave signals to the process that trains: it still wants the batches that are under way, and ends its workers."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
