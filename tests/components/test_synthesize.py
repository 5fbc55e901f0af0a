import runpy
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from components import stage
from components import synthesize as module
from components.synthesize import fit, synthesize, write_shard
from inverseform.data.pair_store import PairStore, join
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from tests.components.synthesis import MOVES, RANGES, SETTINGS, TILE, params
from tests.components.synthesis import made as made_directly
from tests.drawn import ROOT, sample_store


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    sample_store(folder)
    return folder


@pytest.fixture(scope="module")
def made(samples, tmp_path_factory):
    """The folder of pairs of the settings above, and what the stage said of it."""
    folder = tmp_path_factory.mktemp("made") / "pairs"
    return folder, synthesize(params(), samples=samples, pairs=folder)


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
    synthesize(params(predicted=0.5), samples=tmp_path / "samples", pairs=tmp_path / "pairs")
    for split in ("train", "val", "probe"):
        found, (direct, _) = pairs_of(tmp_path / "pairs", split), made_directly(params(predicted=0.5), store, split)
        assert (found.prediction is None) == (split == "probe")
        assert all(a is b if a is None else torch.equal(a, b) for a, b in zip(found, direct, strict=True))


def test_the_pairs_say_how_they_were_made(made):
    found = PairStore(made[0], "train").settings
    assert found == {"tile": TILE, "degrees_of_freedom": 6, "occupancy": 0.03, "ranges": RANGES,
                     "boundary": {"operator": "sobel", "radius": 1}}  # fmt: skip


def test_a_shard_of_probe_holds_whole_tiles(samples, tmp_path):
    synthesize(params(shard_pairs=2 * len(MOVES) + 7), samples=samples, pairs=tmp_path / "pairs")
    sizes = [sum(shard.groups) for shard in PairStore(tmp_path / "pairs", "probe").shards]
    assert sizes == [2 * len(MOVES), 2 * len(MOVES), len(MOVES)]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 5])
def test_the_same_settings_give_the_same_bytes_with_any_number_of_workers(made, samples, tmp_path, workers):
    synthesize(params(workers=workers), samples=samples, pairs=tmp_path / "pairs")
    assert bytes_of(tmp_path / "pairs") == bytes_of(made[0])


@pytest.mark.parametrize(("split", "number"), [("train", 1), ("train", 2), ("val", 0), ("probe", 1)])
def test_one_shard_can_be_made_again_by_itself(made, samples, tmp_path, split, number):
    write_shard(params(), SampleStore.open(samples), tmp_path, split, number)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == (made[0] / path.name).read_bytes()


def test_more_pairs_leave_the_whole_shards_there_were_as_they_are(made, samples, tmp_path):
    synthesize(params(train_pairs=260, val_pairs=60), samples=samples, pairs=tmp_path / "pairs")
    found, before = bytes_of(tmp_path / "pairs"), bytes_of(made[0])
    assert all(found[name] == before[name] for name in ("train-00000.parquet", "train-00001.parquet"))


@pytest.fixture(scope="module")
def transformed(samples, tmp_path_factory):
    """Pairs of the spatial transformer, which the stage fitted itself."""
    folder = tmp_path_factory.mktemp("transformed") / "pairs"
    return folder, synthesize(params(source="spatial_transformer"), samples=samples, pairs=folder)


def test_the_spatial_transformer_is_fitted_once_and_kept_beside_its_pairs(transformed, made, samples, tmp_path):
    folder, report = transformed
    fit(params(source="spatial_transformer"), samples=samples, localiser=tmp_path / "localiser")
    assert bytes_of(folder / "localiser") == bytes_of(tmp_path / "localiser")
    assert report["pairs"] == made[1]["pairs"]
    one, other = (pairs_of(pairs, "train").theta for pairs in (folder, made[0]))
    assert not torch.equal(one, other)
    # The moves of the gate are not drawn.
    assert torch.equal(*(pairs_of(pairs, "probe").theta for pairs in (folder, made[0])))


def test_a_localiser_made_before_gives_the_same_pairs_with_any_number_of_workers(transformed, samples, tmp_path):
    folder, _ = transformed
    again = params(source="spatial_transformer", workers=5)
    synthesize(again, samples=samples, pairs=tmp_path / "pairs", localiser=folder / "localiser")
    shards = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert bytes_of(tmp_path / "pairs") == shards


def test_samples_that_cannot_serve_are_refused_by_the_stage(samples, tmp_path):
    with pytest.raises(InputError, match=r"occupancy is 0\.99: none of the 6 train samples"):
        synthesize(params(occupancy=0.99), samples=samples, pairs=tmp_path / "pairs")
    with pytest.raises(InputError, match=r"predicted is 0\.5: train sample .* without a prediction"):
        synthesize(params(predicted=0.5), samples=samples, pairs=tmp_path / "predicted")


def test_a_localiser_is_refused_where_transforms_are_random(samples, tmp_path):
    with pytest.raises(InputError, match=r"source is random, which reads none; leave it out, or set source"):
        synthesize(params(), samples=samples, pairs=tmp_path / "pairs", localiser=tmp_path)


def command_line(monkeypatch, *arguments):
    """What `python -m components.synthesize` does, in this process."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["synthesize", *map(str, arguments)])
    try:
        runpy.run_path(module.__file__, run_name="__main__")
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_localiser_alone_is_made_by_a_flag_and_then_used_by_name(transformed, samples, tmp_path, monkeypatch):
    section = {**SETTINGS, "ranges": RANGES, "source": "spatial_transformer"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"synthesize": section}))
    where = ["--params", tmp_path / "params.yaml", "--samples", samples, "--localiser", tmp_path / "localiser"]
    command_line(monkeypatch, "--fit", *where)
    assert bytes_of(tmp_path / "localiser") == bytes_of(transformed[0] / "localiser")
    paths = {"samples": samples, "pairs": tmp_path / "pairs", "localiser": tmp_path / "localiser"}
    stage.run(synthesize, params(source="spatial_transformer"), paths)
    assert bytes_of(tmp_path / "pairs") == {p.name: p.read_bytes() for p in transformed[0].iterdir() if p.is_file()}
    with pytest.raises(FileNotFoundError, match="no such file or folder for --localiser"):
        stage.run(synthesize, params(source="spatial_transformer"), {**paths, "localiser": tmp_path / "nowhere"})


def test_a_run_killed_in_the_middle_and_begun_again_gives_the_same_bytes(made, samples, tmp_path):
    section = {**SETTINGS, "ranges": RANGES}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"synthesize": section}))
    half = tmp_path / ".partial.pairs"
    half.mkdir()
    (half / "train-00000.parquet").write_bytes(b"half")
    (tmp_path / ".lock.pairs").touch()
    command = [sys.executable, "-m", "components.synthesize", "--params", tmp_path / "params.yaml"]
    command += ["--samples", samples, "--pairs", tmp_path / "pairs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert bytes_of(tmp_path / "pairs") == bytes_of(made[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs", "params.yaml"]
