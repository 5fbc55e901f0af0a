import pytest
import torch

from inverseform.settings import InputError
from inverseform.training import launch as launch_module
from inverseform.training.launch import PLAIN, launch
from tests.training.toy import plain_network


def test_a_process_of_its_own_is_the_first_and_only_one():
    machine = launch(PLAIN)
    values = torch.tensor([1.0, 2.0])
    assert (machine.rank, machine.processes, machine.is_first, machine.group) == (0, 1, True, None)
    assert torch.equal(machine.sum(values), values) and torch.equal(machine.mean(values), values)
    assert torch.equal(machine.gather(values), values[None])
    machine.share(values)
    machine.wait()


@pytest.mark.parametrize(("precision", "inside"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16),
                                                   ("16-mixed", torch.float16)])  # fmt: skip
def test_precision_is_that_of_the_network_inside_and_single_outside(precision, inside):
    machine = launch(PLAIN.model_copy(update={"precision": precision}))
    model, seen = plain_network(), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    answer = machine.network(machine.place(model))(torch.randn(2, 6))
    assert seen == [inside] and answer.dtype == torch.float32
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert (machine.scaler is not None) == (precision == "16-mixed")


def test_the_layout_is_that_of_the_settings():
    model = torch.nn.Conv2d(3, 8, 3)
    machine = launch(PLAIN.model_copy(update={"channels_last": True}))
    assert machine.place(model).weight.is_contiguous(memory_format=torch.channels_last)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(launch_module, "_processes", lambda: (4, 1))
    with pytest.raises(InputError, match=r"4 processes here and there are 1 GPUs.*lower --nproc-per-node"):
        launch(PLAIN)
