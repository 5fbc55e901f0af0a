import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inverseform.networks.heads import HrnetV2Head, join
from inverseform.networks.hms import HmsParams, HmsSegmenter, Link, build_hms, chain
from inverseform.networks.ocr import OcrHead
from inverseform.settings import InputError
from tests.networks.tiny import TinyHrnet, check_bare, check_exported, multiply_adds, parameters, settled, untrained

W48 = {"architecture": "hrnet_w48", "pretrained": False}
HEAD = {"boundary_head": True, "boundary_feedback": False}
PARAMS = {
    "name": "hms", "backbone": W48, "auxiliary_weight": 0.4, "scale_weight": 0.05, "scales": (0.5, 1.0, 2.0), **HEAD,
}  # fmt: skip


def tiny(*, scales=(0.5, 1.0), feedback=False, boundary=True):
    torch.manual_seed(0)
    params = HmsParams.model_validate({**PARAMS, "scales": scales, "boundary_feedback": feedback})
    boundary_head = HrnetV2Head((16,), outputs=1) if boundary else None
    return HmsSegmenter(TinyHrnet(), OcrHead(16 + feedback, outputs=3), boundary_head, params=params)


@pytest.fixture(scope="module")
def network():
    return settled(tiny())


def at(network, scales):
    """The same weights at other scales."""
    other = copy.copy(network)
    other.scales = tuple(sorted(scales, reverse=True))
    return other


def test_it_is_as_large_as_the_published_one_and_scales_cost_their_squares():
    with torch.device("meta"):
        network = build_hms(HmsParams.model_validate(PARAMS), num_classes=19).without_boundary_head()
    assert round(parameters(network.attention_head) / 1e6, 2) == 1.77
    assert round((parameters(network) - parameters(network.attention_head)) / 1e6, 1) == 70.4
    # At one scale no attention is asked: it is OCR.
    one = multiply_adds(at(network, (1.0,)), 1024, 2048)
    assert round(one / 1e9, 1) == 1297.9
    # The published factor is that of what is done at each pixel. Beside it there is what is done for each region once a
    # scale, however large; and the attention heads of 0.5 and 1.0, which the factor leaves out.
    regions = 19 * (512 * 256 + 256 * 256 + 512 * 256)
    attention = 128 * 256 * (1 + 4) * (9 * 512 * 256 + 9 * 256 * 256 + 256)
    assert multiply_adds(network, 1024, 2048) == 5.25 * (one - regions) + 3 * regions + attention


@settings(deadline=None, max_examples=20)
@given(value=st.floats(-9, 9), seed=st.integers(0, 99))
def test_a_chain_is_a_mean_what_all_scales_agree_on_stays(value, seed):
    generator = torch.Generator().manual_seed(seed)
    links = [
        Link(scale, torch.full((1, 2, *size), value), torch.rand(1, 1, *size, generator=generator))
        for scale, size in ((0.25, (1, 2)), (0.5, (2, 4)), (1.0, (4, 8)), (2.0, (8, 16)))
    ]
    result = chain(links)
    assert result.shape == (1, 2, 4, 8)
    assert torch.allclose(result, torch.tensor(value), atol=1e-5)


def drawn(*scales):
    torch.manual_seed(0)
    sizes = [(int(4 * scale), int(8 * scale)) for scale in scales]
    return [
        Link(scale, torch.randn(2, 3, *size), torch.rand(2, 1, *size))
        for scale, size in zip(scales, sizes, strict=True)
    ]


def test_two_scales_are_the_published_sum():
    high, low = drawn(1.0, 0.5)
    up = [F.interpolate(x, scale_factor=2, mode="bilinear") for x in (low.attention * low.logits, low.attention)]
    assert torch.allclose(chain([low, high]), up[0] + (1 - up[1]) * high.logits)


def test_a_larger_scale_comes_down_to_scale_one():
    double, high = drawn(2.0, 1.0)
    down = F.interpolate(double.logits, scale_factor=0.5, mode="bilinear")
    assert torch.allclose(chain([high, double]), high.attention * high.logits + (1 - high.attention) * down)


def test_attention_decides_which_scale_is_believed():
    low, high, double = drawn(0.5, 1.0, 2.0)
    never, always = (lambda link, share=share: link._replace(attention=link.attention * 0 + share) for share in (0, 1))
    assert torch.equal(chain([never(low), always(high), double]), high.logits)
    lowest = F.interpolate(low.logits, size=(4, 8), mode="bilinear")
    assert torch.allclose(chain([always(low), high, double]), lowest)


def test_a_smaller_scale_without_attention_is_refused():
    low, high = drawn(0.5, 1.0)
    with pytest.raises(InputError, match=r"scale 0\.5 has no attention and is not the largest"):
        chain([high, low._replace(attention=None)])


@torch.no_grad()
def test_at_one_scale_it_is_its_trunk(network):
    images = torch.randn(1, 3, 64, 96)
    logits = network.segmentation_head(join(network.backbone(images))).final
    slow = F.interpolate(logits, scale_factor=4, mode="bilinear")
    assert torch.allclose(at(network, (1.0,))(images).segmentation, slow, atol=1e-6)


@torch.no_grad()
def test_at_two_scales_the_same_weights_see_the_image_twice(network):
    images = torch.randn(1, 3, 64, 128)
    half = F.interpolate(images, scale_factor=0.5, mode="bilinear")
    high, low = (network.segmentation_head(join(network.backbone(image))) for image in (images, half))
    attention = network.attention_head(low.features)
    fused = chain([Link(1.0, high.final, None), Link(0.5, low.final, attention)])
    slow = F.interpolate(fused, scale_factor=4, mode="bilinear")
    assert torch.allclose(network(images).segmentation, slow, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("scales", [(0.5, 1.0, 2.0), (0.25,), (1.5, 0.75), (2.0, 1.0), (0.375, 1.0)])
def test_any_scales_give_logits_of_any_image_at_its_size(network, scales):
    for height, width in ((45, 70), (1, 1)):
        prediction = at(network, scales)(torch.randn(1, 3, height, width))
        assert prediction.segmentation.shape == (1, 3, height, width)
        assert prediction.auxiliary == prediction.boundary_at_scales == ()


def test_training_shows_the_coarse_segmentation_and_each_scale():
    prediction = tiny(scales=(2.0,)).train()(torch.randn(2, 3, 50, 71))
    assert [output.weight for output in prediction.auxiliary] == [0.4, 0.05, 0.05]
    shapes = [tuple(output.logits.shape) for output in prediction.auxiliary]
    assert shapes == [(2, 3, 13, 18), (2, 3, 13, 18), (2, 3, 7, 9)]
    assert prediction.boundary.shape == (2, 1, 13, 18)
    assert [tuple(boundary.shape) for boundary in prediction.boundary_at_scales] == [(2, 1, 7, 9)]


def test_every_weight_is_trained():
    network = tiny(feedback=True).train()
    prediction = network(torch.randn(2, 3, 64, 128))
    loss = prediction.segmentation.square().mean() + prediction.auxiliary[0].logits.square().mean()
    assert untrained(network, loss) == []


def test_without_its_boundary_head_it_is_one_built_without(network):
    check_bare(network, tiny(boundary=False))


def test_the_exported_network_gives_what_torch_gives(network, tmp_path):
    check_exported(network, tmp_path / "hms.onnx")


@pytest.mark.parametrize("scales", [(), (0.0,), (-1.0, 1.0), (0.3, 1.0), (1.0, 1.0), (float("nan"),)])
def test_scales_that_cannot_be_chained_are_refused(scales):
    with pytest.raises(ValidationError, match="multiples of 1/8"):
        HmsParams.model_validate({**PARAMS, "scales": scales})
