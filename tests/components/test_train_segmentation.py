import csv
import json
import logging
import signal
from types import SimpleNamespace

import pytest
import torch

from components import stage
from components.train_segmentation import TrainSegmentationParams, draw_batch, image_statistics, train_segmentation
from inverseform import inverse_net, networks, weights
from inverseform.boundary import BoundaryParams
from inverseform.data.sample_store import SampleStore
from inverseform.inverse_net import InverseNet
from inverseform.settings import InputError
from inverseform.training import loop
from tests.drawn import CLASSES, sample_store, small_net

DOCUMENT = {
    "network": {
        "name": "hrnet", "boundary_head": True, "boundary_feedback": False,
        "backbone": {"architecture": "hrnet_w18_small_v2", "pretrained": False},
    },
    "augment": {"scale": [0.8, 1.25], "crop": [64, 64], "flip": True, "brightness": 0.2},
    "loss": {
        "segmentation": {"name": "cross_entropy", "class_weights": "equal"}, "beta": 0.3, "gamma": 0.5,
        "gamma_start": 0.0, "gamma_ramp": 0.0, "distance": "euclidean", "boundary_from": "head",
        "boundary_outputs": ["main", "scales"], "debias": False,
    },
    "optimiser": {
        "name": "adamw", "learning_rate": 0.002, "weight_decay": 0.05, "steps": 6, "batch": 4, "warm_up": 1,
        "schedule": "poly", "seed": 1,
    },
}  # fmt: skip
FILES = ("segmenter/weights.safetensors", "segmenter/settings.json", "curves.csv", "metrics.json")


def settings(**sections):
    document = {name: {**section, **sections.get(name, {})} for name, section in DOCUMENT.items()}
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


def test_statistics_of_many_images_are_those_of_some_spread_evenly(made):
    store = SampleStore.open(made.samples)
    some = torch.cat([store.sample("train", index).image.flatten(1) for index in (0, 3)], dim=1).double() / 255
    assert image_statistics(store, most=2)[0] == pytest.approx(some.mean(dim=1).tolist())


def test_training_changes_the_weights_and_nothing_is_left_beside_the_outputs(made):
    torch.manual_seed(1)
    fresh = networks.build(settings().network, num_classes=CLASSES).state_dict()
    trained = networks.load(made.segmenter)[0].state_dict()
    assert all(not torch.equal(tensor, trained[name]) for name, tensor in fresh.items() if tensor.is_floating_point())
    assert sorted(path.name for path in made.folder.iterdir()) == ["curves.csv", "metrics.json", "segmenter"]


def test_a_terminated_run_goes_on_where_it_was_and_gives_the_same_files(made, inputs, tmp_path, monkeypatch, caplog):
    descend, places = loop._descend, paths(tmp_path, inputs)

    def terminated(model, optimiser, total, step):
        descend(model, optimiser, total, step)
        if step == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        patched.setattr(loop, "_descend", terminated)
        stage.run(train_segmentation, settings(), places)
    assert left.value.code == 143
    # Of a stage that was cut off there is its checkpoint and nothing else.
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    done = []
    monkeypatch.setattr(loop, "_descend", lambda *arguments: (done.append(arguments[-1]), descend(*arguments)))
    with caplog.at_level(logging.INFO):
        stage.run(train_segmentation, settings(), places)
    assert done == [3, 4, 5]
    assert "step 6 of 6" in caplog.text
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (made.folder / file).read_bytes(), file


@pytest.mark.parametrize("other", ["settings", "inverse network"])
def test_the_checkpoint_of_another_run_is_not_gone_on_from(inputs, tmp_path, monkeypatch, other):
    descend, places, done = loop._descend, paths(tmp_path, inputs), []
    few = settings(optimiser={"steps": 2, "batch": 2})

    def terminated(model, optimiser, total, step):
        descend(model, optimiser, total, step)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(loop, "_descend", terminated)
        stage.run(train_segmentation, few, places)
    monkeypatch.setattr(loop, "_descend", lambda *arguments: (done.append(arguments[-1]), descend(*arguments)))
    if other == "settings":
        few = settings(optimiser={"steps": 2, "batch": 2, "learning_rate": 0.001})
    else:
        places["inverse_net"] = tmp_path / "another"
        inverse_net.save(places["inverse_net"], small_net(seed=1))
    stage.run(train_segmentation, few, places)
    assert done == [0, 1]


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


def test_a_batch_depends_on_its_step_alone_and_an_epoch_holds_every_sample_once(made):
    store = SampleStore.open(made.samples)
    still = settings(augment={"scale": [1, 1], "crop": [96, 120], "flip": False, "brightness": 0})
    batches = [draw_batch(store, still, step) for step in (0, 1, 2)]
    assert torch.equal(draw_batch(store, still, 1).images, batches[1].images)
    images = [(image, labels) for batch in batches for image, labels in zip(batch.images, batch.labels, strict=True)]
    samples = [store.sample("train", index) for index in range(6)]
    seen = [next(i for i, s in enumerate(samples) if torch.equal(s.image, image)) for image, _ in images]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6)) and seen[:6] != seen[6:]
    assert all(torch.equal(samples[i].labels, labels) for i, (_, labels) in zip(seen, images, strict=True))


def test_the_same_sample_is_augmented_in_another_way_the_next_time(made):
    store = SampleStore.open(made.samples)
    one, other = (draw_batch(store, settings(optimiser={"batch": 6}), step) for step in (0, 1))
    pairs = ((a, b) for a in one.images for b in other.images)
    assert not any(torch.equal(a, b) for a, b in pairs)
