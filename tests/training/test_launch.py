import pytest
import torch
from torch import nn

from inverseform.settings import InputError
from inverseform.training import launch as launch_module
from inverseform.training.launch import PLAIN, launch, synchronised
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


def test_synchronised_batch_norms_keep_names_weights_and_activations():
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), BatchNormAct2d(4)).eval()
    images = torch.randn(2, 3, 8, 8)
    before, state = model(images), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = synchronised(model)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in found.modules()) == 2
    assert list(found.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state_dict().items())
    # timm's applies its activation there too, which a plain conversion would lose.
    assert torch.allclose(found(images), before) and (before >= 0).all()
