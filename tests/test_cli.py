import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

import inverseform
from inverseform import inverse_net
from inverseform.cityscapes_labels import SCORED
from inverseform.cli import app
from inverseform.inference import OnnxSegmenter
from inverseform.manifest import Manifest
from inverseform.scores import InferenceParams
from tests.data.miniatures.cityscapes import LABEL_IDS
from tests.drawn import small_net
from tests.test_inference import onnx_file

COLOURS = ((10, 20, 30), (200, 0, 0), (0, 200, 90))


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A real ONNX network that scores each pixel by its closeness to the colour of each class, so masks are known."""
    colours = np.array(COLOURS, np.float64) / 255
    weights = numpy_helper.from_array((2 * colours)[..., None, None].astype(np.float32), "weights")
    bias = numpy_helper.from_array(-(colours**2).sum(1).astype(np.float32), "bias")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"])],
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [weights, bias],
    )
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    manifest = Manifest(
        classes=("night", "fire", "grass"), colours=COLOURS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0),
        ignore_index=255, params="a" * 64, inverse_net="", segmenter="b" * 64, licence="none",
    )  # fmt: skip
    helper.set_model_props(network, manifest.properties())
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(network, path)
    return path


@pytest.fixture
def classes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (13, 17), np.uint8)


def photo_of(classes: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(np.array(COLOURS, np.uint8)[classes]).save(path, **options)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refusal(*arguments) -> str:
    """What is said on the way out with status 2: one line."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_mask_holds_class_ids_in_the_colours_of_the_network(model, classes, tmp_path):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert run("predict", model, photo, "-o", tmp_path / "mask.png").exit_code == 0
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.asarray(mask), classes)
        assert np.array_equal(np.asarray(mask.convert("RGB")), np.array(COLOURS)[classes])
    assert names(tmp_path) == ["mask.png", "photo.png"]


def test_a_photo_is_turned_upright_first(model, classes, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: a viewer turns it a quarter to the right
    photo = photo_of(classes, tmp_path / "photo.png", exif=exif)
    assert run("predict", model, photo, "-o", tmp_path / "mask.png").exit_code == 0
    with Image.open(tmp_path / "mask.png") as mask:
        assert np.array_equal(np.asarray(mask), np.rot90(classes, -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK"])
def test_any_8_bit_photo_is_read(model, classes, tmp_path, mode):
    with Image.open(photo_of(classes, tmp_path / "photo.png")) as photo:
        photo.convert(mode).save(tmp_path / "photo.tif")
    assert run("predict", model, tmp_path / "photo.tif", "-o", tmp_path / "mask.png").exit_code == 0
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.size == (17, 13)


def test_several_photos_and_folders_go_into_a_folder(model, classes, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "masks").mkdir()
    photo_of(classes, tmp_path / "photos" / "one.png")
    photo_of(classes.T, tmp_path / "photos" / "two.BMP")
    (tmp_path / "photos" / "notes.txt").write_text("no photo")
    single = photo_of(classes[::-1], tmp_path / "three.png")
    result = run("predict", model, tmp_path / "photos", single, "-o", tmp_path / "masks")
    assert result.exit_code == 0
    assert names(tmp_path / "masks") == ["one.png", "three.png", "two.png"]
    assert result.stdout.split() == [str(tmp_path / "masks" / name) for name in ("one.png", "two.png", "three.png")]
    with Image.open(tmp_path / "masks" / "two.png") as mask:
        assert np.array_equal(np.asarray(mask), classes.T)


@pytest.fixture(scope="module")
def street(model, tmp_path_factory) -> Path:
    """The same network, which scores each pixel by its closeness to the colour of each class of Cityscapes."""
    network = onnx.load(model)
    colours = np.array([known.colour for known in SCORED], np.float64) / 255
    del network.graph.initializer[:], network.metadata_props[:]
    network.graph.initializer.extend(
        [
            numpy_helper.from_array((2 * colours)[..., None, None].astype(np.float32), "weights"),
            numpy_helper.from_array(-(colours**2).sum(1).astype(np.float32), "bias"),
        ]
    )
    network.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 19
    manifest = Manifest(
        classes=tuple(known.name for known in SCORED), colours=tuple(known.colour for known in SCORED),
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), ignore_index=255, params="a" * 64, inverse_net="",
        segmenter="b" * 64, licence="none",
    )  # fmt: skip
    helper.set_model_props(network, manifest.properties())
    path = tmp_path_factory.mktemp("street") / "model.onnx"
    onnx.save(network, path)
    return path


def street_photo(path: Path, classes: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array([known.colour for known in SCORED], np.uint8)[classes]).save(path)
    return path


def test_masks_for_the_server_of_cityscapes_are_grey_label_ids_under_its_names(street, tmp_path):
    classes = np.random.default_rng(0).integers(0, 19, (13, 17), np.uint8)
    for city in ("berlin", "bielefeld"):
        street_photo(tmp_path / "test" / city / f"{city}_000000_000019_leftImg8bit.png", classes)
    (tmp_path / "results").mkdir()
    cities = sorted((tmp_path / "test").iterdir())
    result = run("predict", street, *cities, "-o", tmp_path / "results", "--format", "cityscapes")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "results") == [f"{c}_000000_000019_labelIds.png" for c in ("berlin", "bielefeld")]
    with Image.open(tmp_path / "results" / "berlin_000000_000019_labelIds.png") as mask:
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), np.array(LABEL_IDS)[classes])


def test_what_the_server_would_not_take_is_refused(model, street, classes, tmp_path):
    named = street_photo(tmp_path / "berlin_000000_000019_leftImg8bit.png", classes)
    other = street_photo(tmp_path / "photo.png", classes)
    (tmp_path / "results").mkdir()
    to = ("-o", tmp_path / "results", "--format", "cityscapes")
    assert "photo.png: the server knows an image by" in refusal("predict", street, other, *to)
    assert "the network's classes are night, fire, grass" in refusal("predict", model, named, *to)
    assert "--overlay: the server takes every PNG" in refusal("predict", street, named, *to, "--overlay")
    single = ("-o", tmp_path / "mask.png", "--format", "cityscapes")
    assert "mkdir -p" in refusal("predict", street, named, *single)
    assert names(tmp_path / "results") == []


def test_an_overlay_is_half_photo_half_classes(model, tmp_path):
    Image.new("RGB", (4, 3), (210, 10, 0)).save(tmp_path / "photo.png")
    assert run("predict", model, tmp_path / "photo.png", "-o", tmp_path / "mask.png", "--overlay").exit_code == 0
    with Image.open(tmp_path / "mask.overlay.png") as overlay:
        assert overlay.getpixel((0, 0)) == (205, 5, 0)


EVERY_WAY = ("--window", 20, 24, "--overlap", 0.25, "--flip", "--scales", "0.75,1,1.5")


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as mask:
        return np.asarray(mask)


def test_windows_flips_and_scales_mean_what_they_mean_in_the_library(tmp_path):
    network = onnx_file(tmp_path / "network.onnx", side=5)
    image = np.random.default_rng(1).integers(0, 256, (41, 53, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    result = run("predict", network, tmp_path / "photo.png", "-o", tmp_path / "mask.png", *EVERY_WAY)
    assert result.exit_code == 0, result.output
    inference = InferenceParams(window=(20, 24), overlap=0.25, flip=True, scales=(0.75, 1.0, 1.5))
    expected = OnnxSegmenter(network)(np.moveaxis(image, 2, 0), inference=inference)
    assert np.array_equal(mask_of(tmp_path / "mask.png"), expected)
    plain = run("predict", network, tmp_path / "photo.png", "-o", tmp_path / "plain.png")
    assert plain.exit_code == 0 and np.array_equal(
        mask_of(tmp_path / "plain.png"), OnnxSegmenter(network)(np.moveaxis(image, 2, 0))
    )
    assert not np.array_equal(mask_of(tmp_path / "plain.png"), expected)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--window", 0, 64), "--window: 0 is wrong: input should be greater than or equal to 1"),
        (("--window", 64, -1), "--window: -1 is wrong"),
        (("--window", 64, 64, "--overlap", 1), "--overlap: 1.0 is wrong: input should be less than 1"),
        (("--window", 64, 64, "--overlap", -0.5), "--overlap: -0.5 is wrong"),
        (("--overlap", 0.5), "--overlap 0.5: windows overlap, and there are none"),
        (("--scales", "1,0"), "--scales: 0.0 is wrong: input should be greater than 0"),
        (("--scales", "75"), "--scales: 75.0 is wrong: input should be less than or equal to 8"),
        (("--scales", "1,1"), "a scale stands once"),
        (("--scales", "nan"), "--scales: nan is wrong"),
        (("--scales", ""), "--scales : numbers with commas between them"),
        (("--scales", "0.5 1"), "--scales 0.5 1: numbers with commas between them"),
    ],
)
def test_a_way_of_looking_out_of_range_is_refused_in_one_line(model, classes, tmp_path, options, told):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert told in refusal("predict", model, photo, "-o", tmp_path / "mask.png", *options)
    assert names(tmp_path) == ["photo.png"]


def test_a_missing_network_is_named(tmp_path, classes):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert "absent.onnx: no such ONNX file" in refusal("predict", "absent.onnx", photo, "-o", tmp_path / "mask.png")


def test_what_is_no_onnx_file_is_refused(tmp_path, classes):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert "not a file that onnxruntime reads" in refusal("predict", photo, photo, "-o", tmp_path / "mask.png")
    assert names(tmp_path) == ["photo.png"]


def test_an_onnx_file_of_others_is_refused(model, classes, tmp_path):
    foreign = onnx.load(model)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    photo = photo_of(classes, tmp_path / "photo.png")
    line = refusal("predict", tmp_path / "foreign.onnx", photo, "-o", tmp_path / "mask.png")
    assert "foreign.onnx: its metadata holds format None" in line


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_truncated_photo_is_refused_and_nothing_written(model, classes, tmp_path, name):
    photo = photo_of(np.kron(classes, np.ones((20, 20), np.uint8)), tmp_path / name)
    photo.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    assert f"{name}: cannot be read as an image" in refusal("predict", model, photo, "-o", tmp_path / "mask.png")
    assert names(tmp_path) == [name]


def test_what_is_no_photo_is_refused(model, tmp_path):
    (tmp_path / "photo.png").write_text("no photo")
    line = refusal("predict", model, tmp_path / "photo.png", "-o", tmp_path / "mask.png")
    assert "photo.png: cannot be read as an image" in line


def test_a_photo_that_is_not_there_is_named(model, tmp_path):
    line = refusal("predict", model, tmp_path / "photo.png", "-o", tmp_path / "mask.png")
    assert f"{tmp_path / 'photo.png'}: No such file or directory" in line


def test_more_than_8_bits_are_refused(model, tmp_path):
    Image.fromarray(np.full((4, 5), 40000, np.uint16)).save(tmp_path / "photo.png")
    line = refusal("predict", model, tmp_path / "photo.png", "-o", tmp_path / "mask.png")
    assert "mode I;16; 8 bits a channel is the rule" in line


def test_a_missing_output_folder_is_named_with_the_remedy(model, classes, tmp_path):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert f"mkdir -p {tmp_path / 'to'}" in refusal("predict", model, photo, "-o", tmp_path / "to" / "mask.png")
    assert f"mkdir -p {tmp_path / 'to'}" in refusal("predict", model, photo, photo, "-o", tmp_path / "to")


def test_an_empty_folder_of_photos_is_refused(model, tmp_path):
    (tmp_path / "photos").mkdir()
    assert "photos: holds no image" in refusal("predict", model, tmp_path / "photos", "-o", tmp_path)


def test_no_mask_overwrites_a_photo_or_another_mask(model, classes, tmp_path):
    photo = photo_of(classes, tmp_path / "photo.png")
    before = photo.read_bytes()
    assert "would overwrite the image" in refusal("predict", model, photo, "-o", photo)
    assert "would overwrite the image" in refusal("predict", model, photo, "-o", tmp_path)
    assert photo.read_bytes() == before
    twin = photo_of(classes, tmp_path / "photo.bmp")
    (tmp_path / "masks").mkdir()
    assert "would both become" in refusal("predict", model, photo, twin, "-o", tmp_path / "masks")


def test_a_mask_is_a_png(model, classes, tmp_path):
    photo = photo_of(classes, tmp_path / "photo.png")
    assert f"-o {tmp_path / 'mask.png'}" in refusal("predict", model, photo, "-o", tmp_path / "mask.jpg")


def test_the_version_is_told():
    assert run("--version").stdout == f"inverseform {inverseform.__version__}\n"


ALONE = """
import sys

absent = {"torch", "torchvision", "timm", "pyarrow", "pandas", "onnx", "onnxscript", "safetensors", "matplotlib",
          "yaml", "scipy", "lightning_fabric", "kfp", "dvc", "nibabel", "nilearn"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from inverseform.cli import app
app(prog_name="inverseform")
"""


@pytest.mark.parametrize("options", [(), EVERY_WAY], ids=["plain", "every way"])
def test_the_onnx_file_is_enough(model, classes, tmp_path, options):
    photo = photo_of(classes, tmp_path / "photo.png")
    environment = {**os.environ, "PYTHONPATH": str(Path(inverseform.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", ALONE, "predict", model, photo, "-o", tmp_path / "mask.png"]
    command += [str(option) for option in options]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = mask_of(tmp_path / "mask.png")
    # What is looked at in several sizes is blurred where each pixel has a class of its own.
    assert np.array_equal(found, classes) if not options else np.mean(found == classes) > 0.6


def test_a_provider_that_is_not_there_is_an_error_in_one_line(model, classes, tmp_path):
    photo = photo_of(classes, tmp_path / "photo.png")
    environment = {**os.environ, "PYTHONPATH": str(Path(inverseform.__file__).parents[1])}
    command = [sys.executable, "-c", ALONE, "predict", model, photo, "-o", tmp_path / "mask.png", "--provider=cuda"]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    if ran.returncode == 0:
        pytest.skip("there is a GPU here, so the provider is there")
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert "provider cuda" in ran.stderr
    assert not (tmp_path / "mask.png").exists()


LOSSES = """
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as well

def dead(logits, boundary):
    return (torch.log_softmax(logits, dim=1) - boundary).square().mean()
"""


def examined(*arguments):
    return run("doctor", "--size", 32, "--tiles", 2, *arguments)


@pytest.fixture
def losses(tmp_path, monkeypatch):
    """A working directory with a module of losses in it."""
    (tmp_path / "my_losses.py").write_text(LOSSES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_losses", None)


def test_a_loss_that_is_well_leaves_with_0_and_a_sick_one_with_1(losses):
    well, sick = examined("my_losses:well"), examined("my_losses:dead")
    assert (well.exit_code, sick.exit_code) == (0, 1), well.output + sick.output
    assert well.stdout.splitlines()[-1] == "verdict: well" and sick.stdout.splitlines()[-1] == "verdict: sick"
    assert "log_softmax" in sick.stdout and well.stderr == ""


def test_a_network_on_disk_is_examined_in_its_loss(tmp_path):
    inverse_net.save(tmp_path / "net", small_net(tile=32))
    result = examined("--net", tmp_path / "net")
    assert result.exit_code == 1 and "untrained" in result.stdout


def test_boundaries_are_taken_from_label_maps(losses, tmp_path):
    (tmp_path / "labels").mkdir()
    ids = np.zeros((60, 60), np.uint8)
    ids[20:45, 10:50], ids[:5] = 3, 255
    Image.fromarray(ids).save(tmp_path / "labels" / "one.png")
    result = examined("my_losses:well", "--labels", tmp_path / "labels")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name one loss"),
        (("my_losses:well", "--pretrained"), "name one loss"),
        (("my_losses",), "package.module:attribute"),
        (("my_losses:absent",), "my_losses:absent: cannot be had"),
        (("--net", "nowhere"), "nowhere: no such folder"),
        (("my_losses:well", "--labels", "."), "holds no label map"),
    ],
)
def test_what_cannot_be_examined_is_refused_in_one_line(losses, arguments, told):
    assert told in refusal("doctor", *arguments)


def test_a_photo_is_no_label_map(losses, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    assert "photo.png: mode RGB" in refusal("doctor", "my_losses:well", "--labels", tmp_path)
