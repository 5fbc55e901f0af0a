"""One real network (HRNet-w18 Small-v2, random weights) is exported once for all tests; a tiny one where it will do."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

from inverseform import export
from inverseform.export import compare, cropped, to_onnx
from inverseform.inference import OnnxSegmenter, open_session
from inverseform.manifest import Manifest
from inverseform.networks import HrnetParams, Segmenter, build
from inverseform.networks.backbones import TimmHrnet
from inverseform.networks.heads import HrnetV2Head
from inverseform.networks.segmenter import EncoderDecoder
from inverseform.settings import InputError

OPSET = 20
MANIFEST = Manifest(
    classes=("a", "b", "c", "d"), colours=((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)), mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.3, 0.4), ignore_index=255, params="a" * 64, inverse_net="b" * 64, segmenter="c" * 64, licence="none",
)  # fmt: skip


class Exported(NamedTuple):
    segmenter: Segmenter
    path: Path


def hrnet(*, boundary_head: bool) -> Segmenter:
    backbone = {"architecture": "hrnet_w18_small_v2", "pretrained": False}
    params = {"name": "hrnet", "backbone": backbone, "boundary_head": boundary_head, "boundary_feedback": False}
    return build(HrnetParams.model_validate(params), num_classes=4)


class TinyBackbone(TimmHrnet):
    """Four convolutions in place of HRNet, where the size of the network is of no matter."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.channels = (2, 2, 2, 2)
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 2, 1) for _ in self.channels)

    def forward(self, images):
        return [conv(F.avg_pool2d(images, 4 << i)) for i, conv in enumerate(self.convolutions)]


def tiny() -> Segmenter:
    torch.manual_seed(0)
    heads = (HrnetV2Head((2, 2, 2, 2), outputs=outputs) for outputs in (4, 1))
    return EncoderDecoder(TinyBackbone(), *heads).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    torch.manual_seed(0)
    segmenter = hrnet(boundary_head=True)
    # Statistics of its own features, as after training: with fresh ones the logits run into the thousands.
    with torch.no_grad():
        segmenter.train()(torch.randn(2, 3, 64, 96))
    path = tmp_path_factory.mktemp("export") / "segmenter.onnx"
    to_onnx(segmenter.eval(), path, opset=OPSET, metadata=MANIFEST.properties())
    return Exported(segmenter, path)


@pytest.fixture(scope="module")
def session(exported) -> onnxruntime.InferenceSession:
    return open_session(exported.path, provider="cpu")


def nodes(model: onnx.ModelProto) -> list[tuple]:
    """What each node does, in order: its type, its inputs and outputs, its attributes."""
    return [
        (n.op_type, n.domain, tuple(n.input), tuple(n.output), [a.SerializeToString() for a in n.attribute])
        for n in model.graph.node
    ]


def test_the_graph_is_that_of_a_network_built_without_a_boundary_head(exported, tmp_path):
    """The paper's promise: inference costs what it costs without InverseForm."""
    plain = hrnet(boundary_head=False)
    trained = exported.segmenter.state_dict()
    weights = {name: tensor for name, tensor in trained.items() if not name.startswith("boundary_head.")}
    assert len(weights) < len(trained)
    plain.load_state_dict(weights, strict=True)
    to_onnx(plain.eval(), tmp_path / "plain.onnx", opset=OPSET, metadata=MANIFEST.properties())

    ours, theirs = onnx.load(exported.path), onnx.load(tmp_path / "plain.onnx")
    assert nodes(ours) == nodes(theirs)
    assert len(ours.graph.initializer) == len(theirs.graph.initializer)
    for mine, other in zip(ours.graph.initializer, theirs.graph.initializer, strict=True):
        assert (mine.name, mine.data_type, list(mine.dims)) == (other.name, other.data_type, list(other.dims))
        assert numpy_helper.to_array(mine).tobytes() == numpy_helper.to_array(other).tobytes(), mine.name
    assert exported.path.read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_without_the_boundary_head_there_is_less(exported):
    def parameters(network: nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    segmenter = exported.segmenter
    assert segmenter.boundary_head is not None
    bare = parameters(segmenter.without_boundary_head())
    assert bare == parameters(segmenter) - parameters(segmenter.boundary_head)
    # Only what is a weight is stored: batch norms are folded into convolutions, so it is a little less still.
    stored = sum(int(np.prod(i.dims)) for i in onnx.load(exported.path).graph.initializer if i.data_type == 1)
    assert 0.98 * bare < stored <= bare + 100


@pytest.mark.parametrize("size", [(1, 96, 128), (1, 197, 233), (1, 360, 480), (2, 33, 31), (3, 64, 64), (1, 1, 1)])
def test_any_batch_height_and_width_gives_what_torch_gives(exported, session, size):
    batch, height, width = size
    images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))
    with torch.inference_mode():
        expected = exported.segmenter(images).segmentation.numpy()
    (found,) = session.run(None, {"image": images.numpy()})
    assert found.shape == (batch, 4, height, width)
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


def test_it_is_one_file_of_the_opset_that_was_asked_for(exported):
    assert [path.name for path in exported.path.parent.iterdir()] == ["segmenter.onnx"]
    model = onnx.load(exported.path, load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not any(i.external_data for i in model.graph.initializer)
    onnx.checker.check_model(exported.path, full_check=True)


def test_inputs_and_outputs_have_their_names_and_shapes(session):
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 3, "height", "width"])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 4, "height", "width"])


def test_metadata_survives_the_export(exported):
    assert OnnxSegmenter(exported.path).manifest == MANIFEST


def test_nothing_of_the_machine_that_exported_is_in_the_file(exported):
    content = exported.path.read_bytes()
    assert b".py" not in content and str(Path.home()).encode() not in content


def test_an_export_leaves_the_network_as_it_was(tmp_path):
    segmenter = tiny()
    segmenter.train()
    segmenter.backbone.eval()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    to_onnx(segmenter, tmp_path / "tiny.onnx", opset=OPSET, metadata={})
    assert segmenter.training and not segmenter.backbone.training and segmenter.boundary_head is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in segmenter.state_dict().items())


def test_exporting_twice_gives_the_same_bytes(tmp_path):
    for name in ("one.onnx", "two.onnx"):
        to_onnx(tiny(), tmp_path / name, opset=OPSET, metadata=MANIFEST.properties())
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_an_export_says_nothing(tmp_path, capfd, caplog):
    to_onnx(tiny(), tmp_path / "tiny.onnx", opset=OPSET, metadata={})
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_another_opset_is_had_as_asked_for(tmp_path):
    to_onnx(tiny(), tmp_path / "tiny.onnx", opset=18, metadata={})
    assert onnx.load(tmp_path / "tiny.onnx").opset_import[0].version == 18


@pytest.mark.parametrize("opset", [13, 17, 99])
def test_an_opset_that_is_not_to_be_had_is_refused(tmp_path, opset):
    with pytest.raises(InputError, match=f"opset {opset}: torch and onnx .+ write 18 to"):
        to_onnx(tiny(), tmp_path / "tiny.onnx", opset=opset, metadata={})
    assert not list(tmp_path.iterdir())


def test_an_opset_that_torch_changes_silently_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "OLDEST_OPSET", 1)
    with pytest.raises(InputError, match=r"opset 13: torch wrote .+18.+ in its place; ask for 18"):
        to_onnx(tiny(), tmp_path / "tiny.onnx", opset=13, metadata={})
    assert not list(tmp_path.iterdir())


def test_agreement_is_measured_at_every_size(exported, session):
    image = torch.randn(1, 3, 70, 91, generator=torch.Generator().manual_seed(1))
    report = compare(lambda x: session.run(None, {"image": x})[0], exported.segmenter, [image, cropped(image)])
    assert report.sizes == ("70x91", "53x69")
    assert 0 < report.largest_difference < 1e-3
    assert report.largest_relative_difference < 1e-4
    assert report.same_class > 0.999


def test_agreement_finds_one_wrong_logit():
    segmenter = tiny()
    images = [torch.randn(1, 3, 8, 9), torch.randn(1, 3, 5, 4)]

    def wrong(array: np.ndarray) -> np.ndarray:
        logits = segmenter(torch.from_numpy(array)).segmentation.detach().numpy()
        if array.shape[2] == 8:
            logits[0, 2, 7, 8] += 100
        return logits

    report = compare(wrong, segmenter, images)
    assert report.largest_difference == pytest.approx(100, rel=1e-4)
    assert report.largest_relative_difference > 1
    assert report.same_class == pytest.approx(1 - 1 / (72 + 20))


def test_agreement_does_not_lose_a_nan():
    segmenter = tiny()
    images = [torch.randn(1, 3, 8, 9), torch.randn(1, 3, 5, 4), torch.randn(1, 3, 4, 4)]

    def broken(array: np.ndarray) -> np.ndarray:
        logits = segmenter(torch.from_numpy(array)).segmentation.detach().numpy()
        return logits * np.nan if array.shape[2] == 5 else logits

    assert np.isnan(compare(broken, segmenter, images).largest_difference)


def test_a_comparison_on_nothing_is_refused():
    with pytest.raises(InputError, match="0 images"):
        compare(lambda x: x, tiny(), [])


@pytest.mark.parametrize("size", [(96, 128), (197, 233), (32, 32), (1, 1), (2, 5)])
def test_a_crop_is_smaller_and_no_multiple_of_any_stride(size):
    height, width = cropped(torch.zeros(1, 3, *size)).shape[2:]
    assert height % 2 == width % 2 == 1
    assert height <= size[0] and width <= size[1]
