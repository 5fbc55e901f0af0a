import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components import stage
from components.pair_params import SynthesizeParams
from components.synthesize import fit, synthesize, write_shard
from components.tiles import occupied
from inverseform.data.pair_store import PairStore, join
from inverseform.data.sample_store import SampleStore
from inverseform.probes import probes
from inverseform.settings import InputError
from inverseform.spatial_transformer import SpatialTransformerParams
from inverseform.transform import TransformRanges, grid
from tests.drawn import ROOT, sample_store

TILE = 24
SETTINGS = {
    "source": "random", "tile": TILE, "degrees_of_freedom": 6, "identity": 0.2, "predicted": 0.0, "occupancy": 0.03,
    "spatial_transformer": {"temperature": 0.02, "steps": 3, "batch": 4, "learning_rate": 0.01}, "probe_tiles": 5,
    "train_pairs": 130, "val_pairs": 40, "pairs_per_sample": 8, "shard_pairs": 50, "seed": 1, "workers": 2,
}  # fmt: skip
MOVES = probes(TILE)
RANGES = {"translation": 0.2, "scale": [0.85, 1.18], "rotation": 12.0, "shear": 8.0, "perspective": 0.0}


def params(**changes):
    ranges = TransformRanges(**{**RANGES, "scale": (0.85, 1.18)})
    localiser = SpatialTransformerParams(**SETTINGS["spatial_transformer"])
    return SynthesizeParams(**{**SETTINGS, "ranges": ranges, "spatial_transformer": localiser, **changes})


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


def origins_of(folder, split):
    tables = [pq.read_table(path) for path in sorted(folder.glob(f"{split}-*"))]
    rows = [row for table in tables for row in table.select(["source", "row", "column"]).to_pylist()]
    return [(row["source"], row["row"], row["column"]) for row in rows]


def boundaries_of(samples, split):
    store = SampleStore.open(samples)
    return {name: store.sample(split, index).boundary for index, name in enumerate(store.names(split))}


def test_as_many_pairs_are_made_as_were_asked_for_in_shards_of_their_size(made):
    folder, report = made
    total = 130 + 40 + 5 * len(MOVES)
    assert [len(PairStore(folder, split)) for split in ("train", "val", "probe")] == [130, 40, 5 * len(MOVES)]
    assert [sum(shard.groups) for shard in PairStore(folder, "train").shards] == [50, 50, 30]
    assert report["pairs"] == total
    assert report["bytes_per_pair"] == pytest.approx(sum(p.stat().st_size for p in folder.iterdir()) / total)


def test_the_pairs_say_how_they_were_made(made):
    found = PairStore(made[0], "train").settings
    assert found == {"tile": TILE, "degrees_of_freedom": 6, "occupancy": 0.03, "ranges": RANGES,
                     "boundary": {"operator": "sobel", "radius": 1}}  # fmt: skip


def test_a_tile_of_probe_goes_through_every_move_in_its_order(made):
    found, origins = pairs_of(made[0], "probe"), origins_of(made[0], "probe")
    for start in range(0, len(origins), len(MOVES)):
        some = slice(start, start + len(MOVES))
        assert torch.equal(found.theta[some], torch.stack([move.theta for move in MOVES]))
        assert (found.tile[some] == found.tile[start]).all() and len(set(origins[some])) == 1
        assert torch.equal(found.warped[start], found.tile[start])


def test_the_tiles_of_probe_are_of_one_val_sample_after_another(made, samples):
    names = [name for name, _, _ in origins_of(made[0], "probe")[:: len(MOVES)]]
    assert len(set(names[:3])) == 3 and set(names) == set(SampleStore.open(samples).names("val"))
    assert names[:2] == names[3:]


def test_a_shard_of_probe_holds_whole_tiles(samples, tmp_path):
    synthesize(params(shard_pairs=2 * len(MOVES) + 7), samples=samples, pairs=tmp_path / "pairs")
    sizes = [sum(shard.groups) for shard in PairStore(tmp_path / "pairs", "probe").shards]
    assert sizes == [2 * len(MOVES), 2 * len(MOVES), len(MOVES)]


def test_a_tile_is_a_window_of_the_boundary_map_it_names(made, samples):
    maps = boundaries_of(samples, "train")
    for tile, (name, row, column) in zip(pairs_of(made[0], "train").tile, origins_of(made[0], "train"), strict=True):
        assert torch.equal(tile, maps[name][0, row : row + TILE, column : column + TILE].bool())


def for_the_whole_map(theta, row, column, height, width):
    """A tile's transform as one of the map: its own coordinates to the tile's, theta, and back again."""
    tile_of_map = torch.tensor([
        [width / TILE, 0, (width - 2 * column) / TILE - 1],
        [0, height / TILE, (height - 2 * row) / TILE - 1],
        [0, 0, 1],
    ], dtype=torch.float64)  # fmt: skip
    return torch.linalg.inv(tile_of_map) @ theta.double() @ tile_of_map


def moved(map, theta, row, column):
    """A tile of the map transformed as a whole, each pixel that of the place it comes from; where that is certain."""
    height, width = map.shape[-2:]
    points = grid(for_the_whole_map(theta, row, column, height, width)[None], height, width)[0]
    place = ((points + 1) * torch.tensor([width, height]) / 2)[row : row + TILE, column : column + TILE]
    x, y = place.floor().long().unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    value = map[0][y.clamp(0, height - 1), x.clamp(0, width - 1)].bool() & inside
    return value, ((place - place.round()).abs() > 1e-3).all(-1)


@pytest.mark.parametrize("split", ["train", "val", "probe"])
def test_a_warped_tile_is_the_window_of_the_map_warped_as_a_whole(made, samples, split):
    maps, found = boundaries_of(samples, "train" if split == "train" else "val"), pairs_of(made[0], split)
    different = certain = 0
    for warped, theta, (name, row, column) in zip(found.warped, found.theta, origins_of(made[0], split), strict=True):
        slow, clear = moved(maps[name], theta, row, column)
        different += int((warped != slow)[clear].sum())
        certain += int(clear.sum())
    assert different == 0 and certain > 0.95 * found.warped.numel()


def test_the_share_of_pairs_without_a_transform_is_the_one_asked_for(samples, tmp_path):
    for share in (0.0, 0.3, 1.0):
        folder = tmp_path / str(share)
        synthesize(params(identity=share, train_pairs=600, shard_pairs=600), samples=samples, pairs=folder)
        found = pairs_of(folder, "train")
        still = (found.theta == torch.eye(3)).all(-1).all(-1)
        assert still.float().mean().item() == pytest.approx(share, abs=0.06)
        assert torch.equal(found.tile[still], found.warped[still])
        # A small move of a short line may end on the same pixels.
        same = [torch.equal(a, b) for a, b in zip(found.tile[~still], found.warped[~still], strict=True)]
        assert sum(same) <= 0.05 * len(same)


def test_every_tile_has_the_boundary_it_must(made):
    for split in ("train", "val", "probe"):
        assert (pairs_of(made[0], split).tile.float().mean(dim=(-1, -2)) >= 0.03).all()


def test_no_two_pairs_are_degraded_alike(made):
    seeds = torch.cat([pairs_of(made[0], split).seed for split in ("train", "val", "probe")])
    assert len(seeds.unique()) == 170 + 5 * len(MOVES) and seeds.min() >= 0 and seeds.max() < 2**40


def test_each_split_comes_from_its_own_samples_and_from_all_of_them(made, samples):
    store = SampleStore.open(samples)
    for split in ("train", "val"):
        assert {name for name, _, _ in origins_of(made[0], split)} == set(store.names(split))


def test_four_degrees_of_freedom_neither_turn_nor_shear(samples, tmp_path):
    synthesize(params(degrees_of_freedom=4), samples=samples, pairs=tmp_path / "pairs")
    theta = pairs_of(tmp_path / "pairs", "train").theta
    assert not theta[:, 0, 1].any() and not theta[:, 1, 0].any() and theta[:, 0, 0].unique().numel() > 50


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_same_settings_give_the_same_bytes_with_any_number_of_workers(made, samples, tmp_path, workers):
    synthesize(params(workers=workers), samples=samples, pairs=tmp_path / "pairs")
    assert bytes_of(tmp_path / "pairs") == bytes_of(made[0])


@pytest.mark.parametrize(("split", "number"), [("train", 0), ("train", 1), ("train", 2), ("val", 0), ("probe", 1)])
def test_one_shard_can_be_made_again_by_itself(made, samples, tmp_path, split, number):
    write_shard(params(), SampleStore.open(samples), tmp_path, split, number)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == (made[0] / path.name).read_bytes()


def test_another_seed_gives_other_pairs(made, samples, tmp_path):
    synthesize(params(seed=2), samples=samples, pairs=tmp_path / "pairs")
    one, other = (pairs_of(folder, "train") for folder in (made[0], tmp_path / "pairs"))
    assert not torch.equal(one.tile, other.tile) and not torch.equal(one.theta, other.theta)


def test_more_pairs_leave_the_whole_shards_there_were_as_they_are(made, samples, tmp_path):
    synthesize(params(train_pairs=260, val_pairs=60), samples=samples, pairs=tmp_path / "pairs")
    found, before = bytes_of(tmp_path / "pairs"), bytes_of(made[0])
    assert all(found[name] == before[name] for name in ("train-00000.parquet", "train-00001.parquet"))


def test_an_occupancy_that_no_tile_has_is_refused(samples, tmp_path):
    with pytest.raises(InputError, match=r"occupancy is 0\.99: none of the 6 train samples has a tile of 24 pixels"):
        synthesize(params(occupancy=0.99), samples=samples, pairs=tmp_path / "pairs")


def test_eight_degrees_of_freedom_have_perspective(samples, tmp_path):
    ranges = TransformRanges(translation=0.2, scale=(0.9, 1.1), rotation=5.0, shear=4.0, perspective=0.1)
    synthesize(params(degrees_of_freedom=8, ranges=ranges), samples=samples, pairs=tmp_path / "pairs")
    theta = pairs_of(tmp_path / "pairs", "train").theta
    assert 0.08 < theta[:, 2, :2].abs().max() <= 0.1 and (theta[:, 2, 2] == 1).all()


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    """Samples whose prediction is their boundary map, fainter, and pairs half of which are made of it."""
    folder = tmp_path_factory.mktemp("predicted")
    sample_store(folder / "samples", predicted=0.5)
    synthesize(params(predicted=0.5), samples=folder / "samples", pairs=folder / "pairs")
    return folder


def test_the_share_of_pairs_with_a_real_prediction_is_the_one_asked_for(predicted):
    found = [pairs_of(predicted / "pairs", split) for split in ("train", "val", "probe")]
    assert torch.cat([pairs.soft for pairs in found[:2]]).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert found[2].soft is None and found[2].prediction is None


def test_a_real_prediction_stays_as_it_is_and_the_truth_moves_to_where_theta_says(predicted):
    found, maps = pairs_of(predicted / "pairs", "train"), boundaries_of(predicted / "samples", "train")
    different = certain = 0
    for index in found.soft.nonzero()[:, 0].tolist():
        name, row, column = origins_of(predicted / "pairs", "train")[index]
        window = maps[name][0, row : row + TILE, column : column + TILE]
        assert torch.equal(found.prediction[index], (window * 127.5).round().byte())
        assert torch.equal(found.warped[index], window.bool())
        # The truth under the inverse: at theta u it has what the prediction has at u.
        slow, clear = moved(maps[name], torch.linalg.inv(found.theta[index].double()), row, column)
        different += int((found.tile[index] != slow)[clear].sum())
        certain += int(clear.sum())
    assert different == 0 and certain > 5000


def test_pairs_without_a_real_prediction_are_as_they_would_be_without_any(predicted, tmp_path):
    synthesize(params(), samples=predicted / "samples", pairs=tmp_path / "pairs")
    some, none = (pairs_of(folder / "pairs", "train") for folder in (predicted, tmp_path))
    assert none.soft is None and torch.equal(some.theta, none.theta) and torch.equal(some.seed, none.seed)
    assert torch.equal(some.tile[~some.soft], none.tile[~some.soft])
    assert torch.equal(some.warped[~some.soft], none.warped[~some.soft])
    assert not some.prediction[~some.soft].any()


def test_real_predictions_that_the_samples_do_not_have_are_refused(samples, tmp_path):
    told = r"predicted is 0\.5: train sample .* without a prediction; give .* or set predicted to 0"
    with pytest.raises(InputError, match=told):
        synthesize(params(predicted=0.5), samples=samples, pairs=tmp_path / "pairs")


def test_a_split_without_samples_is_refused(tmp_path):
    sample_store(tmp_path / "samples", val=0)
    with pytest.raises(InputError, match=r"there are no val samples from drawn; give .* run `dvc repro ingest`"):
        synthesize(params(), samples=tmp_path / "samples", pairs=tmp_path / "pairs")


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (10, 12), (24, 24)])
def test_maps_smaller_than_a_tile_fill_a_part_of_it(tmp_path, height, width):
    sample_store(tmp_path / "samples", height=height, width=width)
    synthesize(params(), samples=tmp_path / "samples", pairs=tmp_path / "pairs")
    maps = boundaries_of(tmp_path / "samples", "train")
    found = pairs_of(tmp_path / "pairs", "train")
    for tile, (name, row, column) in zip(found.tile, origins_of(tmp_path / "pairs", "train"), strict=True):
        whole = F.pad(maps[name], (0, TILE, 0, TILE))[0, row : row + TILE, column : column + TILE]
        assert torch.equal(tile, whole.bool())
        assert row <= max(0, height - TILE) and column <= max(0, width - TILE)


def slowly(boundary, tile, share):
    """Every window looked at by itself."""
    _, height, width = boundary.shape
    found = []
    for row in range(max(1, height - tile + 1)):
        for column in range(max(1, width - tile + 1)):
            pixels = boundary[0, row : row + tile, column : column + tile].sum()
            if pixels > 0 and pixels >= share * tile**2:
                found.append([row, column])
    return torch.tensor(found, dtype=torch.int64).reshape(-1, 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(4, 9), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
       st.integers(0, 99))  # fmt: skip
def test_the_occupied_tiles_are_those_that_a_look_at_each_finds(height, width, tile, share, seed):
    boundary = (torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    assert torch.equal(occupied(boundary, tile, share), slowly(boundary, tile, share))


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


def test_the_transforms_of_the_spatial_transformer_are_within_the_ranges(transformed):
    theta = pairs_of(transformed[0], "train").theta
    # A shift is a number of theta; the scales are the lengths of its columns, up to the shear.
    assert theta[:, :2, 2].abs().max() <= 0.2 and theta[:, :2, 2].std() > 0.05
    assert 0.85 <= theta[:, :2, 0].norm(dim=1).min() and theta[:, :2, 0].norm(dim=1).max() <= 1.18


def test_a_localiser_is_refused_where_transforms_are_random(samples, tmp_path):
    with pytest.raises(InputError, match=r"source is random, which reads none; leave it out, or set source"):
        synthesize(params(), samples=samples, pairs=tmp_path / "pairs", localiser=tmp_path)


def test_the_localiser_alone_is_made_by_a_flag_and_then_used_by_name(transformed, samples, tmp_path):
    section = {**SETTINGS, "ranges": RANGES, "source": "spatial_transformer"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"synthesize": section}))
    program = [sys.executable, "-m", "components.synthesize", "--fit", "--params", tmp_path / "params.yaml"]
    program += ["--samples", samples, "--localiser", tmp_path / "localiser"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
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
