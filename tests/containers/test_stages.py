"""Each of the six stages alone in its container, shut in: what it writes is whole, and is read outside."""

import json

import numpy as np
import pytest
import torch

from inverseform import inverse_net, networks, weights
from inverseform.data.pair_store import PairStore
from inverseform.data.sample_store import SampleStore
from inverseform.inference import OnnxSegmenter
from tests.containers.sandbox import STAGES, written


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_leaves_its_outputs_and_nothing_beside_them(stages, stage):
    out = stages[stage].out
    assert sorted(path.name for path in out.iterdir()) == sorted(written(stage, "output"))
    assert {path.stat().st_uid for path in out.rglob("*")} == {10001}


def test_ingest_writes_samples_of_which_every_checksum_holds(stages):
    store = SampleStore.open(stages["ingest"].out / "samples", verify=True)
    assert store.info.counts == {"train": 12, "val": 4, "test": 4}
    sample = store.sample("test", 3)
    assert sample.image.shape == (3, 96, 128) and sample.boundary.any()


def test_synthesize_writes_pairs_that_differ_by_their_transforms(stages):
    folder = stages["synthesize"].out / "pairs"
    store = PairStore(folder, "train")
    batch = store.batch(0, 64, seed=1)
    assert len(store.theta()) == 512 and batch.tile.shape == (64, 32, 32)
    moved = (batch.tile != batch.warped).flatten(1).any(1)
    assert moved.float().mean() > 0.8 and batch.tile.flatten(1).any(1).all()


def test_train_inverse_writes_a_network_that_answers(stages):
    out = stages["train_inverse"].out
    net = inverse_net.load(out / "inverse_net")
    tiles = PairStore(stages["synthesize"].out / "pairs", "val").batch(0, 8, seed=1)
    with torch.no_grad():
        answer = net.eval()(tiles.warped.float(), tiles.tile.float())
    assert answer.shape == (8, 6) and answer.isfinite().all()
    assert json.loads((out / "metrics").read_text()).keys() >= {"r2", "r2_degraded"}
    assert "<svg" in (out / "report").read_text()


def test_train_segmentation_writes_a_network_that_knows_its_classes_and_its_inverse_network(stages):
    out = stages["train_segmentation"].out
    network, card = networks.load(out / "segmenter")
    assert card.inverse_net == weights.digest(stages["train_inverse"].out / "inverse_net")
    with torch.no_grad():
        scores = network.eval()(torch.zeros(1, 3, 64, 64)).segmentation
    assert scores.shape[1] == len(card.classes) and scores.isfinite().all()
    assert (out / "curves").read_text().count("\n") >= 2


def test_evaluate_judges_the_network_that_was_trained(stages):
    out = stages["evaluate"].out
    gate, metrics = (json.loads((out / name).read_text()) for name in ("gate", "metrics"))
    assert gate["passed"] and gate["segmenter"] == weights.digest(stages["train_segmentation"].out / "segmenter")
    assert 0 <= metrics["miou"] <= 1 and metrics["images"] == 4
    assert "</html>" in (out / "report").read_text()


def test_export_writes_a_network_that_predicts_as_torch_does(stages):
    out = stages["export"].out
    segmenter = OnnxSegmenter(out / "onnx")
    network, card = networks.load(stages["train_segmentation"].out / "segmenter")
    image = SampleStore.open(stages["ingest"].out / "samples").sample("test", 0).image
    with torch.no_grad():
        pixels = networks.normalise(image[None], mean=card.mean, std=card.std)
        theirs = network.eval().without_boundary_head()(pixels).segmentation.argmax(1)[0]
    ours = segmenter(image.numpy())
    assert np.mean(ours == theirs.numpy()) > 0.999
    assert card.classes[0] in (out / "card").read_text()
