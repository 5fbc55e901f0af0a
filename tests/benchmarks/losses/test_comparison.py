import json
from unittest import mock

import pytest

from benchmarks.losses.arms import Trial, arms
from benchmarks.losses.comparison import contents
from benchmarks.losses.ledger import Ledger
from inverseform.data.packed_map import pack
from inverseform.data.sample_store import SampleStore
from inverseform.data.stored_sample import decoded
from inverseform.settings import InputError
from tests.benchmarks.losses.small import SETTINGS, comparison
from tests.drawn import sample_store

ALL = arms()


def known(*names):
    """Some losses, with two trials each: what is tested here does not depend on their number."""
    return {name: ALL[name]._replace(grid=ALL[name].grid[:2]) for name in names}


FEW = known("cross_entropy", "boundary_head", "inverseform_euclidean_head")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder in which three losses were tuned, and run with two seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    made = comparison(folder, FEW)
    made.tune(FEW)
    made.compare(FEW, split="val", least=2, most=2, width=0.0)
    return folder, made


def test_trials_are_chosen_on_val_by_their_score_with_seeds_of_their_own(done):
    _, made = done
    rows = made.ledger.rows()
    trials = [row for row in rows if row["kind"] == "trial"]
    assert {(row["split"], row["seed"]) for row in trials} == {("val", 1001)}
    assert [sum(row["loss"] == name for row in trials) for name in FEW] == [1, 2, 2]
    for choice in (row for row in rows if row["kind"] == "choice"):
        scores = {json.dumps(row["trial"]): row["mba"] for row in trials if row["loss"] == choice["loss"]}
        assert scores[json.dumps(choice["trial"])] == max(scores.values())
        assert {json.dumps({k: v for k, v in t.items() if k != "score"}) for t in choice["trials"]} == set(scores)
        assert made.chosen(choice["loss"]) == Trial.model_validate(choice["trial"])
    # What was chosen for boundary cross entropy stands under InverseForm.
    beneath = made.chosen("boundary_head").weight
    assert beneath and {t["trial"]["beta"] for t in trials if t["loss"] == "inverseform_euclidean_head"} == {beneath}


def test_runs_are_seed_by_seed_with_the_chosen_trials_and_all_that_is_asked_of_a_row(done):
    _, made = done
    rows = [row for row in made.ledger.rows() if row["kind"] == "score"]
    assert [(row["seed"], row["loss"]) for row in rows] == [(seed, name) for seed in (1, 2) for name in FEW]
    for row in rows:
        assert row["trial"] == made.chosen(row["loss"]).model_dump()
        assert row["settings"]["finetune"]["steps"] == 2 and row["settings"]["data"] == made.data
        assert 0 < row["mba"] < 1 and 0 < row["miou"] < 1 and row["seconds_per_step"] > 0
        assert row["torch"] and row["machine"] and row["mode"] == "finetune" and row["split"] == "val"
    assert len({row["fingerprint"] for row in rows}) == 6 and len({row["setting"] for row in rows}) == 1
    assert len({row["mba"] for row in rows}) > 2


def test_what_the_ledger_has_is_not_run_again_and_what_it_lost_comes_back_the_same(done, tmp_path):
    folder, made = done
    path = made.ledger.path
    before = path.read_text()
    again = comparison(folder, FEW)
    again.tune(FEW)
    again.compare(FEW, split="val", least=2, most=2, width=0.0)
    assert path.read_text() == before
    # A run that was killed while it wrote its row, with the weights of its base on the disk or not.
    lines = before.splitlines(keepends=True)
    again.ledger = Ledger(tmp_path / "torn.jsonl")
    again.ledger.path.write_text("".join(lines[:-1]) + lines[-1][:100])
    again.work = tmp_path / "work"
    again.compare(FEW, split="val", least=2, most=2, width=0.0)
    rows = [[{k: v for k, v in row.items() if k != "seconds_per_step"} for row in ledger.rows()]
            for ledger in (made.ledger, again.ledger)]  # fmt: skip
    assert rows[0] == rows[1]


def test_other_settings_are_other_runs_and_need_a_choice_of_their_own(done):
    folder, made = done
    other = comparison(folder, FEW, settings=json.dumps({**json.loads(SETTINGS), "weight_decay": 0.5}))
    with pytest.raises(
        InputError, match=r"no trial of boundary_head was chosen in mode finetune .*; run the same with"
    ):
        other.chosen("boundary_head")
    # What only the other mode reads changes nothing.
    settings = {**json.loads(SETTINGS), "full": {**json.loads(SETTINGS)["full"], "steps": 9}}
    same = comparison(folder, FEW, settings=json.dumps(settings))
    assert same.chosen("boundary_head") == made.chosen("boundary_head")


def test_full_goes_from_the_encoders_weights_and_may_take_the_trials_of_the_other_mode(done):
    folder, made = done
    full = comparison(folder, FEW, mode="full", choices="finetune")
    size = len(list(made.work.rglob("seed-*")))
    row = full.run(FEW["cross_entropy"], full.chosen("cross_entropy"), kind="score", seed=7, split="val")
    assert row["mode"] == "full" and row["settings"]["full"]["steps"] == 4 and "base" not in row["settings"]
    assert len(list(made.work.rglob("seed-*"))) == size
    with pytest.raises(InputError, match="in mode full"):
        comparison(folder, FEW, mode="full").chosen("cross_entropy")


def test_a_loss_whose_interval_is_narrow_enough_is_left_out_and_the_others_go_on(tmp_path, monkeypatch):
    names = known("cross_entropy", "boundary_head", "boundary_dou")
    made = comparison(tmp_path, names)
    for name in names:
        made.ledger.append({
            "kind": "choice", "loss": name, "setting": made._setting("finetune"), "inverse_net": None,
            "trial": {"weight": 1.0, "start": 0.0, "beta": 0.0},
        })  # fmt: skip
    above = {"cross_entropy": 0.0, "boundary_head": 0.01, "boundary_dou": 0.02}
    asked = []

    def run(arm, trial, *, kind, seed, split):
        asked.append((arm.name, seed))
        # Boundary DoU is above by another amount each time, the head's always by the same.
        unsteady = 0.01 * (seed % 2) if arm.name == "boundary_dou" else 0.0
        return {"mba": 0.1 * seed + above[arm.name] + unsteady}

    monkeypatch.setattr(made, "run", run)
    made.compare(names, split="val", least=3, most=5, width=0.1)
    assert [seed for name, seed in asked if name == "boundary_head"] == [1, 2, 3]
    assert [seed for name, seed in asked if name == "boundary_dou"] == [1, 2, 3, 4, 5]
    assert [seed for name, seed in asked if name == "cross_entropy"] == [1, 2, 3, 4, 5]
    asked.clear()
    made.compare(["boundary_head"], split="val", least=2, most=5, width=0.1)
    assert sorted(asked) == [(name, seed) for name in ("boundary_head", "cross_entropy") for seed in (1, 2)]


def test_the_data_of_a_row_are_known_by_images_and_labels_and_not_by_how_they_are_stored(tmp_path):
    plain, again = (sample_store(tmp_path / name, train=2, val=1) for name in ("plain", "again"))
    other = sample_store(tmp_path / "predicted", train=2, val=1, predicted=0.5)
    assert len({contents(store) for store in (plain, again, other)}) == 1
    assert contents(sample_store(tmp_path / "more", train=3, val=1)) != contents(plain)
    row, read = plain.row("val", 0), SampleStore.row
    labels = decoded(row, source="x").labels.numpy().copy()
    labels[0, 0] += 1
    changed = row._replace(labels=pack(labels))
    before = contents(plain)
    with mock.patch.object(SampleStore, "row", lambda *at: changed if at[1:] == ("val", 0) else read(*at)):
        assert contents(plain) != before
