import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform import networks
from inverseform.networks import HrnetParams, normalise
from inverseform.networks.heads import join
from inverseform.networks.segmenter import cut, pad
from tests.networks.tiny import multiply_adds, parameters

BACKBONE = {"architecture": "hrnet_w18_small_v2", "pretrained": False}
PARAMS = HrnetParams.model_validate(
    {"name": "hrnet", "backbone": BACKBONE, "boundary_head": True, "boundary_feedback": False}
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = networks.build(PARAMS, num_classes=19)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 64))
    return network.eval()


PUBLISHED = [
    ("hrnet_w18_small_v2", 19, (1024, 2048), 3.94, 76.9, 0.074),
    ("hrnet_w18_small_v2", 40, (480, 640), 3.95, 11.4, 0.074),
    ("hrnet_w18", 40, (480, 640), 9.65, 21.7, 0.074),
    ("hrnet_w48", 19, (1024, 2048), 65.86, 747.5, 0.521),
    ("hrnet_w48", 40, (480, 640), 65.87, 109.8, 0.521),
]


@pytest.mark.parametrize(("architecture", "classes", "size", "millions", "billions", "boundary"), PUBLISHED)
def test_it_is_as_large_and_as_costly_as_the_published_one(architecture, classes, size, millions, billions, boundary):
    backbone = PARAMS.backbone.model_copy(update={"architecture": architecture})
    with torch.device("meta"):
        network = networks.build(PARAMS.model_copy(update={"backbone": backbone}), num_classes=classes)
    bare = network.without_boundary_head()
    assert round(parameters(bare) / 1e6, 2) == millions
    assert round(multiply_adds(bare, *size) / 1e9, 1) == billions
    assert round((parameters(network) - parameters(bare)) / 1e6, 3) == boundary


@pytest.mark.parametrize(("height", "width"), [(197, 233), (33, 41), (64, 96), (1, 1), (31, 65), (4, 130)])
@torch.no_grad()
def test_logits_come_at_the_size_of_the_image_whatever_that_is(network, height, width):
    prediction = network(torch.randn(1, 3, height, width))
    assert prediction.segmentation.shape == (1, 19, height, width)
    assert prediction.boundary.shape == (1, 1, -(-height // 4), -(-width // 4))


@torch.no_grad()
def test_where_nothing_is_padded_it_is_backbone_and_heads_alone(network):
    images = torch.randn(2, 3, 64, 96)
    features = join(network.backbone(images))
    slow = F.interpolate(network.segmentation_head(features), size=(64, 96), mode="bilinear", align_corners=False)
    prediction = network(images)
    assert torch.equal(prediction.segmentation, slow)
    assert torch.equal(prediction.boundary, network.boundary_head(features))


@settings(deadline=None, max_examples=8)
@given(height=st.integers(33, 64), width=st.integers(65, 96))
@torch.no_grad()
def test_an_image_of_odd_size_is_the_corner_of_one_with_zeros_beyond(network, height, width):
    image = torch.randn(1, 3, height, width)
    whole = torch.zeros(1, 3, 64, 96)
    whole[..., :height, :width] = image
    odd, even = network(image), network(whole)
    assert torch.equal(odd.segmentation, even.segmentation[..., :height, :width])
    rows, columns = odd.boundary.shape[-2:]
    assert torch.equal(odd.boundary, even.boundary[..., :rows, :columns])
    # The cells that are kept cover the image, and none of them lies in the padding alone.
    assert 4 * (rows - 1) < height <= 4 * rows and 4 * (columns - 1) < width <= 4 * columns


@torch.no_grad()
def test_without_its_boundary_head_it_segments_the_same_bit_for_bit(network):
    bare, images = network.without_boundary_head(), torch.randn(2, 3, 45, 70)
    prediction = bare(images)
    assert torch.equal(prediction.segmentation, network(images).segmentation)
    assert prediction.boundary is None


def test_nothing_is_left_of_the_boundary_head_and_the_rest_is_shared(network):
    before = list(network.state_dict())
    bare = network.without_boundary_head()
    assert not [name for name in bare.state_dict() if "boundary" in name]
    assert not [name for name, _ in bare.named_modules() if "boundary" in name]
    own = dict(network.named_parameters())
    assert all(parameter is own[name] for name, parameter in bare.named_parameters())
    assert list(network.state_dict()) == before and network.boundary_head is not None


def test_a_copy_without_its_head_goes_its_own_way(network):
    bare = copy.deepcopy(network.without_boundary_head())
    with torch.no_grad():
        bare.segmentation_head.classify.bias += 1
    assert not torch.equal(bare.segmentation_head.classify.bias, network.segmentation_head.classify.bias)
    assert bare.without_boundary_head().boundary_head is None


@pytest.fixture(scope="module")
def fed():
    """A network whose segmentation head is shown boundaries."""
    torch.manual_seed(0)
    network = networks.build(PARAMS.model_copy(update={"boundary_feedback": True}), num_classes=3)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 64))
    return network.eval()


@torch.no_grad()
def test_with_feedback_the_segmentation_head_is_shown_boundary_probabilities(fed):
    images = torch.randn(1, 3, 64, 96)
    features = join(fed.backbone(images))
    boundary = fed.boundary_head(features)
    shown = fed.segmentation_head(torch.cat([features, boundary.sigmoid()], dim=1))
    slow = F.interpolate(shown, size=(64, 96), mode="bilinear", align_corners=False)
    prediction = fed(images)
    assert torch.equal(prediction.segmentation, slow) and torch.equal(prediction.boundary, boundary)


@torch.no_grad()
def test_with_feedback_it_keeps_its_boundary_head_as_its_classes_need_it(fed):
    kept, images = fed.without_boundary_head(), torch.randn(1, 3, 33, 41)
    assert torch.equal(kept(images).segmentation, fed(images).segmentation)
    assert list(kept.state_dict()) == list(fed.state_dict())


@given(
    height=st.integers(1, 70), width=st.integers(1, 70), stride=st.sampled_from([8, 32, 64]),
    cell=st.sampled_from([1, 2, 4, 8]),
)  # fmt: skip
def test_what_is_cut_covers_the_image_and_no_cell_lies_in_the_padding_alone(height, width, stride, cell):
    images = torch.ones(1, 3, height, width)
    padded = pad(images, stride=stride)
    cells = F.max_pool2d(padded, cell)
    assert all(0 <= whole - side < stride for whole, side in zip(padded.shape[2:], (height, width), strict=True))
    assert not padded.shape[2] % stride and not padded.shape[3] % stride
    kept = cut(cells, padded=padded, images=images)
    assert (
        kept.all()
        and kept.sum() == cells.sum() == padded.unfold(2, cell, cell).unfold(3, cell, cell).amax((4, 5)).sum()
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 99), value=st.floats(0.05, 0.95))
def test_normalise_is_its_slow_twin(seed, value):
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    mean, std = (value, 0.4, 0.3), (0.2, value, 0.1)
    fast = normalise(images, mean=mean, std=std)
    for index in torch.cartesian_prod(*(torch.arange(n) for n in images.shape)).tolist():
        b, channel, row, column = index
        slow = (images[b, channel, row, column].item() / 255 - mean[channel]) / std[channel]
        assert fast[b, channel, row, column].item() == pytest.approx(slow, abs=1e-5)
