import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch

from components import stage
from components.export import ExportParams, export, read_gate
from inverseform import networks, weights
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.sample_store import DatasetInfo, write_info, write_samples
from inverseform.data.stored_sample import stored
from inverseform.inference import OnnxSegmenter
from inverseform.networks import Card, HrnetParams
from inverseform.settings import InputError

CLASSES, COLOURS = ("sky", "tree", "road|path"), ((0, 0, 255), (0, 255, 0), (128, 128, 128))
PARAMS = ExportParams(opset=20, tolerance=1e-3, samples=2, provider="cpu")
CHECK = {"metric": "miou", "value": 0.75, "threshold": 0.5, "passed": True}


def make_samples(folder: Path) -> None:
    drawn = np.random.default_rng(0)
    boundary_params = BoundaryParams(operator="inequality", radius=1)
    info = DatasetInfo(
        source="folder", classes=CLASSES, colours=COLOURS, boundary=boundary_params, counts={"train": 1, "val": 3}
    )
    folder.mkdir()
    for split, count in info.counts.items():
        rows = []
        for number in range(count):
            image = drawn.integers(0, 256, (41, 54, 3), np.uint8)
            labels = drawn.integers(0, 3, (41, 54), np.uint8)
            maps = boundaries(torch.from_numpy(labels)[None], num_classes=3, operator="inequality", radius=1)
            rows.append(stored(f"{split}{number}", Reading(encode_png(image), image, labels), *(m[0] for m in maps)))
        write_samples(folder, info, split, rows, shard_bytes=1 << 20)
    write_info(folder, info)


def make_segmenter(folder: Path) -> None:
    backbone = {"architecture": "hrnet_w18_small_v2", "pretrained": False}
    heads = {"boundary_head": True, "boundary_feedback": False}
    params = HrnetParams.model_validate({"name": "hrnet", "backbone": backbone, **heads})
    torch.manual_seed(0)
    network = networks.build(params, num_classes=3)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 64))
    card = Card(
        network=params, classes=CLASSES, colours=COLOURS, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
        inverse_net="d" * 64, params="e" * 64,
    )  # fmt: skip
    networks.save(folder, network, card)


def write_gate(path: Path, network: Path, **changes) -> None:
    verdict = {"passed": True, "checks": [CHECK], "segmenter": weights.digest(network)}
    path.write_text(json.dumps({**verdict, **changes}))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Real inputs, and what the stage made of them."""
    folder = tmp_path_factory.mktemp("export")
    paths = {name: folder / name for name in ("samples", "segmenter")}
    paths |= {"gate": folder / "gate.json", "onnx": folder / "models" / "segmenter.onnx"}
    paths |= {"agreement": folder / "reports" / "agreement.json", "card": folder / "models" / "MODEL_CARD.md"}
    make_samples(paths["samples"])
    make_segmenter(paths["segmenter"])
    write_gate(paths["gate"], paths["segmenter"])
    report = stage.run(export, PARAMS, paths)
    return SimpleNamespace(**paths, paths=paths, report=report)


@pytest.fixture
def again(made, tmp_path):
    """The same inputs, and places where nothing is yet."""
    outputs = {"onnx": "segmenter.onnx", "agreement": "agreement.json", "card": "MODEL_CARD.md"}
    return {**made.paths, **{name: tmp_path / file for name, file in outputs.items()}}


def refused(paths: dict[str, Path], match: str, **changes) -> None:
    """The stage ends in an error and leaves nothing behind, nor does its function by itself."""
    params = PARAMS.model_copy(update=changes)
    folder = paths["onnx"].parent
    before = sorted(folder.iterdir())
    with pytest.raises(InputError, match=match):
        export(params, **paths)
    assert sorted(folder.iterdir()) == before


def test_the_stage_writes_three_files(made):
    assert sorted(path.name for path in made.onnx.parent.iterdir()) == ["MODEL_CARD.md", "segmenter.onnx"]
    assert made.agreement.is_file()
    assert onnx.load(made.onnx).opset_import[0].version == PARAMS.opset


def test_the_file_knows_where_it_comes_from(made):
    manifest = OnnxSegmenter(made.onnx).manifest
    assert manifest.classes == CLASSES and manifest.colours == COLOURS
    assert (manifest.mean, manifest.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert (manifest.params, manifest.inverse_net) == ("e" * 64, "d" * 64)
    assert manifest.segmenter == weights.digest(made.segmenter)
    assert manifest.ignore_index == 255


def test_agreement_is_reported_on_real_samples_at_two_sizes(made):
    found = json.loads(made.agreement.read_text())
    assert found["sizes"] == ["41x54", "31x41"]
    assert 0 < found["logits"]["largest_difference"] <= PARAMS.tolerance
    assert found["logits"]["same_class"] > 0.999
    assert made.report["largest_difference"] == found["logits"]["largest_difference"]
    assert all(isinstance(figure, float) for figure in made.report.values())


def test_the_card_tells_what_one_must_know(made):
    card = made.card.read_text()
    shown = [*manifest_words(made), "inverseform predict", "opset 20", "research only", "41x54, 31x41", "| miou | 0.75"]
    for words in shown:
        assert words in card, words
    assert "road\\|path" in card


def manifest_words(made) -> list[str]:
    manifest = OnnxSegmenter(made.onnx).manifest
    return ["sky", "tree", "#00ff00", manifest.params, manifest.inverse_net, manifest.segmenter, "0.5, 0.4, 0.3"]


def test_without_a_passed_gate_nothing_is_exported(again, tmp_path):
    again["gate"] = tmp_path / "gate.json"
    checks = [CHECK, {"metric": "mba", "value": 0.25, "threshold": 0.6, "passed": False}]
    write_gate(again["gate"], again["segmenter"], passed=False, checks=checks)
    refused(again, r"gate\.json: the gate is not passed \(mba is 0\.25 and 0\.6 is asked\); train a better network")


def test_a_figure_without_a_value_is_told(tmp_path):
    check = {"metric": "mba", "value": None, "threshold": 0.6, "passed": False}
    (tmp_path / "gate.json").write_text(json.dumps({"passed": False, "checks": [check], "segmenter": "f"}))
    with pytest.raises(InputError, match="mba is undefined and"):
        read_gate(tmp_path / "gate.json", digest="f", segmenter=tmp_path)


def test_the_gate_of_another_network_does_not_count(again, tmp_path):
    again["gate"] = tmp_path / "gate.json"
    write_gate(again["gate"], again["segmenter"], segmenter="0" * 64)
    refused(again, r"gate\.json: judges the network 000000000000 and .+ run the stage evaluate for this one")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"passed": true}', "\u00e9"])
def test_what_is_no_gate_is_refused(again, tmp_path, content):
    again["gate"] = tmp_path / "gate.json"
    again["gate"].write_text(content, encoding="latin-1")
    refused(again, r"gate\.json: is not what evaluate writes .+ run the stage evaluate again")


def test_past_the_tolerance_nothing_is_written(again, caplog, monkeypatch):
    # The file the module's fixture made is copied: tracing the network again would take its time.
    monkeypatch.setattr("components.export.to_onnx", copied(again))
    with caplog.at_level(logging.INFO):
        refused(again, r"export\.tolerance is 1e-12 and a logit .+ differs from torch's by \d", tolerance=1e-12)
    assert "the tolerance is 1e-12" in caplog.text


def test_a_file_that_gives_something_else_is_found_out(again, monkeypatch):
    def damaged(segmenter, path, *, opset, metadata):
        copied(again)(segmenter, path, opset=opset, metadata=metadata)
        model = onnx.load(path)
        weights_of_a_layer = next(i for i in model.graph.initializer if list(i.dims)[2:] == [3, 3])
        changed = onnx.numpy_helper.to_array(weights_of_a_layer) * np.float32(1.01)
        weights_of_a_layer.CopyFrom(onnx.numpy_helper.from_array(changed, weights_of_a_layer.name))
        onnx.save(model, path)

    monkeypatch.setattr("components.export.to_onnx", damaged)
    refused(again, r"export\.tolerance is 0\.001 and a logit .+ differs")


def copied(paths: dict[str, Path]):
    made = paths["segmenter"].parent / "models" / "segmenter.onnx"

    def copy(segmenter, path, *, opset, metadata):
        path.write_bytes(made.read_bytes())

    return copy


def test_an_opset_that_is_not_to_be_had_is_refused(again):
    refused(again, "opset 13: torch and onnx", opset=13)


def test_a_provider_that_is_not_there_is_refused(again, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here, so the provider is there")
    monkeypatch.setattr("components.export.to_onnx", copied(again))
    refused(again, "provider cuda: onnxruntime", provider="cuda")


def test_samples_of_other_classes_are_refused(again, tmp_path):
    card = json.loads((again["segmenter"] / "settings.json").read_text())
    other = tmp_path / "segmenter"
    other.mkdir()
    (other / "weights.safetensors").write_bytes((again["segmenter"] / "weights.safetensors").read_bytes())
    (other / "settings.json").write_text(json.dumps({**card, "classes": ["one", "two", "three"]}))
    again["segmenter"] = other
    refused(again, "has the classes sky, tree, road.path and .+ those of one, two, three")
