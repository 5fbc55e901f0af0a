"""Backbones of a few convolutions, where the size of a network is of no matter."""

import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

from inverseform.export import to_onnx
from inverseform.metrics import size as network_size
from inverseform.metrics.size import parameters as parameters
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
    """Of one image, on the meta device, where it costs neither time nor memory."""
    with torch.device("meta"):
        return network_size.multiply_adds(network, torch.empty(1, 3, height, width))


def untrained(network, loss):
    """Names of the weights that a loss does not reach."""
    names, weights = zip(*network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]


@torch.no_grad()
def check_bare(network, built_without):
    """Without its boundary head a network says the same, and is one that was built without."""
    bare, images = network.without_boundary_head(), torch.randn(2, 3, 45, 70)
    assert torch.equal(bare(images).segmentation, network(images).segmentation)
    assert bare(images).boundary is None
    assert list(bare.state_dict()) == list(built_without.state_dict())


@torch.no_grad()
def check_exported(network, path):
    """The file of a network gives what torch gives, for several sizes and batches."""
    to_onnx(network, path, opset=20, metadata={})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in ((1, 3, 96, 128), (2, 3, 45, 70)):
        images = torch.randn(size)
        [found] = session.run(None, {"image": images.numpy()})
        assert torch.allclose(torch.from_numpy(found), network(images).segmentation, rtol=0, atol=1e-4)
