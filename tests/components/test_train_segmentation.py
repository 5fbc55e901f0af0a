import csv
import json
import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from components import stage
from components import train_segmentation as train_segmentation_module
from components.segmentation_batches import Batch
from components.train_segmentation import (
    TrainSegmentationParams,
    knowledge,
    leaves_unused,
    loss_function,
    loss_of,
    train_segmentation,
)
from inverseform import inverse_net, networks, weights
from inverseform.boundary import BoundaryParams
from inverseform.data.sample_store import SampleStore
from inverseform.inverse_net import InverseNet
from inverseform.plots import read_curves
from inverseform.settings import InputError
from inverseform.training.descent import Descent
from tests.components import segmentation_processes
from tests.drawn import CLASSES, ROOT, sample_store, scene, small_net

DOCUMENT = {
    "network": {
        "name": "hrnet", "boundary_head": True, "boundary_feedback": False,
        "backbone": {"architecture": "hrnet_w18_small_v2", "pretrained": False},
    },
    "init": None,
    "augment": {"scale": [0.8, 1.25], "crop": [64, 64], "flip": True, "brightness": 0.2},
    "sampling": {"class_uniform": 0.0},
    "loss": {
        "segmentation": {"name": "cross_entropy", "class_weights": "equal"}, "beta": 0.3, "gamma": 0.5,
        "gamma_start": 0.0, "gamma_ramp": 0.0, "distance": "euclidean", "boundary_from": "head",
        "boundary_outputs": ["main", "scales"], "debias": False,
    },
    "optimiser": {
        "name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05, "steps": 6, "batch": 4, "accumulate": 1,
        "clip": None, "ema": None, "warm_up": 1, "schedule": "poly", "seed": 1,
    },
    "validation": {
        "every": None, "metric": "miou",
        "inference": {"window": None, "overlap": 0.0, "flip": False, "scales": [1.0]},
    },
    "machine": {"precision": "32-true", "channels_last": False, "compile": False, "workers": 0},
}  # fmt: skip
FILES = ("segmenter/weights.safetensors", "segmenter/settings.json", "curves.csv", "metrics.json")


def settings(**sections):
    document = {
        name: {**section, **sections.get(name, {})} if isinstance(section, dict) else sections.get(name, section)
        for name, section in DOCUMENT.items()
    }
    return TrainSegmentationParams.model_validate_json(json.dumps(document))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    sample_store(folder / "samples", train=6, val=1)
    inverse_net.save(folder / "inverse_net", small_net())
    return {name: folder / name for name in ("samples", "inverse_net")}


def paths(folder, inputs):
    outputs = {"segmenter": "segmenter", "metrics": "metrics.json", "curves": "curves.csv"}
    return {**inputs, "checkpoints": folder / "checkpoints", **{name: folder / file for name, file in outputs.items()}}


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    places, before = paths(folder, inputs), weights.digest(inputs["inverse_net"])
    report = stage.run(train_segmentation, settings(), places)
    return SimpleNamespace(**places, folder=folder, report=report, before=before)


def rows(path):
    with path.open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_the_curve_has_every_term_of_the_loss(made):
    curve = rows(made.curves)
    assert [row.pop("step") for row in curve] == [1, 2, 3, 4, 5, 6]
    assert list(curve[0]) == [
        "total", "segmentation", "boundary", "inverseform", "auxiliary", "gamma",
        "gradient_segmentation_classes", "gradient_boundary_boundary", "gradient_inverseform_boundary",
    ]  # fmt: skip
    for row in curve:
        total = row["segmentation"] + 0.3 * row["boundary"] + 0.5 * row["inverseform"]
        assert row["total"] == pytest.approx(total, rel=1e-5) and row["inverseform"] > 0
        assert min(value for name, value in row.items() if name.startswith("gradient")) > 0


def test_gamma_starts_late_and_a_term_from_the_classes_pulls_at_them(inputs, tmp_path):
    loss = {**DOCUMENT["loss"], "boundary_from": "classes", "gamma_start": 0.5, "gamma_ramp": 0.5}
    few = settings(loss=loss, network={"boundary_head": False}, optimiser={"steps": 4, "batch": 2})
    places = paths(tmp_path, inputs)
    stage.run(train_segmentation, few, places)
    curve = rows(places["curves"])
    assert [row["gamma"] for row in curve] == pytest.approx([0, 0, 0, 0.25])
    assert [row["inverseform"] > 0 for row in curve] == [False, False, False, True]
    assert curve[-1]["gradient_inverseform_classes"] > 0 and abs(curve[-1]["cosine_inverseform_segmentation"]) <= 1


def test_the_figures_are_those_of_the_last_row(made):
    figures = json.loads(made.metrics.read_text())
    last = rows(made.curves)[-1]
    assert figures == {f"train_{name}": pytest.approx(value) for name, value in last.items() if name != "step"}
    assert {name: value for name, value in made.report.items() if name != "seconds"} == figures


def test_the_inverse_network_stays_as_it_was_and_is_named_in_the_card(made):
    assert weights.digest(made.inverse_net) == made.before
    _, card = networks.load(made.segmenter)
    assert card.inverse_net == made.before


def test_the_segmenter_keeps_its_boundary_head_and_knows_its_classes(made):
    segmenter, card = networks.load(made.segmenter)
    info = SampleStore.open(made.samples).info
    assert (card.classes, card.colours, card.network) == (info.classes, info.colours, settings().network)
    with torch.no_grad():
        prediction = segmenter(torch.randn(1, 3, 40, 50))
    assert prediction.segmentation.shape == (1, CLASSES, 40, 50) and prediction.boundary.shape == (1, 1, 10, 13)


def test_the_card_holds_mean_and_spread_of_the_training_images(made):
    _, card = networks.load(made.segmenter)
    store = SampleStore.open(made.samples)
    pixels = torch.cat([store.sample("train", index).image.flatten(1) for index in range(6)], dim=1).double() / 255
    assert card.mean == pytest.approx(pixels.mean(dim=1).tolist())
    assert card.std == pytest.approx(pixels.std(dim=1, correction=0).tolist())


def test_training_changes_the_weights_and_nothing_is_left_beside_the_outputs(made):
    torch.manual_seed(1)
    fresh = networks.build(settings().network, num_classes=CLASSES).state_dict()
    trained = networks.load(made.segmenter)[0].state_dict()
    assert all(not torch.equal(tensor, trained[name]) for name, tensor in fresh.items() if tensor.is_floating_point())
    assert sorted(path.name for path in made.folder.iterdir()) == ["curves.csv", "metrics.json", "segmenter"]


def test_a_terminated_run_goes_on_where_it_was_and_gives_the_same_files(made, inputs, tmp_path, monkeypatch, caplog):
    descend, places = Descent.descend, paths(tmp_path, inputs)

    def terminated(descent, step, norm):
        descend(descent, step, norm)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        patched.setattr(Descent, "descend", terminated)
        stage.run(train_segmentation, settings(), places)
    assert left.value.code == 143
    # Of a stage that was cut off there is its checkpoint and nothing else.
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    done = []
    monkeypatch.setattr(Descent, "descend", lambda *arguments: (done.append(arguments[1]), descend(*arguments)))
    with caplog.at_level(logging.INFO):
        stage.run(train_segmentation, settings(), places)
    assert done == [3, 4, 5]
    assert "step 6 of 6" in caplog.text
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (made.folder / file).read_bytes(), file


def terminated_at_once(folder, inputs, monkeypatch, few):
    descend, places = Descent.descend, paths(folder, inputs)

    def terminated(descent, step, norm):
        descend(descent, step, norm)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Descent, "descend", terminated)
        stage.run(train_segmentation, few, places)
    return places


def test_the_checkpoint_of_other_settings_or_inputs_is_refused_and_each_is_named(inputs, tmp_path, monkeypatch):
    few = {"steps": 2, "batch": 2}
    places = terminated_at_once(tmp_path, inputs, monkeypatch, settings(optimiser=few))
    places["inverse_net"] = tmp_path / "another"
    inverse_net.save(places["inverse_net"], small_net(seed=1))
    with pytest.raises(InputError) as refused:
        stage.run(train_segmentation, settings(optimiser={**few, "learning_rate": 0.001}), places)
    lines = str(refused.value).splitlines()
    assert lines[1] == "- optimiser.learning_rate: 0.002 in the checkpoint, 0.001 now" and len(lines) == 4
    assert lines[2].startswith('- input inverse_net: "') and lines[3].endswith(f"rm -r {places['checkpoints']}")


def test_who_loads_the_batches_is_no_setting_of_the_run(made, inputs, tmp_path, monkeypatch):
    places = terminated_at_once(tmp_path, inputs, monkeypatch, settings())
    stage.run(train_segmentation, settings(machine={"workers": 2}), places)
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (made.folder / file).read_bytes(), file


EVERYTHING = {"optimiser": {"steps": 5, "batch": 4, "accumulate": 2, "clip": 1.0, "ema": 0.9},
              "validation": {"every": 2, "metric": "mba"}}  # fmt: skip


@pytest.mark.parametrize("best", [2, 5])
def test_a_validated_training_writes_the_best_network_and_the_last_beside_it(inputs, tmp_path, monkeypatch, best):
    scored, validate = [], train_segmentation_module.validate

    def watched(network, *arguments, **options):
        figures = validate(network, *arguments, **options)
        scored.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        # Real scores of so few steps are all alike.
        return {**figures, "val_mba": 0.9 if 2 * len(scored) >= best else 0.1}

    monkeypatch.setattr(train_segmentation_module, "validate", watched)
    places = paths(tmp_path, inputs)
    report = stage.run(train_segmentation, settings(**EVERYTHING), places)
    curve, figures = rows(places["curves"]), json.loads(places["metrics"].read_text())
    assert [row["step"] for row in curve if "val_mba" in row] == [2, 4, 5]
    assert (figures["best_step"], figures["best_val_mba"], figures["val_mba"]) == (best, 0.9, 0.9)
    assert "val_miou" in curve[-1] and report["best_step"] == best
    assert {name: len(points) for name, points in read_curves(places["curves"]).items()}["val_miou"] == 3
    for folder, expected in ((places["segmenter"], scored[best // 2 - 1 if best < 5 else 2]),
                             (places["segmenter"] / "last", scored[2])):  # fmt: skip
        if folder.exists():
            network, card = networks.load(folder)
            assert card.network == settings().network
            assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())
    assert (places["segmenter"] / "last").exists() == (best < 5)


def test_a_validated_training_in_parts_gives_the_same_files(inputs, tmp_path, monkeypatch):
    few = settings(**{**EVERYTHING, "optimiser": {**EVERYTHING["optimiser"], "steps": 3}})
    whole = paths(tmp_path / "whole", inputs)
    stage.run(train_segmentation, few, whole)
    parts = paths(tmp_path / "parts", inputs)
    for _ in range(2):
        terminated_at_once(tmp_path / "parts", inputs, monkeypatch, few)
    stage.run(train_segmentation, few, parts)
    for file in FILES:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes(), file


def test_no_validation_without_samples(inputs, tmp_path):
    sample_store(tmp_path / "samples", train=2, val=0)
    places = paths(tmp_path / "out", {**inputs, "samples": tmp_path / "samples"})
    with pytest.raises(InputError, match=r"validation\.every is 3 and there are no val samples .*set it to null"):
        stage.run(train_segmentation, settings(validation={"every": 3}), places)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_in_mixed_precision_the_terms_are_nearly_those_of_single(made, inputs, tmp_path, precision):
    places = paths(tmp_path, inputs)
    mixed = settings(optimiser={"steps": 1}, machine={"precision": precision, "channels_last": True})
    stage.run(train_segmentation, mixed, places)
    exact, near = rows(made.curves), rows(places["curves"])
    assert list(exact[0]) == list(near[0])
    for name in ("total", "segmentation", "boundary", "gradient_segmentation_classes"):
        assert near[0][name] == pytest.approx(exact[0][name], rel=0.02)
    assert near[0]["total"] != exact[0]["total"]


def test_a_step_that_is_not_finite_tells_its_samples_by_name(inputs, tmp_path, monkeypatch):
    broken = train_segmentation_module.gamma_at
    monkeypatch.setattr(
        train_segmentation_module, "gamma_at", lambda params, progress: broken(params, progress) * float("nan")
    )
    told = (
        r"the loss term gamma is nan at step 1, .*the train samples \d \(train-\d\), \d \(train-\d\); look at these "
        r"samples, or lower"
    )
    with pytest.raises(InputError, match=told):
        stage.run(train_segmentation, settings(optimiser={"batch": 2}), paths(tmp_path, inputs))


def test_weights_that_were_learned_elsewhere_are_shown_images_as_they_know_them(inputs):
    store = SampleStore.open(inputs["samples"])
    learned = settings(network={"backbone": {"architecture": "hrnet_w18_small_v2", "pretrained": True}})
    found = knowledge(learned, store)
    assert (found.mean, found.std, found.counts) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), [])
    enet = {"segmentation": {"name": "cross_entropy", "class_weights": "enet"}}
    weighted = knowledge(settings(network=learned.network.model_dump(mode="json"), loss=enet), store)
    assert weighted.mean == found.mean and weighted.counts == knowledge(settings(), store).counts


@pytest.mark.parametrize(
    ("loss", "head", "unused"),
    [({}, True, False), ({"boundary_from": "classes"}, True, True), ({"boundary_from": "classes"}, False, False),
     ({"beta": 0.0}, True, True), ({"boundary_from": "both"}, True, False)],
)  # fmt: skip
def test_which_parameters_a_step_leaves_out_is_known_beforehand(inputs, loss, head, unused):
    params = settings(loss=loss, network={"boundary_head": head})
    assert leaves_unused(params) == unused
    network = networks.build(params.network, num_classes=CLASSES)
    criterion = loss_of(params.loss, SampleStore.open(inputs["samples"]), inputs["inverse_net"], counts=[])
    function = loss_function(criterion, params, mean=(0.5,) * 3, std=(0.2,) * 3)
    labels = scene(64, 64).to(torch.uint8)
    images = (labels[:, None] * 60).expand(-1, 3, -1, -1).contiguous()
    terms = function(network, Batch(0, images, labels))
    # At a gamma of 0, as before gamma_start.
    (terms["total"] - terms["gamma"] * terms["inverseform"]).backward()
    left = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert bool(left) <= unused and (not unused or all(name.startswith("boundary_head") for name in left))


def test_without_the_inverseform_term_none_is_in_the_card(inputs, tmp_path):
    places = paths(tmp_path, inputs)
    plain = settings(
        loss={"gamma": 0.0, "boundary_from": "classes"},
        optimiser={"steps": 1, "batch": 2},
        network={"boundary_head": False},
    )
    stage.run(train_segmentation, plain, places)
    segmenter, card = networks.load(places["segmenter"])
    (row,) = rows(places["curves"])
    assert card.inverse_net is None and segmenter.boundary_head is None
    assert row["inverseform"] == 0 and row["boundary"] > 0


def test_an_inverse_network_of_other_boundaries_is_refused(inputs, tmp_path):
    other = small_net().settings.model_copy(update={"boundary": BoundaryParams(operator="inequality", radius=2)})
    inverse_net.save(tmp_path / "other", InverseNet(other))
    places = paths(tmp_path / "out", {**inputs, "inverse_net": tmp_path / "other"})
    with pytest.raises(InputError, match=r"other was trained on boundaries made with .*inequality.* `dvc repro`"):
        stage.run(train_segmentation, settings(), places)
    assert list((tmp_path / "out").iterdir()) == []


def test_without_training_samples_there_is_nothing_to_train(inputs, tmp_path):
    sample_store(tmp_path / "samples", train=0, val=2)
    with pytest.raises(InputError, match=r"no train samples from drawn.*`dvc repro ingest`"):
        stage.run(train_segmentation, settings(), paths(tmp_path / "out", {**inputs, "samples": tmp_path / "samples"}))


@pytest.mark.parametrize(
    ("boundary_from", "more"), [("head", {"accumulate": 2, "clip": 1.0, "ema": 0.9}), ("classes", {})]
)
def test_two_processes_train_as_one_on_the_same_batch(inputs, tmp_path, boundary_from, more):
    # Not by AdamW: it divides a gradient by its own size, and makes a large step of a rounding error.
    document = settings(
        optimiser={"steps": 3, "name": "sgd", "learning_rate": 0.01, **more}, loss={"boundary_from": boundary_from},
        network={"boundary_head": boundary_from == "head"},
    ).model_dump(mode="json")  # fmt: skip
    both = {name: {key: str(path) for key, path in paths(tmp_path / name, inputs).items()} for name in ("one", "two")}
    segmentation_processes.run(document, both["one"])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = ROOT / "tests" / "components" / "segmentation_processes.py"
    done = subprocess.run([*command, script, json.dumps([document, both["two"]])], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    # A cosine is a mean of the processes' own.
    for alone, shared in zip(*(rows(tmp_path / name / "curves.csv") for name in both), strict=True):
        for column in alone.keys() - {"cosine_inverseform_segmentation"}:
            # The gradient of a largest difference jumps where rounding makes another one the largest.
            near = 0.05 if column.startswith("gradient") else 2e-3
            assert shared[column] == pytest.approx(alone[column], rel=near, abs=1e-7), column
    one, two = (weights.load(tmp_path / name / "segmenter", format=networks.FORMAT)[0] for name in both)
    for name, tensor in one.items():
        assert torch.allclose(two[name], tensor, rtol=1e-3, atol=1e-4), name


def test_a_training_starts_from_another_segmenter_and_knows_images_as_it_did(made, inputs, tmp_path):
    start = str(made.segmenter)
    places = paths(tmp_path, inputs)
    stage.run(train_segmentation, settings(init=start, optimiser={"steps": 1, "learning_rate": 1e-12}), places)
    (network, card), (first, known) = networks.load(places["segmenter"]), networks.load(start)
    assert (card.mean, card.std) == (known.mean, known.std)
    parameters = dict(first.named_parameters())
    for name, parameter in network.named_parameters():
        assert torch.allclose(parameter, parameters[name], atol=1e-6), name
    with pytest.raises(FileNotFoundError):
        stage.run(train_segmentation, settings(init=str(tmp_path / "nowhere")), paths(tmp_path / "out", inputs))
