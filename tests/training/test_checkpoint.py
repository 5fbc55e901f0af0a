import json
import logging

import pytest
import torch

from inverseform.settings import InputError
from inverseform.training import checkpoint
from inverseform.training.checkpoint import Checkpoint, Place, differences, fingerprint

SETTINGS = {"optimiser": {"learning_rate": 0.002, "steps": 9}, "network": {"name": "hrnet", "scales": [0.5, 1.0]}}
FACTS = {"curve": {"rows": [{"step": 1, "total": 0.1 + 0.2}, {"step": 2, "total": 1e-300}]}, "best": None}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "run", SETTINGS, {"samples": "12ab", "inverse_net": "99"})


def drawn(step):
    generator = torch.Generator().manual_seed(step)
    model = {"0.weight": torch.randn(3, 2, generator=generator), "0.count": torch.tensor(step)}
    return Checkpoint(step, {"model": model, "optimiser": {"0.step": torch.tensor(3.0)}}, FACTS)


def saved(place, step=3):
    checkpoint.save(place, drawn(step))
    return drawn(step)


def same(one, other):
    assert (one.step, one.facts, list(one.tensors)) == (other.step, other.facts, list(other.tensors))
    for owner, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[owner].keys()
        assert all(torch.equal(tensor, other.tensors[owner][name]) for name, tensor in tensors.items())


def test_what_is_found_is_what_was_saved_bit_for_bit(place):
    written = saved(place)
    same(checkpoint.find(place), written)


def test_where_nothing_was_left_nothing_is_found(place):
    assert checkpoint.find(place) is None
    place.folder.mkdir()
    assert checkpoint.find(place) is None


def test_one_of_another_run_is_refused_with_all_that_differs_and_what_to_type(place):
    saved(place)
    other = {"optimiser": {"learning_rate": 0.001, "steps": 9, "clip": None}, "network": {"name": "hrnet"}}
    with pytest.raises(InputError) as refused:
        checkpoint.find(Place(place.folder, other, {"samples": "34cd", "inverse_net": "99"}))
    first, *lines, last = str(refused.value).splitlines()
    assert first == f"{place.folder}: holds step 3 of an unfinished run with other settings or inputs:"
    assert lines == [
        "- optimiser.learning_rate: 0.002 in the checkpoint, 0.001 now",
        "- optimiser.clip: absent in the checkpoint, null now",
        "- network.scales: [0.5, 1.0] in the checkpoint, absent now",
        '- input samples: "12ab" in the checkpoint, "34cd" now',
    ]
    assert "Set them back" in last and last.endswith(f"rm -r {place.folder}")
    assert place.folder.exists()


def test_settings_that_went_through_json_are_the_same(place):
    saved(place)
    assert checkpoint.find(place._replace(settings=json.loads(json.dumps(SETTINGS)))) is not None


def test_an_empty_part_of_the_settings_is_not_one_that_is_absent():
    assert differences({"a": {}}, {"a": {}}) == []
    assert differences({"a": {}}, {}) == ["a: {} in the checkpoint, absent now"]


@pytest.mark.parametrize("file", ["weights.safetensors", "settings.json"])
@pytest.mark.parametrize("left", [0, 0.5, None])
def test_a_damaged_checkpoint_stops_no_run(place, caplog, file, left):
    saved(place)
    path = place.folder / "step-000000003" / file
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(left * path.stat().st_size)])
    with caplog.at_level(logging.WARNING):
        assert checkpoint.find(place) is None
    assert "step-000000003 is damaged" in caplog.text
    assert saved(place) and checkpoint.find(place).step == 3


def test_the_newest_whole_one_counts(place):
    """A run killed between the writing of one checkpoint and the removal of the one before leaves two."""
    saved(place, 3)
    (place.folder / "step-000000003").rename(place.folder / "kept")
    last = saved(place, 12)
    (place.folder / "kept").rename(place.folder / "step-000000003")
    same(checkpoint.find(place), last)
    (place.folder / "step-000000012" / "settings.json").unlink()
    assert checkpoint.find(place).step == 3


def test_only_the_last_one_is_kept_and_nothing_half_written(place):
    half_written = place.folder / ".partial.step-000000002"
    half_written.mkdir(parents=True)
    (half_written / "weights.safetensors").write_bytes(b"cut")
    assert checkpoint.find(place) is None
    saved(place, 1)
    saved(place, 4)
    assert [path.name for path in place.folder.iterdir()] == ["step-000000004"]
    assert [path.name for path in place.folder.parent.iterdir()] == ["run"]


def test_fingerprints_tell_settings_apart_whatever_their_order():
    assert fingerprint("a", {"x": 1, "y": 2.0}) == fingerprint("a", {"y": 2.0, "x": 1})
    assert len({fingerprint("a", {"x": 1}), fingerprint("a", {"x": 2}), fingerprint("b", {"x": 1})}) == 3


def test_a_checkpoint_that_lacks_a_key_is_damaged(place, caplog):
    saved(place)
    path = place.folder / "step-000000003" / "settings.json"
    path.write_text(path.read_text().replace('"facts"', '"fact"'))
    with caplog.at_level(logging.WARNING):
        assert checkpoint.find(place) is None
    assert "damaged and not used (it has no facts)" in caplog.text
