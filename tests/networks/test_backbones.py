import pytest
import torch
from pydantic import ValidationError

from inverseform.networks.backbones import TimmHrnet, TimmHrnetParams

PARAMS = TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)


@pytest.fixture(scope="module")
def backbone():
    return TimmHrnet(PARAMS).eval()


@torch.no_grad()
def test_features_come_at_four_strides_finest_first(backbone):
    assert backbone.channels == (18, 36, 72, 144)
    features = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(2, 18, 16, 24), (2, 36, 8, 12), (2, 72, 4, 6), (2, 144, 2, 3)]


@torch.no_grad()
def test_its_stride_is_the_smallest_it_takes(backbone):
    assert backbone(torch.randn(1, 3, backbone.stride, backbone.stride))[-1].shape[-2:] == (1, 1)


def test_every_weight_takes_part(backbone):
    loss = sum(f.square().mean() for f in backbone(torch.randn(1, 3, 64, 64)))
    names, weights = zip(*backbone.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    assert [name for name, gradient in zip(names, gradients, strict=True) if gradient is None] == []


def test_the_classifier_of_timm_is_left_out(backbone):
    # HRNetV2-W18-Small-v2 without its ImageNet head.
    assert sum(p.numel() for p in backbone.parameters()) < 4_000_000
    assert not [name for name in backbone.state_dict() if "classifier" in name or "incre" in name]


def test_timms_wider_namesake_is_not_taken():
    with pytest.raises(ValidationError):
        TimmHrnetParams.model_validate({"architecture": "hrnet_w18", "pretrained": False})
