import runpy
import signal
import subprocess
import sys
import time
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from components import pair_shards, stage
from components import synthesize as module
from components.synthesize import fit, shard, synthesize, write_shard
from inverseform.data.pair_store import PairStore, join
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from tests.components.synthesis import MOVES, RANGES, SETTINGS, TILE, params
from tests.components.synthesis import made as made_directly
from tests.drawn import ROOT, sample_store

SPATIAL = params(source="spatial_transformer")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    sample_store(folder)
    return folder


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """The folder of pairs of the settings above, and what the stage said of it."""
    folder = tmp_path_factory.mktemp("made") / "pairs"
    return folder, synthesize(params(), samples=samples, pairs=folder, checkpoints=folder.with_name("c"))


def pairs_of(folder, split):
    return join(list(PairStore(folder, split).all()))


def test_as_many_pairs_are_made_as_were_asked_for_in_shards_of_their_size(made):
    folder, report = made
    total = 130 + 40 + 5 * len(MOVES)
    assert [len(PairStore(folder, split)) for split in ("train", "val", "probe")] == [130, 40, 5 * len(MOVES)]
    assert [sum(shard.groups) for shard in PairStore(folder, "train").shards] == [50, 50, 30]
    assert report["pairs"] == total
    assert report["bytes_per_pair"] == pytest.approx(sum(p.stat().st_size for p in folder.iterdir()) / total)


def test_the_pairs_that_are_stored_are_those_that_the_maker_makes(made, samples):
    store = SampleStore.open(samples)
    for split in ("train", "val", "probe"):
        found, (direct, origins) = pairs_of(made[0], split), made_directly(params(), store, split)
        assert all(a is b if a is None else torch.equal(a, b) for a, b in zip(found, direct, strict=True))
        tables = [pq.read_table(path) for path in sorted(made[0].glob(f"{split}-*"))]
        rows = [row for table in tables for row in table.select(["source", "row", "column"]).to_pylist()]
        assert [(row["source"], row["row"], row["column"]) for row in rows] == origins


def test_real_predictions_are_stored_where_pairs_have_them(tmp_path):
    store = sample_store(tmp_path / "samples", predicted=0.5)
    synthesize(
        params(predicted=0.5), samples=tmp_path / "samples", pairs=tmp_path / "pairs", checkpoints=tmp_path / "c"
    )
    for split in ("train", "val", "probe"):
        found, (direct, _) = pairs_of(tmp_path / "pairs", split), made_directly(params(predicted=0.5), store, split)
        assert (found.prediction is None) == (split == "probe")
        assert all(a is b if a is None else torch.equal(a, b) for a, b in zip(found, direct, strict=True))


def test_the_pairs_say_how_they_were_made(made):
    found = PairStore(made[0], "train").settings
    assert found == {"tile": TILE, "degrees_of_freedom": 6, "occupancy": 0.03, "ranges": RANGES,
                     "boundary": {"operator": "sobel", "radius": 1}}  # fmt: skip


def test_a_shard_of_probe_holds_whole_tiles(samples, tmp_path):
    synthesize(
        params(shard_pairs=2 * len(MOVES) + 7), samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c"
    )
    sizes = [sum(shard.groups) for shard in PairStore(tmp_path / "pairs", "probe").shards]
    assert sizes == [2 * len(MOVES), 2 * len(MOVES), len(MOVES)]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 5])
def test_the_same_settings_give_the_same_bytes_with_any_number_of_workers(made, samples, tmp_path, workers):
    synthesize(params(workers=workers), samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c")
    assert bytes_of(tmp_path / "pairs") == bytes_of(made[0])


@pytest.mark.parametrize(("split", "number"), [("train", 1), ("train", 2), ("val", 0), ("probe", 1)])
def test_one_shard_can_be_made_again_by_itself(made, samples, tmp_path, split, number):
    write_shard(params(), SampleStore.open(samples), tmp_path, split, number)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == (made[0] / path.name).read_bytes()


def test_more_pairs_leave_the_whole_shards_there_were_as_they_are(made, samples, tmp_path):
    synthesize(
        params(train_pairs=260, val_pairs=60), samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c"
    )
    found, before = bytes_of(tmp_path / "pairs"), bytes_of(made[0])
    assert all(found[name] == before[name] for name in ("train-00000.parquet", "train-00001.parquet"))


@pytest.fixture(scope="module")
def transformed(samples, tmp_path_factory):
    """Pairs of the spatial transformer, which the stage fitted itself."""
    folder = tmp_path_factory.mktemp("transformed") / "pairs"
    made = synthesize(SPATIAL, samples=samples, pairs=folder, checkpoints=folder.with_name("c"))
    return folder, made


def test_the_spatial_transformer_is_fitted_once_and_kept_beside_its_pairs(transformed, made, samples, tmp_path):
    folder, report = transformed
    fit(SPATIAL, samples=samples, checkpoints=tmp_path)
    assert bytes_of(folder / "localiser") == bytes_of(tmp_path / "localiser")
    assert report["pairs"] == made[1]["pairs"]
    one, other = (pairs_of(pairs, "train").theta for pairs in (folder, made[0]))
    assert not torch.equal(one, other)
    # The moves of the gate are not drawn.
    assert torch.equal(*(pairs_of(pairs, "probe").theta for pairs in (folder, made[0])))


def test_a_localiser_made_before_gives_the_same_pairs_with_any_number_of_workers(transformed, samples, tmp_path):
    folder, _ = transformed
    again = params(source="spatial_transformer", workers=5)
    synthesize(
        again, samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c", localiser=folder / "localiser"
    )
    shards = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert bytes_of(tmp_path / "pairs") == shards


def test_samples_that_cannot_serve_are_refused_by_the_stage(samples, tmp_path):
    with pytest.raises(InputError, match=r"occupancy is 0\.99: none of the 6 train samples"):
        synthesize(params(occupancy=0.99), samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c")
    with pytest.raises(InputError, match=r"predicted is 0\.5: train sample .* without a prediction"):
        synthesize(params(predicted=0.5), samples=samples, pairs=tmp_path / "predicted", checkpoints=tmp_path / "c")


def test_a_localiser_is_refused_where_transforms_are_random(samples, tmp_path):
    with pytest.raises(InputError, match=r"source is random, which reads none; leave it out, or set source"):
        synthesize(params(), samples=samples, pairs=tmp_path / "pairs", checkpoints=tmp_path / "c", localiser=tmp_path)


def command_line(monkeypatch, *arguments):
    """What `python -m components.synthesize` does, in this process."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["synthesize", *map(str, arguments)])
    try:
        runpy.run_path(module.__file__, run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def section(tmp_path):
    """params.yaml with the settings above, or some of them changed."""

    def write(**changes):
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump({"synthesize": {**SETTINGS, "ranges": RANGES, **changes}}))
        return path

    return write


def test_the_localiser_alone_is_made_by_a_flag_and_then_used_by_name(
    transformed, samples, tmp_path, monkeypatch, section
):
    given = section(source="spatial_transformer")
    command_line(monkeypatch, "--fit", "--params", given, "--samples", samples, "--checkpoints", tmp_path / "fitted")
    localiser = tmp_path / "fitted" / "localiser"
    assert bytes_of(localiser) == bytes_of(transformed[0] / "localiser")
    paths = {"samples": samples, "pairs": tmp_path / "pairs", "checkpoints": tmp_path / "c", "localiser": localiser}
    stage.run(synthesize, SPATIAL, paths)
    assert bytes_of(tmp_path / "pairs") == {p.name: p.read_bytes() for p in transformed[0].iterdir() if p.is_file()}
    with pytest.raises(FileNotFoundError, match="no such file or folder for --localiser"):
        stage.run(synthesize, SPATIAL, {**paths, "localiser": tmp_path / "nowhere"})


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("source", ["random", "spatial_transformer"])
def test_the_parts_of_several_machines_are_the_whole_to_the_byte(made, transformed, samples, tmp_path, source):
    settings, whole = (params(), made[0]) if source == "random" else (SPATIAL, transformed[0])
    paths = {"samples": samples, "checkpoints": tmp_path / "c"}
    fitted = stage.run(fit, settings, paths)
    assert fitted["steps"] == (0 if source == "random" else settings.spatial_transformer.steps)
    count = len(list(whole.glob("*.parquet")))
    for number in (2, 0, 1):
        report = stage.run(
            shard, settings.model_copy(update={"workers": 1 + number % 2}), {**paths, "shard": number, "of": 3}
        )
        assert report["shards"] == len(range(number, count, 3))
    with patch.object(pair_shards, "write_shard", side_effect=AssertionError("all is there")):
        report = stage.run(synthesize, settings, {**paths, "pairs": tmp_path / "pairs"})
    assert everything(tmp_path / "pairs") == everything(whole)
    assert report["pairs"] == made[1]["pairs"] and report["pairs_per_second"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_a_localiser_is_fitted_once_and_shards_wait_for_it(samples, tmp_path, caplog):
    paths = {"samples": samples, "checkpoints": tmp_path}
    with pytest.raises(InputError, match=r"localiser: is not there, .* --fit` once, with the same --checkpoints"):
        stage.run(shard, SPATIAL, {**paths, "shard": 0, "of": 2})
    assert stage.run(fit, SPATIAL, paths)["steps"] == 3
    assert stage.run(fit, SPATIAL, paths)["steps"] == 0


def test_with_random_transforms_there_is_nothing_to_fit_and_that_is_said(samples, tmp_path, caplog):
    caplog.set_level("INFO")
    assert fit(params(), samples=samples, checkpoints=tmp_path / "c")["steps"] == 0
    assert "source is random, which reads no localiser" in caplog.text
    assert not (tmp_path / "c").exists()


def stopped(call, samples, folder, *, at):
    """A run that is stopped when it makes a shard."""
    calls = []

    def write(*arguments, **named):
        calls.append(arguments)
        if len(calls) >= at:
            raise SystemExit(143)
        return call(*arguments, **named)

    with patch.object(pair_shards, "write_shard", write), pytest.raises(SystemExit):
        stage.run(synthesize, params(workers=1), paths_in(samples, folder))


def paths_in(samples, folder):
    return {"samples": samples, "pairs": folder / "pairs", "checkpoints": folder / "c"}


@pytest.mark.parametrize("damaged", [False, True])
def test_a_stopped_run_goes_on_at_a_shard_and_ends_with_the_same_bytes(made, samples, tmp_path, damaged):
    stopped(pair_shards.write_shard, samples, tmp_path, at=3)
    assert not (tmp_path / "pairs").exists()
    kept = sorted((tmp_path / "c").glob("*.parquet"))
    assert [path.name for path in kept] == ["train-00000.parquet", "train-00001.parquet"]
    if damaged:
        kept[0].write_bytes(kept[0].read_bytes()[:-1])
    again = []
    real = pair_shards.write_shard
    with patch.object(pair_shards, "write_shard", lambda *a, **k: (again.append(a), real(*a, **k))[1]):
        stage.run(synthesize, params(workers=5), paths_in(samples, tmp_path))
    assert len(again) == len(list(made[0].glob("*.parquet"))) - (1 if damaged else 2)
    assert everything(tmp_path / "pairs") == everything(made[0])


def test_shards_of_other_settings_or_samples_are_refused_and_named(samples, tmp_path):
    stopped(pair_shards.write_shard, samples, tmp_path, at=2)
    with pytest.raises(InputError, match=rf"(?s)synthesize\.seed: 1 in the checkpoint, 2 now.*rm -r {tmp_path}/c"):
        stage.run(synthesize, params(seed=2), paths_in(samples, tmp_path))
    other = tmp_path / "other"
    sample_store(other, predicted=0.5)
    with pytest.raises(InputError, match="- input samples: "):
        stage.run(synthesize, params(), paths_in(other, tmp_path))
    with pytest.raises(InputError, match=r"synthesize\.seed"):
        stage.run(shard, params(seed=2), {"samples": samples, "checkpoints": tmp_path / "c", "shard": 0, "of": 1})


def test_a_run_killed_in_the_middle_and_begun_again_gives_the_same_bytes(made, samples, tmp_path, section):
    command = [sys.executable, "-m", "components.synthesize", "--params", section(workers=1)]
    for port, path in paths_in(samples, tmp_path).items():
        command += [f"--{port}", path]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(tmp_path.glob("c/*.parquet")) and run.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    run.kill()
    run.wait()
    assert not (tmp_path / "pairs").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert everything(tmp_path / "pairs") == everything(made[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "params.yaml"]
