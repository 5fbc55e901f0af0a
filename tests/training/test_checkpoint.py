import logging

import pytest
import torch
from torch import nn

from inverseform.training import checkpoint
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.optimiser import OptimiserParams, build

CURVE = {"rows": [{"step": 1, "total": 0.1 + 0.2}, {"step": 2, "total": 1e-300}], "sums": {"total": 1 / 3}}


def model_and_optimiser(name="adamw", seed=0, width=3):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Linear(width, 2))
    params = OptimiserParams(
        name=name, learning_rate=0.05, weight_decay=0.01, steps=9, batch=1, warm_up=0, schedule="poly", seed=1
    )
    return model, build(params, model.parameters())


def advance(model, optimiser, steps):
    for step in steps:
        torch.manual_seed(step)
        optimiser.zero_grad()
        model(torch.randn(5, 4)).square().mean().backward()
        optimiser.step()


def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "run", fingerprint("this run"))


def saved(place, *, steps=3, name="adamw"):
    model, optimiser = model_and_optimiser(name)
    advance(model, optimiser, range(steps))
    checkpoint.save(place, model, optimiser, step=steps, curve=CURVE)
    return model, optimiser


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(place, name):
    model, optimiser = saved(place, name=name)
    other, its_optimiser = model_and_optimiser(name, seed=9)
    assert checkpoint.resume(place, other, its_optimiser) == (3, CURVE)
    assert same(model, other)
    advance(model, optimiser, range(3, 8))
    advance(other, its_optimiser, range(3, 8))
    assert same(model, other)


def test_where_nothing_was_left_a_run_begins(place):
    model, optimiser = model_and_optimiser()
    assert checkpoint.resume(place, model, optimiser) == (0, {})
    place.folder.mkdir()
    assert checkpoint.resume(place, model, optimiser) == (0, {})
    assert same(model, model_and_optimiser()[0])


def test_the_checkpoint_of_another_run_is_not_used_and_it_is_said(place, caplog):
    saved(place._replace(run=fingerprint("another")))
    fresh, optimiser = model_and_optimiser(seed=9)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.resume(place, fresh, optimiser) == (0, {})
    assert same(fresh, model_and_optimiser(seed=9)[0])
    assert "other settings" in caplog.text


def test_one_for_another_network_leaves_the_network_as_it_is(place, caplog):
    saved(place)
    fresh, optimiser = model_and_optimiser(seed=9, width=5)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.resume(place, fresh, optimiser) == (0, {})
    assert same(fresh, model_and_optimiser(seed=9, width=5)[0])


@pytest.mark.parametrize("file", ["weights.safetensors", "settings.json"])
@pytest.mark.parametrize("left", [0, 0.5, None])
def test_a_damaged_checkpoint_stops_no_run(place, caplog, file, left):
    saved(place)
    path = place.folder / "step-000000003" / file
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    fresh, optimiser = model_and_optimiser(seed=9)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.resume(place, fresh, optimiser) == (0, {})
    assert same(fresh, model_and_optimiser(seed=9)[0])
    assert "step-000000003 is damaged" in caplog.text
    assert saved(place) and checkpoint.resume(place, fresh, optimiser)[0] == 3


def test_the_newest_whole_one_counts(place):
    """A run killed between the writing of one checkpoint and the removal of the one before leaves two."""
    saved(place, steps=3)
    (place.folder / "step-000000003").rename(place.folder / "kept")
    model, _ = saved(place, steps=12)
    (place.folder / "kept").rename(place.folder / "step-000000003")
    fresh, optimiser = model_and_optimiser(seed=9)
    assert checkpoint.resume(place, fresh, optimiser)[0] == 12
    assert same(model, fresh)
    (place.folder / "step-000000012" / "settings.json").unlink()
    assert checkpoint.resume(place, fresh, optimiser)[0] == 3


def test_only_the_last_one_is_kept_and_nothing_half_written(place):
    half_written = place.folder / ".partial.step-000000002"
    half_written.mkdir(parents=True)
    (half_written / "weights.safetensors").write_bytes(b"cut")
    fresh, optimiser = model_and_optimiser(seed=9)
    assert checkpoint.resume(place, fresh, optimiser) == (0, {})
    saved(place, steps=1)
    saved(place, steps=4)
    assert [path.name for path in place.folder.iterdir()] == ["step-000000004"]
    assert [path.name for path in place.folder.parent.iterdir()] == ["run"]


def test_fingerprints_tell_settings_apart_whatever_their_order():
    assert fingerprint("a", {"x": 1, "y": 2.0}) == fingerprint("a", {"y": 2.0, "x": 1})
    assert len({fingerprint("a", {"x": 1}), fingerprint("a", {"x": 2}), fingerprint("b", {"x": 1})}) == 3
