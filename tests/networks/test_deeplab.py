import pytest
import torch
import torch.nn.functional as F

from inverseform.networks.deeplab import (
    RATES,
    DeepLabHead,
    DeepLabNeck,
    DeepLabParams,
    Pyramid,
    build_deeplab,
    separable,
)
from inverseform.networks.heads import HrnetV2Head
from inverseform.networks.segmenter import EncoderDecoder
from tests.networks.tiny import TinyResnet, check_bare, check_exported, multiply_adds, parameters, settled, untrained

HEAD = {"boundary_head": True, "boundary_feedback": False}


def params(architecture, output_stride):
    backbone = {"architecture": architecture, "output_stride": output_stride, "pretrained": False}
    return DeepLabParams.model_validate({"name": "deeplab", "backbone": backbone, **HEAD})


def tiny(*, feedback=False, boundary=True):
    torch.manual_seed(0)
    backbone = TinyResnet()
    neck = DeepLabNeck(backbone.channels, rates=RATES[8])
    boundary_head = HrnetV2Head(neck.channels, outputs=1) if boundary else None
    head = DeepLabHead(304 + feedback, outputs=3)
    return EncoderDecoder(backbone, head, boundary_head, neck=neck, boundary_feedback=feedback)


@pytest.fixture(scope="module")
def network():
    return settled(tiny())


def test_it_is_as_large_as_the_published_one():
    with torch.device("meta"):
        network = build_deeplab(params("resnet101", 16), num_classes=21).without_boundary_head()
    # 45.7 M is what segmentation-models-pytorch has, whose second layer of the decoder is in the pyramid.
    assert round(parameters(network) / 1e6, 1) == 45.7
    # Of it ResNet-101 without its classifier, as torchvision counts it.
    assert parameters(network.backbone) == 44_549_160 - 2048 * 1000 - 1000


def test_the_layers_cost_what_their_sizes_say():
    rows, columns = 16, 24
    within, across = 9, 256
    deep = 2048 * across + 3 * 2048 * (within + across) + 5 * 256 * across
    fine = 256 * 48 + 304 * (within + across) + 256 * (within + across) + 256 * 21
    expected = deep * rows * columns // 16 + fine * rows * columns + 2048 * across
    with torch.device("meta"):
        network = build_deeplab(params("resnet50", 16), num_classes=21).without_boundary_head().eval()
    backbone = multiply_adds(network.backbone, 4 * rows, 4 * columns)
    assert multiply_adds(network, 4 * rows, 4 * columns) - backbone == expected


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18])])
def test_the_pyramid_reaches_as_far_in_the_image_at_either_stride(output_stride, rates):
    with torch.device("meta"):
        network = build_deeplab(params("resnet50", output_stride), num_classes=2)
    layers = network.neck.pyramid.neighbourhoods
    assert [layer[0].dilation for layer in layers] == [(rate, rate) for rate in rates]
    assert network.backbone.stride == output_stride


@torch.no_grad()
def test_the_pyramid_sees_the_whole_image_at_each_place():
    torch.manual_seed(0)
    pyramid = Pyramid(3, rates=(1, 2, 3)).eval()
    features = torch.randn(2, 3, 9, 11)
    image = F.adaptive_avg_pool2d(features, 1)
    seen = [pyramid.place(features), *(layer(features) for layer in pyramid.neighbourhoods)]
    seen.append(F.interpolate(pyramid.image(image), size=(9, 11)))
    assert torch.allclose(pyramid(features), pyramid.mix(torch.cat(seen, dim=1)), atol=1e-5)


@torch.no_grad()
def test_a_separable_layer_mixes_places_within_a_channel_then_channels_at_a_place():
    torch.manual_seed(0)
    layer = separable(2, 4, rate=2).eval()
    maps = torch.zeros(1, 2, 9, 9)
    maps[0, 1, 4, 4] = 1
    alone = layer[0](maps)
    assert not alone[0, 0].any()
    assert sorted({int(step) for step in (alone[0, 1].nonzero() - 4).flatten()}) == [-2, 0, 2]
    assert layer(maps).shape == (1, 4, 9, 9)


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(50, 71), (64, 96), (1, 1)])
def test_logits_come_at_the_size_of_the_image(network, height, width):
    prediction = network(torch.randn(1, 3, height, width))
    assert prediction.segmentation.shape == (1, 3, height, width)
    assert prediction.boundary.shape == (1, 1, -(-height // 4), -(-width // 4))


def test_every_weight_is_trained():
    network = tiny(feedback=True).train()
    loss = network(torch.randn(2, 3, 64, 64)).segmentation.square().mean()
    assert untrained(network, loss) == []


def test_without_its_boundary_head_it_is_one_built_without(network):
    check_bare(network, tiny(boundary=False))


def test_the_exported_network_gives_what_torch_gives(network, tmp_path):
    check_exported(network, tmp_path / "deeplab.onnx")
