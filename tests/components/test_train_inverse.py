import csv
import json
import pickle
import signal
from types import SimpleNamespace

import pytest
import torch

from components import stage
from components import train_inverse as train_inverse_module
from components.synthesize import SynthesizeParams, synthesize
from components.train_inverse import (
    PairBatches,
    TrainInverseParams,
    _blended,
    _page,
    _predicted,
    _reflected,
    assess,
    train_inverse,
)
from inverseform import inverse_net
from inverseform.data.pair_store import PairStore
from inverseform.degradation import DEGRADATIONS, DegradationParams, degrade
from inverseform.plots import read_curves
from inverseform.probes import probes
from inverseform.settings import InputError
from inverseform.training.batches import Part
from inverseform.training.descent import Descent
from inverseform.transform import offsets
from tests.drawn import sample_store

PAIRS = SynthesizeParams.model_validate_json(json.dumps({
    "source": "random", "tile": 32, "degrees_of_freedom": 4, "identity": 0.1, "occupancy": 0.03,
    "spatial_transformer": {"temperature": 1.0, "steps": 1, "batch": 1, "learning_rate": 0.001}, "predicted": 0.0,
    "probe_tiles": 12,
    "ranges": {"translation": 0.2, "scale": [0.97, 1.03], "rotation": 0, "shear": 0, "perspective": 0.0},
    "train_pairs": 3000, "val_pairs": 300, "pairs_per_sample": 50, "shard_pairs": 2000, "seed": 1, "workers": 2,
}))  # fmt: skip
CLEAN = {
    **dict.fromkeys(DEGRADATIONS, 0), "blurred": 0.5,
    "jitter_pixels": 1.0, "thick_radius": 1, "blur_sigma": 1.0, "clutter": 0.8, "noise": 0.2,
}  # fmt: skip
OPTIMISER = {
    "name": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "steps": 200, "batch": 96, "accumulate": 1,
    "clip": None, "ema": None, "warm_up": 20, "schedule": "cosine", "seed": 1,
}  # fmt: skip


# What a network of these few steps reaches; the real thresholds stand in params.yaml.
GATE = {
    "r2": 0.1, "r2_degraded": 0.1, "identity_ratio": 2.0, "spearman": -1.0, "points_back": 0.6,
    "points_back_degraded": 0.5, "normal_error_pixels": 3.0,
}  # fmt: skip


ANY = {
    **dict.fromkeys(GATE, 0.0), "r2": -1e9, "r2_degraded": -1e9, "spearman": -1.0, "identity_ratio": 1e9,
    "normal_error_pixels": 99.0,
}  # fmt: skip


def settings(gate=(), init="random", network=None, workers=0, **changes):
    document = {
        "init": init, "network": network or {"name": "dense", "pooling": 2, "hidden": [192, 64]},
        "degradation": CLEAN, "blended": 0.0,
        "gate": GATE | dict(gate), "optimiser": {**OPTIMISER, **changes},
        "machine": {"precision": "32-true", "channels_last": False, "compile": False, "workers": workers},
    }  # fmt: skip
    return TrainInverseParams.model_validate_json(json.dumps(document))


def paths(folder, pairs):
    outputs = {"inverse_net": "inverse_net", "metrics": "metrics.json", "curves": "curves.csv", "report": "report.html"}
    scratch = folder / "checkpoints" / "train_inverse"
    return {"pairs": pairs, "checkpoints": scratch, **{name: folder / file for name, file in outputs.items()}}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Pairs of drawn scenes; those of val are of other scenes than those of train."""
    folder = tmp_path_factory.mktemp("pairs")
    sample_store(folder / "samples", train=40, val=6)
    stage.run(
        synthesize, PAIRS, {"samples": folder / "samples", "pairs": folder / "pairs", "checkpoints": folder / "c"}
    )
    return folder / "pairs"


@pytest.fixture(scope="module")
def made(pairs, tmp_path_factory):
    places = paths(tmp_path_factory.mktemp("train_inverse"), pairs)
    report = stage.run(train_inverse, settings(), places)
    return SimpleNamespace(**places, told=report, figures=json.loads(places["metrics"].read_text()))


def test_it_learns_shifts_that_it_can_tell_on_images_it_has_not_seen(made):
    _, _, right, down = made.figures["r2_each"]
    assert right > 0.3 and down > 0.3
    assert made.figures["r2"] == pytest.approx(sum(made.figures["r2_each"]) / 4)


def test_its_distance_grows_with_the_shift_and_is_zero_for_equal_tiles(made):
    grown = list(made.figures["distance_by_shift"].values())
    assert made.figures["distance_of_identity_calibrated"] < 1e-6 < grown[0] < grown[2]
    assert made.figures["probe_tiles"] == PAIRS.probe_tiles
    assert made.figures["points_back"] > 0.8
    assert made.figures["spearman_shift"] > 0.2


def test_the_network_is_not_yet_calibrated_and_says_by_how_much(made):
    net, moves = inverse_net.load(made.inverse_net), len(probes(32))
    tiles = torch.cat([batch.tile for batch in PairStore(made.pairs, "probe").all()])[::moves].float()
    with torch.no_grad():
        theta = net.theta(net(tiles, tiles))
    slow = torch.stack([(t - torch.eye(3)).square().sum().sqrt() for t in theta]).mean()
    assert made.figures["distance_of_identity"] == pytest.approx(slow.item(), rel=1e-4)
    assert 0 < slow


def test_the_figures_are_those_of_the_network_that_was_saved(made):
    stores = (PairStore(made.pairs, split) for split in ("val", "probe"))
    again = assess(inverse_net.load(made.inverse_net), *stores, settings().degradation)
    assert json.loads(json.dumps(again)) == made.figures
    assert {name: value for name, value in made.told.items() if name != "seconds"} == made.figures


def test_the_network_knows_how_its_pairs_were_made(made):
    net, store = inverse_net.load(made.inverse_net), PairStore(made.pairs, "train")
    numbers = offsets(store.theta(), 4).double()
    assert net.settings.mean == pytest.approx(numbers.mean(dim=0).tolist())
    assert net.settings.scale == pytest.approx(numbers.std(dim=0, correction=0).tolist())
    assert (net.settings.tile, net.settings.degrees_of_freedom, net.settings.occupancy) == (32, 4, 0.03)
    assert net.settings.ranges == PAIRS.ranges
    assert net.settings.boundary.model_dump() == {"operator": "sobel", "radius": 1}


def test_the_report_tells_the_figures_and_shows_the_network_that_was_saved(made):
    page = made.report.read_text()
    assert "The gate is passed:" in page and f"<td>{made.figures['r2']:.3f}<small>at least" in page
    stores = {split: PairStore(made.pairs, split) for split in ("train", "val", "probe")}
    again = _page(inverse_net.load(made.inverse_net), stores, settings(), made.figures, read_curves(made.curves))
    assert again == page


def test_the_curve_falls_and_the_checkpoints_are_gone(made):
    with made.curves.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["step", "total"] and rows[-1]["step"] == "200"
    assert float(rows[-1]["total"]) < 0.7 * float(rows[0]["total"])
    left = {path.name for path in made.curves.parent.iterdir()}
    assert (
        left - {"checkpoints"} == {"curves.csv", "inverse_net", "metrics.json", "report.html"}
        and not made.checkpoints.exists()
    )


def test_a_run_in_parts_gives_the_same_files(pairs, tmp_path, monkeypatch):
    few = settings(gate=ANY, steps=8, batch=16)
    whole, parts = (paths(tmp_path / name, pairs) for name in ("whole", "parts"))
    stage.run(train_inverse, few, whole)
    for stop in (2, 5):
        with monkeypatch.context() as patched:
            patched.setattr(Descent, "descend", terminated_at(stop, Descent.descend))
            with pytest.raises(SystemExit):
                stage.run(train_inverse, few, parts)
        assert not any(parts[name].exists() for name in ("inverse_net", "metrics", "curves", "report"))
    stage.run(train_inverse, few, parts)
    files = ("inverse_net/weights.safetensors", "inverse_net/settings.json", "metrics.json", "curves.csv")
    for file in files:
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def terminated_at(stop, descend):
    def wrapped(descent, step, norm):
        descend(descent, step, norm)
        if step == stop:
            signal.raise_signal(signal.SIGTERM)

    return wrapped


def test_workers_and_a_pickled_loader_give_the_same_pairs(pairs, tmp_path):
    # Micro-batches that no row group and no epoch of 3000 pairs divides.
    loader = PairBatches(pairs, seed=3)
    store, again = PairStore(pairs, "train"), pickle.loads(pickle.dumps(loader))
    for step in (0, 31):
        whole = store.batch(step, 96, seed=3)
        parts = [
            each(Part(step, first, 24, 96 * step + first)) for first in range(0, 96, 24) for each in (loader, again)
        ]
        assert all(torch.equal(a.warped, b.warped) for a, b in zip(parts[::2], parts[1::2], strict=True))
        assert torch.equal(torch.cat([part.theta for part in parts[::2]]), whole.theta)
        assert torch.equal(torch.cat([part.seed for part in parts[::2]]), whole.seed)
    for workers in (0, 2):
        few = settings(gate=ANY, steps=3, batch=16, accumulate=2, workers=workers)
        stage.run(train_inverse, few, paths(tmp_path / str(workers), pairs))
    files = ("inverse_net/weights.safetensors", "metrics.json", "curves.csv")
    assert all((tmp_path / "0" / file).read_bytes() == (tmp_path / "2" / file).read_bytes() for file in files)


@pytest.mark.parametrize(
    ("changes", "told"), [({"scale": (1.0, 1.0)}, "number 0 of 4"), ({"translation": 0.0}, "of 4")]
)
def test_transforms_that_never_vary_are_refused(tmp_path, changes, told):
    sample_store(tmp_path / "samples", train=2, val=1)
    ranges = PAIRS.ranges.model_copy(update=changes)
    few = PAIRS.model_copy(update={"ranges": ranges, "train_pairs": 50, "val_pairs": 10})
    made = {"samples": tmp_path / "samples", "pairs": tmp_path / "pairs", "checkpoints": tmp_path / "parts"}
    stage.run(synthesize, few, made)
    places = paths(tmp_path, tmp_path / "pairs")
    with pytest.raises(InputError, match=rf"synthesize\.ranges .*{told} never varies.*widen the ranges"):
        stage.run(train_inverse, settings(), places)
    assert not places["inverse_net"].exists()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_is_refused(pairs, tmp_path, precision):
    single = settings()
    mixed = single.model_copy(update={"machine": single.machine.model_copy(update={"precision": precision})})
    with pytest.raises(InputError, match=rf"machine\.precision is {precision}: .* set it to 32-true"):
        stage.run(train_inverse, mixed, paths(tmp_path, pairs))


def test_a_network_that_cannot_pool_its_tiles_is_refused(pairs, tmp_path):
    seven = settings().network.model_copy(update={"pooling": 7})
    with pytest.raises(InputError, match=r"tile is 32 and network\.pooling 7"):
        stage.run(train_inverse, settings().model_copy(update={"network": seven}), paths(tmp_path, pairs))


def test_how_pairs_are_degraded_does_not_change_the_figures_on_hard_ones(made):
    net, stores = inverse_net.load(made.inverse_net), [PairStore(made.pairs, split) for split in ("val", "probe")]
    harder = DegradationParams(**{**CLEAN, **dict.fromkeys(("missing", "thick", "blurred", "faint", "noisy"), 1.0)})
    figures = assess(net, *stores, harder)
    assert figures["r2_each"] == made.figures["r2_each"]
    assert figures["points_back"] == made.figures["points_back"]
    assert figures["r2_degraded"] < made.figures["r2_degraded"]


def test_below_the_gate_nothing_is_written_every_miss_is_told_and_a_lower_gate_need_not_train_again(
    pairs, tmp_path, monkeypatch
):
    places = paths(tmp_path, pairs)
    strict = {"r2": 0.99, "points_back": 1.0, "normal_error_pixels": 0.0}
    with pytest.raises(InputError) as refused:
        stage.run(train_inverse, settings(gate=ANY | strict, steps=8, batch=16), places)
    told = str(refused.value)
    for metric, threshold in strict.items():
        bound = "most" if metric == "normal_error_pixels" else "least"
        assert f"\n- {metric} is " in told and f"at {bound} {threshold:g} is asked: train longer" in told
    assert told.count("\n- ") == 3
    # No file is written, so the message holds what was not missed as well.
    assert "r2_degraded " in told and "spearman_shear " in told
    assert not any(places[name].exists() for name in ("inverse_net", "metrics", "curves", "report"))
    assert [path.name for path in places["checkpoints"].iterdir()] == ["step-000000008"]

    def no_step(*arguments):
        raise AssertionError("it trained again")

    with monkeypatch.context() as patched:
        patched.setattr(Descent, "descend", no_step)
        stage.run(train_inverse, settings(gate=ANY, steps=8, batch=16), places)
    assert places["metrics"].exists() and not places["checkpoints"].exists()
    whole = paths(tmp_path / "whole", pairs)
    stage.run(train_inverse, settings(gate=ANY, steps=8, batch=16), whole)
    for file in ("inverse_net/weights.safetensors", "metrics.json", "curves.csv", "report.html"):
        assert (tmp_path / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_training_from_the_network_of_the_package_begins_there_and_keeps_its_units(made, tmp_path, monkeypatch):
    before = inverse_net.load(made.inverse_net)
    moved = before.settings.model_copy(update={"mean": (0.5, 0.5, 0.5, 0.5)})
    package = inverse_net.InverseNet(moved)
    package.load_state_dict(before.state_dict())
    inverse_net.save(tmp_path / "package", package)
    monkeypatch.setattr(inverse_net, "PRETRAINED", tmp_path / "package")
    places = paths(tmp_path, made.pairs)
    still = {"learning_rate": 1e-9, "steps": 1, "batch": 8}
    stage.run(train_inverse, settings(gate=ANY, init="pretrained", **still), places)
    after = inverse_net.load(places["inverse_net"])
    for old, new in zip(before.state_dict().values(), after.state_dict().values(), strict=True):
        assert torch.allclose(old, new, atol=1e-6)
    assert after.settings.mean == (0.5, 0.5, 0.5, 0.5)


def test_a_network_of_the_package_that_does_not_fit_is_refused_with_what_to_type(made, tmp_path, monkeypatch):
    monkeypatch.setattr(inverse_net, "PRETRAINED", made.inverse_net)
    other = settings(init="pretrained", network={"name": "dense", "pooling": 2, "hidden": [192, 32]})
    with pytest.raises(InputError, match=r"train_inverse\.network .*\[192, 32\].* has .*\[192, 64\].*init to random"):
        stage.run(train_inverse, other, paths(tmp_path, made.pairs))


def test_real_predictions_stand_for_their_tiles_and_are_reflected_with_them(tmp_path):
    sample_store(tmp_path / "samples", train=2, val=1, predicted=0.6)
    update = {"predicted": 0.5, "train_pairs": 60, "val_pairs": 10, "probe_tiles": 1}
    stage.run(
        synthesize,
        PAIRS.model_copy(update=update),
        {"samples": tmp_path / "samples", "pairs": tmp_path / "pairs", "checkpoints": tmp_path / "parts"},
    )
    batch = next(PairStore(tmp_path / "pairs", "train").all())
    assert 0 < batch.soft.sum() < 60
    for some in (batch, _reflected(batch)):
        predicted = _predicted(some, settings().degradation)
        assert torch.allclose(predicted[batch.soft], 0.6 * some.warped[batch.soft].float(), atol=0.005)
        hard = degrade(some.warped.float(), some.seed, settings().degradation)
        assert torch.equal(predicted[~batch.soft], hard[~batch.soft])
    assert not torch.equal(_reflected(batch).prediction, batch.prediction)


def test_a_blended_prediction_lies_between_the_moved_one_and_the_unmoved(made):
    batch = next(PairStore(made.pairs, "train").all())
    predicted, left = _blended(batch, settings().model_copy(update={"blended": 0.7}))
    tile, warped = (degrade(maps.float(), batch.seed, settings().degradation) for maps in (batch.tile, batch.warped))
    assert torch.allclose(predicted, tile + left[..., None] * (warped - tile), atol=1e-6)
    assert (left == 1).any() and (left < 0.5).any()
    whole, all_of_it = _blended(batch, settings())
    assert torch.equal(whole, warped) and (all_of_it == 1).all()


def test_probes_of_another_version_are_refused(made, monkeypatch):
    net, stores = inverse_net.load(made.inverse_net), [PairStore(made.pairs, split) for split in ("val", "probe")]
    monkeypatch.setattr(train_inverse_module, "probes", lambda tile: probes(tile)[::-1])
    with pytest.raises(InputError, match=r"probes are not those of this version.*run `dvc repro synthesize`"):
        assess(net, *stores, settings().degradation)
