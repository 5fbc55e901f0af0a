import os
import signal

import pytest
import torch

from inverseform.settings import InputError
from inverseform.training.batches import Division, Part, load, positions
from inverseform.training.launch import PLAIN, launch
from tests.training.toy import batches, with_


def machine(workers=0):
    return launch(PLAIN.model_copy(update={"workers": workers}))


@pytest.mark.parametrize(("accumulate", "processes"), [(1, 1), (3, 1), (1, 4), (3, 2)])
def test_the_parts_of_a_step_are_its_batch_in_order_whatever_the_number_of_processes(accumulate, processes):
    division = Division.of(with_(batch=12, accumulate=accumulate), processes=processes)
    for step in (0, 5):
        parts = [[division.part(step, m, rank=r) for r in range(processes)] for m in range(accumulate)]
        assert [part.start + i for row in parts for part in row for i in range(part.size)] == list(
            range(step * 12, (step + 1) * 12)
        )
        assert all(part.start - part.first == step * 12 and part.step == step for row in parts for part in row)


def test_a_batch_that_cannot_be_divided_is_refused_with_what_would_do():
    with pytest.raises(InputError, match=r"optimiser\.batch is 8 .*accumulate 3 and by 2 .* multiple of 6"):
        Division.of(with_(batch=8, accumulate=3), processes=2)


def test_a_part_in_words_names_its_samples():
    assert positions(Part(3, 4, 4, 28)) == "samples 28 to 31 of the stream of training samples"


def test_workers_change_no_batch_and_the_generator_of_the_steps_is_left_alone():
    division = Division.of(with_(batch=4, accumulate=2), processes=1)
    torch.manual_seed(7)
    expected, found = torch.rand(3), {}
    for workers in (0, 2):
        torch.manual_seed(7)
        found[workers] = list(load(batches, division, range(3, 9), machine=machine(workers)))
        assert torch.equal(torch.rand(3), expected)
    assert len(found[0]) == len(found[2]) == 12
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True))
    assert torch.equal(found[0][0], batches(Part(3, 0, 2, 12))) and torch.equal(
        found[0][-1], batches(Part(8, 2, 2, 34))
    )


def failing(part):
    if part.step == 2:
        raise InputError("shard 3: is damaged; delete it")
    return batches(part)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_sample_is_told_as_it_is_wherever_it_is_found(workers):
    stream = load(failing, Division(4, 1, 1), range(9), machine=machine(workers))
    next(stream), next(stream)
    with pytest.raises(InputError, match=r"^shard 3: is damaged; delete it$"):
        next(stream)


def signalled(part):
    # As a terminal does, whose interrupt goes to all processes of its group.
    if part.step == 1:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
    return batches(part)


def test_workers_outlive_a_signal_so_that_the_step_under_way_can_end():
    assert len(list(load(signalled, Division(4, 1, 1), range(4), machine=machine(1)))) == 4
