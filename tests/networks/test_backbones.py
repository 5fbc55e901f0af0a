import sys

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from inverseform.networks.backbones import TimmHrnet, TimmHrnetParams, TimmResnet, TimmResnetParams, normalisation
from inverseform.settings import InputError

SMALL = "hrnet_w18_small_v2"
PARAMS = TimmHrnetParams(architecture=SMALL, pretrained=False)


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    return TimmHrnet(PARAMS).eval()


@pytest.fixture(scope="module")
def classifier():
    """The weights of a whole classifier, other ones than those of `backbone`."""
    torch.manual_seed(1)
    return timm.create_model(SMALL).state_dict()


@torch.no_grad()
def test_features_come_at_four_strides_finest_first(backbone):
    assert backbone.channels == (18, 36, 72, 144)
    features = backbone(torch.randn(2, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(2, 18, 16, 24), (2, 36, 8, 12), (2, 72, 4, 6), (2, 144, 2, 3)]


@pytest.mark.parametrize("pretrained", [True, "own.pth"])
def test_the_normalisation_is_that_of_the_weights(pretrained):
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(PARAMS.model_copy(update={"pretrained": pretrained})) == imagenet
    resnet = TimmResnetParams(architecture="resnet101", output_stride=16, pretrained=pretrained)
    assert normalisation(resnet) == imagenet
    assert normalisation(PARAMS) is None and normalisation(resnet.model_copy(update={"pretrained": False})) is None


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


@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_resnet_keeps_its_resolution_and_its_weights(output_stride):
    params = TimmResnetParams(architecture="resnet50", output_stride=output_stride, pretrained=False)
    with torch.device("meta"):
        backbone = TimmResnet(params).eval()
        features = backbone(torch.empty(1, 3, 64, 96))
        whole = timm.create_model("resnet50", num_classes=0)
    assert backbone.channels == (256, 2048) and backbone.stride == output_stride
    assert [tuple(f.shape) for f in features] == [
        (1, 256, 16, 24),
        (1, 2048, 64 // output_stride, 96 // output_stride),
    ]
    assert list(backbone.body.state_dict()) == list(whole.state_dict())


def test_another_architecture_or_output_stride_is_refused():
    with pytest.raises(ValidationError):
        TimmHrnetParams.model_validate({"architecture": "hrnet_w32", "pretrained": False})
    with pytest.raises(ValidationError):
        TimmResnetParams.model_validate({"architecture": "resnet101", "output_stride": 32, "pretrained": False})


def started_from(file):
    return TimmHrnet(TimmHrnetParams(architecture=SMALL, pretrained=str(file)))


def test_weights_of_a_classifier_are_taken_from_a_file_but_for_its_head(classifier, tmp_path):
    file = tmp_path / "imagenet.safetensors"
    save_file(classifier, file)
    taken = started_from(file).body.state_dict()
    assert "classifier.weight" in classifier and "classifier.weight" not in taken
    assert all(torch.equal(tensor, classifier[name]) for name, tensor in taken.items())


def test_a_missing_weight_and_a_foreign_one_are_refused_by_name(classifier, tmp_path):
    file = tmp_path / "imagenet.pth"
    torch.save({name: tensor for name, tensor in classifier.items() if name != "conv2.weight"}, file)
    with pytest.raises(InputError, match=r"pretrained is '.+imagenet\.pth': .+ do not fit .+conv2\.weight.+; name a"):
        started_from(file)
    torch.save({**classifier, "stranger": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="stranger"):
        started_from(file)


def test_a_file_that_is_not_there_or_holds_something_else_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"network\.backbone\.pretrained: .*absent\.pth"):
        started_from(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match=r"network\.backbone\.pretrained: .*text\.pth"):
        started_from(tmp_path / "text.pth")


def test_without_timm_it_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"hrnet_w18_small_v2 and timm is not .+ pip install 'inverseform\[train\]'"):
        TimmHrnet(PARAMS)
