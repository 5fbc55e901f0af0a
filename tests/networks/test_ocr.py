import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import nn

from inverseform.networks.heads import HrnetV2Head, join
from inverseform.networks.ocr import ObjectContext, OcrHead, OcrParams, OcrSegmenter, build_ocr, regions
from tests.networks.tiny import TinyHrnet, check_bare, check_exported, multiply_adds, parameters, settled, untrained

W48 = {"architecture": "hrnet_w48", "pretrained": False}
PARAMS = {"name": "ocr", "backbone": W48, "auxiliary_weight": 0.4, "boundary_head": True, "boundary_feedback": False}


def tiny(*, feedback=False, boundary=True):
    torch.manual_seed(0)
    head = OcrHead(16 + feedback, outputs=3)
    boundary_head = HrnetV2Head((16,), outputs=1) if boundary else None
    return OcrSegmenter(TinyHrnet(), head, boundary_head, auxiliary_weight=0.4, boundary_feedback=feedback)


@pytest.fixture(scope="module")
def network():
    return settled(tiny())


def test_it_is_as_large_and_as_costly_as_the_published_one():
    with torch.device("meta"):
        network = build_ocr(OcrParams.model_validate(PARAMS), num_classes=19)
    bare = network.without_boundary_head()
    assert round(parameters(bare) / 1e6, 1) == 70.4
    assert round(multiply_adds(bare, 1024, 2048) / 1e9, 1) == 1297.9
    assert round((parameters(network) - parameters(bare)) / 1e6, 3) == 0.521


@torch.no_grad()
def test_the_feature_of_a_region_is_the_mean_of_its_pixels():
    pixels = torch.randn(2, 5, 4, 6)
    labels = torch.randint(0, 3, (2, 4, 6))
    # Coarse logits without a doubt: a soft region is then a hard one.
    objects = regions(pixels, F.one_hot(labels, 3).movedim(3, 1) * 1000.0)
    assert objects.shape == (2, 5, 3, 1)
    for image in range(2):
        for klass in range(3):
            slow = pixels[image][:, labels[image] == klass].mean(dim=1)
            assert torch.allclose(objects[image, :, klass, 0], slow, atol=1e-5)


@torch.no_grad()
def test_attention_is_over_the_regions_at_each_pixel():
    torch.manual_seed(0)
    context = ObjectContext().eval()
    pixels, objects = torch.randn(2, 512, 2, 3), torch.randn(2, 512, 4, 1)
    query, key, value = context.query(pixels), context.key(objects)[..., 0], context.value(objects)[..., 0]
    slow = torch.empty_like(query)
    for image in range(2):
        for row in range(2):
            for column in range(3):
                likeness = torch.stack([query[image, :, row, column] @ key[image, :, k] / 16 for k in range(4)])
                slow[image, :, row, column] = value[image] @ likeness.softmax(dim=0)
    expected = context.mix(torch.cat([context.widen(slow), pixels], dim=1))
    assert torch.allclose(context(pixels, objects), expected, atol=1e-5)


def test_the_coarse_segmentation_is_shown_while_training_alone(network):
    images = torch.randn(2, 3, 50, 71)
    with torch.no_grad():
        assert network(images).auxiliary == ()
        [coarse] = tiny().train()(images).auxiliary
    assert coarse.weight == 0.4 and coarse.logits.shape == (2, 3, 13, 18)


def test_every_weight_is_trained():
    network = tiny(feedback=True).train()
    prediction = network(torch.randn(2, 3, 64, 64))
    loss = prediction.segmentation.square().mean() + prediction.auxiliary[0].logits.square().mean()
    assert untrained(network, loss) == []


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(50, 71), (64, 96), (1, 1)])
def test_logits_come_at_the_size_of_the_image(network, height, width):
    prediction = network(torch.randn(1, 3, height, width))
    assert prediction.segmentation.shape == (1, 3, height, width)
    assert prediction.boundary.shape == (1, 1, -(-height // 4), -(-width // 4))


def test_without_its_boundary_head_it_is_one_built_without(network):
    check_bare(network, tiny(boundary=False))


@torch.no_grad()
def test_with_feedback_the_classes_depend_on_the_boundaries():
    network, images = settled(tiny(feedback=True)), torch.randn(1, 3, 64, 64)
    before, features = network(images).segmentation, join(network.backbone(images))
    shown = torch.cat([features, network.boundary_head(features).sigmoid()], dim=1)
    slow = F.interpolate(network.segmentation_head(shown).final, scale_factor=4, mode="bilinear")
    assert torch.allclose(before, slow, atol=1e-5)
    nn.init.constant_(network.boundary_head.classify.bias, 9.0)
    assert not torch.allclose(network(images).segmentation, before)


def test_the_exported_network_gives_what_torch_gives(network, tmp_path):
    check_exported(network, tmp_path / "ocr.onnx")


def test_feedback_without_a_boundary_head_is_refused():
    with pytest.raises(ValidationError, match="boundary_feedback needs a boundary head"):
        OcrParams.model_validate({**PARAMS, "boundary_head": False, "boundary_feedback": True})
