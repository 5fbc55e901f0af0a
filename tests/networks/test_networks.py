import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from inverseform import networks
from inverseform.networks import Card, HrnetParams, SmpParams, normalisation
from inverseform.settings import InputError
from tests.drawn import ROOT

BACKBONE = {"architecture": "hrnet_w18_small_v2", "pretrained": False}
HEAD = {"boundary_head": True, "boundary_feedback": False}
PARAMS = HrnetParams.model_validate({"name": "hrnet", "backbone": BACKBONE, **HEAD})
CARD = Card(
    network=PARAMS, classes=("sky", "tree", "road"), colours=((0, 0, 255), (0, 255, 0), (128, 128, 128)),
    mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1 + 0.2), inverse_net="d" * 64, params="e" * 64,
)  # fmt: skip


@pytest.fixture(scope="module")
def network():
    """With statistics of its own in the batch norms, which a network with fresh weights has not."""
    torch.manual_seed(0)
    network = networks.build(PARAMS, num_classes=3)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 64))
    return network.eval()


@pytest.fixture(scope="module")
def kept(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks") / "segmenter"
    networks.save(folder, network, CARD)
    return folder


@pytest.fixture
def copy(kept, tmp_path):
    """A folder that a test may damage."""
    folder = tmp_path / "segmenter"
    folder.mkdir()
    for file in kept.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def change(folder, **changes):
    file = folder / "settings.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@torch.no_grad()
def test_what_was_saved_gives_the_same_logits(network, kept):
    loaded, card = networks.load(kept)
    images = torch.randn(2, 3, 45, 70)
    assert not loaded.training
    found, expected = loaded(images), network(images)
    assert torch.equal(found.segmentation, expected.segmentation) and torch.equal(found.boundary, expected.boundary)
    assert card == CARD


def test_every_kind_of_network_tells_how_its_first_weights_know_images():
    learned = PARAMS.model_copy(update={"backbone": PARAMS.backbone.model_copy(update={"pretrained": True})})
    assert normalisation(PARAMS) is None and normalisation(learned) is not None
    smp = SmpParams(name="smp", architecture="FPN", encoder="tu-resnet18", weights="imagenet", **HEAD)
    assert normalisation(smp) == normalisation(learned)
    assert normalisation(smp.model_copy(update={"weights": None})) is None


def test_building_draws_from_the_seed_alone():
    twins = []
    for _ in range(2):
        torch.manual_seed(3)
        twins.append(networks.build(PARAMS, num_classes=3).state_dict())
    assert all(torch.equal(tensor, twins[1][name]) for name, tensor in twins[0].items())


@torch.no_grad()
def test_a_network_is_built_with_or_without_a_boundary_head():
    bare = networks.build(PARAMS.model_copy(update={"boundary_head": False}), num_classes=5).eval()
    prediction = bare(torch.randn(1, 3, 32, 32))
    assert prediction.segmentation.shape == (1, 5, 32, 32) and prediction.boundary is None
    assert not [name for name in bare.state_dict() if "boundary" in name]


def test_loading_downloads_nothing_even_where_training_began_from_downloaded_weights(copy, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    change(copy, network=PARAMS.model_dump(mode="json") | {"backbone": {**BACKBONE, "pretrained": True}})
    _, card = networks.load(copy)
    assert card.network.backbone.pretrained
    # Nor is a file asked for that was on the machine where it was trained.
    change(copy, network=PARAMS.model_dump(mode="json") | {"backbone": {**BACKBONE, "pretrained": "absent.pth"}})
    assert networks.load(copy)[1].network.backbone.pretrained == "absent.pth"


RESNET = {"architecture": "resnet50", "output_stride": 16, "pretrained": False}
OTHERS = [
    {"name": "ocr", "backbone": BACKBONE, "auxiliary_weight": 0.4},
    {"name": "hms", "backbone": BACKBONE, "auxiliary_weight": 0.4, "scale_weight": 0.05, "scales": [0.5, 1.0]},
    {"name": "deeplab", "backbone": RESNET},
    {"name": "smp", "architecture": "FPN", "encoder": "tu-test_efficientnet", "weights": None},
]


@torch.no_grad()
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("values", OTHERS, ids=lambda values: values["name"])
def test_every_other_network_of_the_union_is_built_by_its_name_kept_and_read(values, feedback, tmp_path):
    values = {**values, "boundary_head": True, "boundary_feedback": feedback}
    card = Card.model_validate({**CARD.model_dump(), "network": values}, strict=False)
    torch.manual_seed(0)
    network = networks.build(card.network, num_classes=3).eval()
    networks.save(tmp_path / "segmenter", network, card)
    loaded, read = networks.load(tmp_path / "segmenter")
    images = torch.randn(1, 3, 32, 33)
    assert torch.equal(loaded(images).segmentation, network(images).segmentation)
    assert read == card and read.network.name == values["name"]
    bare = {**values, "boundary_head": False, "boundary_feedback": False}
    if not feedback:
        with torch.device("meta"):
            built = networks.build(
                Card.model_validate({**CARD.model_dump(), "network": bare}, strict=False).network, num_classes=3
            )
        assert list(network.without_boundary_head().state_dict()) == list(built.state_dict())


def test_loading_reads_no_file_for_an_encoder_either(tmp_path):
    network = {**OTHERS[-1], **HEAD}
    card = Card.model_validate({**CARD.model_dump(), "network": network}, strict=False)
    networks.save(tmp_path / "segmenter", networks.build(card.network, num_classes=3), card)
    change(tmp_path / "segmenter", network={**network, "weights": "absent.pth"})
    assert networks.load(tmp_path / "segmenter")[1].network.weights == "absent.pth"


def test_weights_of_another_number_of_classes_are_refused(copy):
    change(copy, classes=["sky", "tree"], colours=[[0, 0, 0]] * 2)
    with pytest.raises(InputError, match=r"segmenter: its weights do not fit .*segmentation_head\.classify"):
        networks.load(copy)


def test_a_missing_and_a_foreign_tensor_are_refused(copy):
    tensors = load_file(copy / "weights.safetensors")
    bias = tensors.pop("boundary_head.classify.bias")
    save_file(tensors, copy / "weights.safetensors")
    with pytest.raises(InputError, match=r"boundary_head\.classify\.bias"):
        networks.load(copy)
    save_file({**tensors, "boundary_head.classify.bias": bias, "stranger": bias + 1}, copy / "weights.safetensors")
    with pytest.raises(InputError, match="stranger"):
        networks.load(copy)


@pytest.mark.parametrize("changes", [{"mean": [0.5, 0.4]}, {"network": {"name": "unet"}}, {"more": 1}])
def test_a_card_that_is_none_is_refused(copy, changes):
    change(copy, **changes)
    with pytest.raises(InputError, match=r"segmenter: its settings are not those of a segmenter"):
        networks.load(copy)


def test_an_inverse_network_is_not_taken_for_a_segmenter(tmp_path):
    from inverseform import inverse_net
    from tests.drawn import small_net

    inverse_net.save(tmp_path / "net", small_net())
    with pytest.raises(InputError, match=r"inverse_net/2' and 'inverseform\.segmenter/1' was expected"):
        networks.load(tmp_path / "net")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        networks.load(tmp_path / "nowhere")


PRETRAINED = """
import sys
from inverseform import networks
from inverseform.settings import InputError
params = networks.HrnetParams.model_validate_json(sys.argv[1])
try:
    networks.build(params, num_classes=3)
except InputError as error:
    print(error)
    sys.exit(2)
"""


def test_pretrained_weights_that_cannot_be_had_are_an_error_and_no_silence(tmp_path):
    params = PARAMS.model_copy(update={"backbone": PARAMS.backbone.model_copy(update={"pretrained": True})})
    # Without the network and with an empty cache, as in a cluster that lets nothing out.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PRETRAINED, params.model_dump_json()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "network.backbone.pretrained is True" in done.stdout and "set it to false" in done.stdout
