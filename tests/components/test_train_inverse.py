import csv
import json
import signal
from types import SimpleNamespace

import pytest
import torch

from components import stage
from components.synthesize import SynthesizeParams, synthesize
from components.train_inverse import TrainInverseParams, assess, train_inverse
from inverseform import inverse_net
from inverseform.data.pair_store import PairStore
from inverseform.pairs import DegradationParams
from inverseform.settings import InputError
from inverseform.training import loop
from inverseform.transform import offsets
from tests.drawn import sample_store

PAIRS = SynthesizeParams.model_validate_json(json.dumps({
    "source": "random", "tile": 32, "degrees_of_freedom": 4, "identity": 0.1, "occupancy": 0.03,
    "ranges": {"translation": 0.2, "scale": [0.97, 1.03], "rotation": 0, "shear": 0},
    "train_pairs": 6000, "val_pairs": 300, "pairs_per_sample": 50, "shard_pairs": 2000, "seed": 1, "workers": 2,
}))  # fmt: skip
CLEAN = {"missing": 0, "thick": 0, "blurred": 0.5, "blur_sigma": 1.0, "faint": 0, "noisy": 0}
OPTIMISER = {
    "name": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "steps": 300, "batch": 128, "warm_up": 20,
    "schedule": "cosine", "seed": 1,
}  # fmt: skip


def settings(**changes):
    network = {"name": "dense", "pooling": 2, "hidden": [192, 64]}
    document = {"network": network, "degradation": CLEAN, "optimiser": {**OPTIMISER, **changes}}
    return TrainInverseParams.model_validate_json(json.dumps(document))


def paths(folder, pairs):
    outputs = {"inverse_net": "inverse_net", "metrics": "metrics.json", "curves": "curves.csv"}
    scratch = folder / "checkpoints" / "train_inverse"
    return {"pairs": pairs, "checkpoints": scratch, **{name: folder / file for name, file in outputs.items()}}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of drawn scenes; those of val are of other scenes than those of train."""
    folder = tmp_path_factory.mktemp("pairs")
    sample_store(folder / "samples", train=40, val=6)
    stage.run(synthesize, PAIRS, {"samples": folder / "samples", "pairs": folder / "pairs"})
    return folder / "pairs"


@pytest.fixture(scope="module")
def made(pairs, tmp_path_factory):
    places = paths(tmp_path_factory.mktemp("train_inverse"), pairs)
    report = stage.run(train_inverse, settings(), places)
    return SimpleNamespace(**places, report=report, figures=json.loads(places["metrics"].read_text()))


def test_it_learns_shifts_that_it_can_tell_on_images_it_has_not_seen(made):
    _, _, right, down = made.figures["r2_each"]
    assert right > 0.3 and down > 0.3
    assert made.figures["r2"] == pytest.approx(sum(made.figures["r2_each"]) / 4)


def test_its_distance_grows_with_the_shift(made):
    grown = list(made.figures["distance_by_shift"].values())
    assert grown[0] < 1e-6 < grown[1] < grown[-1]
    assert {f"distance_by_{move}" for move in ("shift", "scale", "rotation")} < set(made.figures)


def test_the_distance_of_a_tile_from_itself_is_told_as_the_network_answers(made):
    net, held_out = inverse_net.load(made.inverse_net), PairStore(made.pairs, "val")
    tiles = torch.cat([batch.tile for batch in held_out.all()]).float()
    with torch.no_grad():
        theta = net.theta(net(tiles, tiles))
    slow = torch.stack([(t - torch.eye(3)).square().sum().sqrt() for t in theta]).mean()
    assert made.figures["distance_of_identity"] == pytest.approx(slow.item(), rel=1e-4)
    assert 0 < slow


def test_the_figures_are_those_of_the_network_that_was_saved(made):
    again = assess(inverse_net.load(made.inverse_net), PairStore(made.pairs, "val"), settings().degradation)
    assert json.loads(json.dumps(again)) == made.figures
    assert {name: value for name, value in made.report.items() if name != "seconds"} == made.figures


def test_the_network_knows_how_its_pairs_were_made(made):
    net, store = inverse_net.load(made.inverse_net), PairStore(made.pairs, "train")
    numbers = offsets(store.theta(), 4).double()
    assert net.settings.mean == pytest.approx(numbers.mean(dim=0).tolist())
    assert net.settings.scale == pytest.approx(numbers.std(dim=0, correction=0).tolist())
    assert (net.settings.tile, net.settings.degrees_of_freedom, net.settings.occupancy) == (32, 4, 0.03)
    assert net.settings.ranges == PAIRS.ranges
    assert net.settings.boundary.model_dump() == {"operator": "sobel", "radius": 1}


def test_the_curve_falls_and_the_checkpoints_are_gone(made):
    with made.curves.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "total"] and rows[-1]["step"] == "300"
    assert float(rows[-1]["total"]) < 0.7 * float(rows[0]["total"])
    left = {path.name for path in made.curves.parent.iterdir()}
    assert left - {"checkpoints"} == {"curves.csv", "inverse_net", "metrics.json"} and not made.checkpoints.exists()


def test_a_run_in_parts_gives_the_same_files(pairs, tmp_path, monkeypatch):
    few = settings(steps=8, batch=16)
    whole, parts = (paths(tmp_path / name, pairs) for name in ("whole", "parts"))
    stage.run(train_inverse, few, whole)
    for stop in (2, 5):
        with monkeypatch.context() as patched:
            patched.setattr(loop, "_descend", terminated_at(stop, loop._descend))
            with pytest.raises(SystemExit):
                stage.run(train_inverse, few, parts)
        assert not any(parts[name].exists() for name in ("inverse_net", "metrics", "curves"))
    stage.run(train_inverse, few, parts)
    files = ("inverse_net/weights.safetensors", "inverse_net/settings.json", "metrics.json", "curves.csv")
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def terminated_at(stop, descend):
    def wrapped(model, optimiser, total, step):
        descend(model, optimiser, total, step)
        if step == stop:
            signal.raise_signal(signal.SIGTERM)

    return wrapped


@pytest.mark.parametrize(
    ("changes", "told"), [({"scale": (1.0, 1.0)}, "number 0 of 4"), ({"translation": 0.0}, "of 4")]
)
def test_transforms_that_never_vary_are_refused(tmp_path, changes, told):
    sample_store(tmp_path / "samples", train=2, val=1)
    ranges = PAIRS.ranges.model_copy(update=changes)
    few = PAIRS.model_copy(update={"ranges": ranges, "train_pairs": 50, "val_pairs": 10})
    stage.run(synthesize, few, {"samples": tmp_path / "samples", "pairs": tmp_path / "pairs"})
    places = paths(tmp_path, tmp_path / "pairs")
    with pytest.raises(InputError, match=rf"synthesize\.ranges .*{told} never varies.*widen the ranges"):
        stage.run(train_inverse, settings(), places)
    assert not places["inverse_net"].exists()


def test_a_network_that_cannot_pool_its_tiles_is_refused(pairs, tmp_path):
    seven = settings().network.model_copy(update={"pooling": 7})
    with pytest.raises(InputError, match=r"tile is 32 and network\.pooling 7"):
        stage.run(train_inverse, settings().model_copy(update={"network": seven}), paths(tmp_path, pairs))


def test_how_pairs_are_degraded_does_not_change_the_figures_on_hard_ones(made):
    net, held_out = inverse_net.load(made.inverse_net), PairStore(made.pairs, "val")
    harder = DegradationParams(missing=1.0, thick=1.0, blurred=1.0, blur_sigma=2.0, faint=1.0, noisy=1.0)
    figures = assess(net, held_out, harder)
    assert figures["r2_each"] == made.figures["r2_each"]
    assert figures["r2_degraded"] < made.figures["r2_degraded"]
