import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from inverseform.networks.same_padding import SamePadded, settle
from inverseform.networks.smp import SmpParams, build_smp


@pytest.mark.parametrize("kernel", [1, 3, 5, (7, 3)])
@pytest.mark.parametrize("stride", [1, 2, (2, 4)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_maps_are_padded_as_timm_does_where_their_sides_are_multiples_of_the_stride(kernel, stride, dilation):
    torch.manual_seed(0)
    theirs = nn.Sequential(Conv2dSame(4, 6, kernel, stride=stride, dilation=dilation, groups=2))
    maps = torch.randn(2, 4, 12, 20)
    expected, names = theirs(maps), list(theirs.state_dict())
    settle(theirs)
    assert isinstance(theirs[0], SamePadded) and list(theirs.state_dict()) == names
    assert torch.equal(theirs(maps), expected)


def test_an_encoder_from_tensorflow_has_no_padding_left_that_depends_on_the_size():
    params = SmpParams(
        name="smp", architecture="FPN", encoder="tu-tf_efficientnet_lite0", weights=None, boundary_head=False,
        boundary_feedback=False,
    )  # fmt: skip
    layers = list(build_smp(params, num_classes=3).modules())
    assert any(isinstance(layer, SamePadded) for layer in layers)
    assert not any(isinstance(layer, Conv2dSame) for layer in layers)
