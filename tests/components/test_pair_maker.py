import pytest
import torch
import torch.nn.functional as F

from components.pair_maker import PairMaker
from inverseform import spatial_transformer
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError
from inverseform.spatial_transformer import Localiser
from inverseform.transform import TransformRanges
from tests.components.synthesis import MOVES, TILE, boundaries_of, made, moved, params
from tests.drawn import sample_store


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Samples whose prediction is their boundary map, fainter."""
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    sample_store(folder, predicted=0.5)
    return folder


@pytest.fixture(scope="module")
def store(samples):
    return SampleStore.open(samples)


@pytest.fixture(scope="module")
def pairs(store):
    """The pairs of each split, and where they were cut."""
    return {split: made(params(), store, split) for split in ("train", "val", "probe")}


def test_a_shard_says_how_many_pairs_it_will_make(store):
    # The last of train is not whole.
    for split, number in (("train", 0), ("train", 2), ("val", 0), ("probe", 4)):
        maker = PairMaker(params(), store, split, number)
        assert len(maker) == sum(len(part.seed) for part, _ in maker)


def test_a_shard_depends_on_its_number_alone(store):
    wide, narrow = (params(train_pairs=count) for count in (400, 130))
    for (one, where), (other, there) in zip(*(PairMaker(p, store, "train", 1) for p in (wide, narrow)), strict=True):
        assert all(a is b if a is None else torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert where.source == there.source and torch.equal(where.place, there.place)


def test_a_tile_of_probe_goes_through_every_move_in_its_order(pairs):
    found, origins = pairs["probe"]
    for start in range(0, len(origins), len(MOVES)):
        some = slice(start, start + len(MOVES))
        assert torch.equal(found.theta[some], torch.stack([move.theta for move in MOVES]))
        assert (found.tile[some] == found.tile[start]).all() and len(set(origins[some])) == 1
        assert torch.equal(found.warped[start], found.tile[start])


def test_the_tiles_of_probe_are_of_one_val_sample_after_another(pairs, store):
    names = [name for name, _, _ in pairs["probe"][1][:: len(MOVES)]]
    assert len(set(names[:3])) == 3 and set(names) == set(store.names("val"))
    assert names[:2] == names[3:]


def test_each_split_comes_from_its_own_samples_and_from_all_of_them(pairs, store):
    for split in ("train", "val"):
        assert {name for name, _, _ in pairs[split][1]} == set(store.names(split))


def test_a_tile_is_a_window_of_the_boundary_map_it_names(pairs, samples):
    maps = boundaries_of(samples, "train")
    for tile, (name, row, column) in zip(pairs["train"][0].tile, pairs["train"][1], strict=True):
        assert torch.equal(tile, maps[name][0, row : row + TILE, column : column + TILE].bool())


@pytest.mark.parametrize("split", ["train", "val", "probe"])
def test_a_warped_tile_is_the_window_of_the_map_warped_as_a_whole(pairs, samples, split):
    maps, (found, origins) = boundaries_of(samples, "train" if split == "train" else "val"), pairs[split]
    different = certain = 0
    for warped, theta, (name, row, column) in zip(found.warped, found.theta, origins, strict=True):
        slow, clear = moved(maps[name], theta, row, column)
        different += int((warped != slow)[clear].sum())
        certain += int(clear.sum())
    assert different == 0 and certain > 0.95 * found.warped.numel()


@pytest.mark.parametrize(("height", "width"), [(20, 60), (60, 20), (10, 12), (24, 24)])
def test_maps_smaller_than_a_tile_fill_a_part_of_it(tmp_path, height, width):
    store = sample_store(tmp_path / "samples", height=height, width=width)
    maps = boundaries_of(tmp_path / "samples", "train")
    found, origins = made(params(), store, "train")
    for tile, (name, row, column) in zip(found.tile, origins, strict=True):
        whole = F.pad(maps[name], (0, TILE, 0, TILE))[0, row : row + TILE, column : column + TILE]
        assert torch.equal(tile, whole.bool())
        assert row <= max(0, height - TILE) and column <= max(0, width - TILE)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_pairs_without_a_transform_is_the_one_asked_for(store, share):
    found, _ = made(params(identity=share, train_pairs=600, shard_pairs=600), store, "train")
    still = (found.theta == torch.eye(3)).all(-1).all(-1)
    assert still.float().mean().item() == pytest.approx(share, abs=0.06)
    assert torch.equal(found.tile[still], found.warped[still])
    # A small move of a short line may end on the same pixels.
    same = [torch.equal(a, b) for a, b in zip(found.tile[~still], found.warped[~still], strict=True)]
    assert sum(same) <= 0.05 * len(same)


def test_every_tile_has_the_boundary_it_must(pairs):
    for found, _ in pairs.values():
        assert (found.tile.float().mean(dim=(-1, -2)) >= 0.03).all()


def test_no_two_pairs_are_degraded_alike(pairs):
    seeds = torch.cat([found.seed for found, _ in pairs.values()])
    assert len(seeds.unique()) == len(seeds) == 170 + 5 * len(MOVES)
    assert seeds.min() >= 0 and seeds.max() < 2**40


def test_another_seed_gives_other_pairs(pairs, store):
    one, other = pairs["train"][0], made(params(seed=2), store, "train")[0]
    assert not torch.equal(one.tile, other.tile) and not torch.equal(one.theta, other.theta)


def test_four_degrees_of_freedom_neither_turn_nor_shear(store):
    theta = made(params(degrees_of_freedom=4), store, "train")[0].theta
    assert not theta[:, 0, 1].any() and not theta[:, 1, 0].any() and theta[:, 0, 0].unique().numel() > 50


def test_eight_degrees_of_freedom_have_perspective(store):
    ranges = TransformRanges(translation=0.2, scale=(0.9, 1.1), rotation=5.0, shear=4.0, perspective=0.1)
    theta = made(params(degrees_of_freedom=8, ranges=ranges), store, "train")[0].theta
    assert 0.08 < theta[:, 2, :2].abs().max() <= 0.1 and (theta[:, 2, 2] == 1).all()


@pytest.fixture(scope="module")
def half(store):
    """Pairs half of which are made of a real prediction."""
    return {split: made(params(predicted=0.5), store, split) for split in ("train", "val", "probe")}


def test_the_share_of_pairs_with_a_real_prediction_is_the_one_asked_for(half):
    soft = torch.cat([half[split][0].soft for split in ("train", "val")])
    assert soft.float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert half["probe"][0].soft is None and half["probe"][0].prediction is None


def test_a_real_prediction_stays_as_it_is_and_the_truth_moves_to_where_theta_says(half, samples):
    (found, origins), maps = half["train"], boundaries_of(samples, "train")
    different = certain = 0
    for index in found.soft.nonzero()[:, 0].tolist():
        name, row, column = origins[index]
        window = maps[name][0, row : row + TILE, column : column + TILE]
        assert torch.equal(found.prediction[index], (window * 127.5).round().byte())
        assert torch.equal(found.warped[index], window.bool())
        # The truth under the inverse: at theta u it has what the prediction has at u.
        slow, clear = moved(maps[name], torch.linalg.inv(found.theta[index].double()), row, column)
        different += int((found.tile[index] != slow)[clear].sum())
        certain += int(clear.sum())
    assert different == 0 and certain > 5000


def test_pairs_without_a_real_prediction_are_as_they_would_be_without_any(half, pairs):
    some, none = half["train"][0], pairs["train"][0]
    assert none.soft is None and torch.equal(some.theta, none.theta) and torch.equal(some.seed, none.seed)
    assert torch.equal(some.tile[~some.soft], none.tile[~some.soft])
    assert torch.equal(some.warped[~some.soft], none.warped[~some.soft])
    assert not some.prediction[~some.soft].any()


def test_real_predictions_that_the_samples_do_not_have_are_refused(tmp_path):
    told = r"predicted is 0\.5: train sample .* without a prediction; give .* or set predicted to 0"
    with pytest.raises(InputError, match=told):
        made(params(predicted=0.5), sample_store(tmp_path / "samples", train=1, val=1), "train")


def test_the_transforms_of_a_localiser_are_its_own_within_the_ranges(store, pairs, tmp_path):
    chosen = params(source="spatial_transformer", identity=0.0)
    spatial_transformer.save(tmp_path / "localiser", Localiser.fresh(chosen.ranges, 6, seed=1), tile=TILE)
    theta = made(chosen, store, "train", localiser=tmp_path / "localiser")[0].theta
    assert not torch.equal(theta, pairs["train"][0].theta)
    # A shift is a number of theta; the scales are the lengths of its columns, up to the shear.
    assert theta[:, :2, 2].abs().max() <= 0.2 and theta[:, :2, 2].std() > 0.05
    assert 0.85 <= theta[:, :2, 0].norm(dim=1).min() and theta[:, :2, 0].norm(dim=1).max() <= 1.18
    # The moves of the gate are not drawn.
    probe = made(chosen, store, "probe", localiser=tmp_path / "localiser")[0]
    assert torch.equal(probe.theta, pairs["probe"][0].theta)
