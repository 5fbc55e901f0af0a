"""Backbones of a few convolutions, where the size of a network is of no matter."""

import torch
import torch.nn.functional as F
from torch import nn

from inverseform.networks.backbones import TimmHrnet, TimmResnet


class TinyHrnet(TimmHrnet):
    """Features at strides 4, 8, 16 and 32."""

    def __init__(self):
        nn.Module.__init__(self)
        self.channels = (4, 4, 4, 4)
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 4, 3, padding=1) for _ in self.channels)

    def forward(self, images):
        return [conv(F.avg_pool2d(images, 4 << i)) for i, conv in enumerate(self.convolutions)]


class TinyResnet(TimmResnet):
    """Features at strides 4 and 8."""

    def __init__(self):
        nn.Module.__init__(self)
        self.channels, self.stride = (4, 6), 8
        self.convolutions = nn.ModuleList(nn.Conv2d(3, count, 3, padding=1) for count in self.channels)

    def forward(self, images):
        return [conv(F.avg_pool2d(images, 4 << i)) for i, conv in enumerate(self.convolutions)]


def settled(network, *, size=(64, 128)):
    """In evaluation mode, with statistics of its own features, as after training."""
    with torch.no_grad():
        network.train()(torch.randn(2, 3, *size))
    return network.eval()


def multiply_adds(network, height, width):
    """Of one image, on the meta device, where it costs neither time nor memory; a counter of torch counts two each."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        network.eval()(torch.empty(1, 3, height, width))
    return counter.get_total_flops() // 2


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())
