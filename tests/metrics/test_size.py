import pytest
import torch
from torch import nn

from inverseform.metrics.size import multiply_adds, parameters


def test_a_convolution_costs_its_kernel_at_each_output():
    layer = nn.Conv2d(3, 8, (5, 3), stride=2, padding=1, bias=False)
    rows, columns = layer(torch.zeros(1, 3, 21, 30)).shape[-2:]
    assert parameters(layer) == 3 * 8 * 15
    assert multiply_adds(layer, torch.zeros(1, 3, 21, 30)) == rows * columns * 3 * 8 * 15
    assert multiply_adds(layer, torch.zeros(4, 3, 21, 30)) == 4 * rows * columns * 3 * 8 * 15


def test_a_network_of_several_inputs_costs_the_sum_of_its_layers():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Linear(10, 7), nn.Linear(20, 7)

        def forward(self, one, other):
            return (self.one(one) + self.other(other)).relu()

    assert multiply_adds(Pair(), torch.zeros(3, 10), torch.zeros(3, 20)) == 3 * 7 * (10 + 20)
    assert parameters(Pair()) == 7 * 11 + 7 * 21


def test_weights_that_are_shared_count_once_and_frozen_ones_count():
    one, other = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    other.weight = one.weight
    one.weight.requires_grad_(False)
    assert parameters(nn.Sequential(one, other, nn.BatchNorm1d(4, affine=False))) == 16


def test_parts_are_left_in_the_mode_that_they_were_in_and_statistics_as_they_were():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()).train()
    network[0].eval()
    before = network[1].running_mean.clone()
    assert multiply_adds(network, torch.randn(1, 3, 5, 5)) == 25 * 12
    assert [part.training for part in network] == [False, True, True]
    assert torch.equal(network[1].running_mean, before)


def test_that_holds_if_the_input_does_not_fit():
    layer = nn.Conv2d(3, 8, 3).train()
    with pytest.raises(RuntimeError, match="channels"):
        multiply_adds(layer, torch.zeros(1, 4, 9, 9))
    assert layer.training


def test_on_the_meta_device_it_is_the_same_and_needs_no_memory():
    with torch.device("meta"):
        layer, images = nn.Conv2d(3, 64, 3, padding=1), torch.empty(1, 3, 100_000, 100_000)
    assert multiply_adds(layer, images) == 100_000**2 * 3 * 64 * 9
