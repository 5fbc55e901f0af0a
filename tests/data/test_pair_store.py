import weakref

import pyarrow.parquet as pq
import pytest
import torch

from inverseform.boundary import boundaries
from inverseform.data import pair_store
from inverseform.data.pair_store import Origin, Pairs, PairStore, join
from inverseform.pairs import cut
from inverseform.settings import InputError
from inverseform.transform import identity, offsets
from tests.drawn import CLASSES, scene


def drawn(count, tile=16, first=0):
    """Pairs of noise, each with a seed that names it."""
    generator = torch.Generator().manual_seed(first)
    tiles = torch.rand(2, count, tile, tile, generator=generator) < 0.2
    theta = torch.randn(count, 3, 3, generator=generator)
    return Pairs(tiles[0], tiles[1], theta, torch.arange(first, first + count))


def origin(pairs):
    place = torch.stack([pairs.seed, pairs.seed * 2], dim=1) % 2**20
    return Origin([f"image {seed}" for seed in pairs.seed.tolist()], place)


def rows(pairs, some):
    """Some of the pairs."""
    return Pairs(*(None if field is None else field[some] for field in pairs))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three shards of 50, 50 and 23 pairs, in row groups of 8 that are mixed 3 at a time."""
    monkeypatch.setattr(pair_store, "GROUP", 8)
    monkeypatch.setattr(pair_store, "WINDOW", 3)
    for number, count in enumerate((50, 50, 23)):
        pairs = drawn(count, first=50 * number)
        parts = [
            (part, origin(part)) for part in (rows(pairs, slice(start, start + 7)) for start in range(0, count, 7))
        ]
        pair_store.write(tmp_path / "train", number, parts, settings={"tile": 16})
    pair_store.write_counts(tmp_path, {"train": 123})
    return tmp_path


TOTAL = 123
EVERYTHING = [drawn(50), drawn(50, first=50), drawn(23, first=100)]


def everything():
    return join(EVERYTHING)


def same(one, other):
    return all(a is b if a is None else torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_field_of_every_pair_comes_back(folder):
    store = PairStore(folder, "train")
    assert same(join(list(store.all())), everything())
    assert len(store) == TOTAL and store.tile == 16 and store.settings == {"tile": 16}


def test_where_a_pair_was_cut_is_kept_with_it(folder):
    table = pq.read_table(folder / "train-00001.parquet")
    assert table["source"].to_pylist() == [f"image {seed}" for seed in range(50, 100)]
    assert table["row"].to_pylist() == list(range(50, 100))
    assert table["column"].to_pylist() == list(range(100, 200, 2))


def test_rows_are_grouped_alike_however_they_come(folder):
    assert [shard.groups for shard in PairStore(folder, "train").shards] == [[8] * 6 + [2], [8] * 6 + [2], [8, 8, 7]]
    before = (folder / "train-00001.parquet").read_bytes()
    pairs = EVERYTHING[1]
    pair_store.write(folder / "train", 1, [(pairs, origin(pairs))], settings={"tile": 16})
    assert (folder / "train-00001.parquet").read_bytes() == before


def test_pairs_are_let_go_of_as_they_come(tmp_path):
    seen = []

    def parts():
        for first in range(5):
            pairs = drawn(3, first=first)
            seen.append(weakref.ref(pairs.tile))
            yield pairs, origin(pairs)
            del pairs
            # The writer may still hold the last one, while it waits for this one.
            assert all(tile() is None for tile in seen[:-1])

    pair_store.write(tmp_path / "train", 0, parts(), settings={"tile": 16})
    assert len(seen) == 5


@pytest.mark.parametrize("numbers", [4, 6, 8])
def test_mean_and_spread_are_those_of_all_offsets(folder, numbers):
    slow = offsets(everything().theta, numbers).double()
    mean, spread = PairStore(folder, "train").moments(numbers)
    assert torch.allclose(mean, slow.mean(dim=0)) and torch.allclose(spread, slow.std(dim=0, correction=0))


def soft(count, tile=8, first=0):
    """Pairs of which two in three have a prediction that names them."""
    pairs = drawn(count, tile=tile, first=first)
    there = pairs.seed % 3 > 0
    prediction = (pairs.seed % 251).to(torch.uint8)[:, None, None] + torch.arange(tile * tile).view(tile, tile)
    return pairs._replace(prediction=(prediction * there[:, None, None]).to(torch.uint8), soft=there)


@pytest.fixture
def with_predictions(tmp_path, monkeypatch):
    """Two shards with predictions, one row group of which has none."""
    monkeypatch.setattr(pair_store, "GROUP", 8)
    monkeypatch.setattr(pair_store, "WINDOW", 3)
    parts = [soft(20), soft(20, first=20)]
    parts[0].soft[8:16], parts[0].prediction[8:16] = False, 0
    for number, part in enumerate(parts):
        written = [(part, origin(part))]
        pair_store.write(tmp_path / "train", number, written, settings={"tile": 8}, predictions=True)
    pair_store.write_counts(tmp_path, {"train": 40})
    return tmp_path, join(parts)


def test_predictions_come_back_for_the_pairs_that_have_them(with_predictions):
    folder, stored = with_predictions
    assert same(join(list(PairStore(folder, "train").all())), stored)
    table = pq.read_table(folder / "train-00000.parquet")
    assert [value is not None for value in table["prediction"].to_pylist()] == stored.soft[:20].tolist()


def test_predictions_stay_with_their_pairs_when_these_are_mixed(with_predictions):
    folder, stored = with_predictions
    store = PairStore(folder, "train")
    for step in range(6):
        batch = store.batch(step, 9, seed=1)
        assert same(batch._replace(seed=batch.seed % 2**40), rows(stored, batch.seed % 2**40))


def test_a_store_without_predictions_says_so(folder):
    batch = PairStore(folder, "train").batch(0, 20, seed=1)
    assert batch.prediction is None and batch.soft is None
    assert "prediction" not in pq.read_schema(folder / "train-00000.parquet").names


def test_the_transforms_can_be_had_alone(folder):
    assert torch.equal(PairStore(folder, "train").theta(), everything().theta)


def test_a_pair_of_a_batch_is_the_one_that_was_stored(folder):
    batch = PairStore(folder, "train").batch(2, 20, seed=1)
    stored = everything()
    assert same(batch, rows(stored, batch.seed))


def test_a_batch_depends_on_its_step_alone(folder):
    steps = list(range(14))
    in_order = {step: PairStore(folder, "train").batch(step, 20, seed=1) for step in steps}
    store = PairStore(folder, "train")
    for step in [*reversed(steps), 3, 11, 0, 7, 7]:
        assert same(store.batch(step, 20, seed=1), in_order[step])


def stream(store, size, epochs, seed=1):
    steps = -(-len(store) * epochs // size)
    return torch.cat([store.batch(step, size, seed=seed).seed for step in range(steps)])[: len(store) * epochs]


@pytest.mark.parametrize("size", [1, 20, 123, 300])
def test_every_pair_comes_exactly_once_an_epoch(folder, size):
    seeds = stream(PairStore(folder, "train"), size, epochs=3)
    for epoch, part in enumerate(seeds.split(TOTAL)):
        assert torch.equal(part.sort().values, torch.arange(TOTAL) + epoch * 2**40)


def test_the_stream_is_the_same_whatever_the_size_of_a_batch(folder):
    store = PairStore(folder, "train")
    assert torch.equal(stream(store, 7, epochs=2), stream(store, 100, epochs=2))


def test_each_epoch_has_another_order_and_other_degradations(folder):
    first, second = stream(PairStore(folder, "train"), 20, epochs=2).split(TOTAL)
    assert not torch.equal(first, second - 2**40)
    assert not set(first.tolist()) & set(second.tolist())


def test_each_seed_has_another_order(folder):
    store = PairStore(folder, "train")
    assert not torch.equal(stream(store, 20, epochs=1, seed=1), stream(store, 20, epochs=1, seed=2))


def test_pairs_of_different_shards_are_mixed(folder):
    shards = stream(PairStore(folder, "train"), 20, epochs=1)[:20] // 50
    assert len(shards.unique()) > 1


def test_a_batch_larger_than_the_store_goes_through_several_epochs(folder):
    batch = PairStore(folder, "train").batch(0, 300, seed=1)
    assert len(batch.seed) == 300 and (batch.seed // 2**40).unique().tolist() == [0, 1, 2]


def test_a_store_without_shards_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"there are no shards train-\*\.parquet; run `dvc repro synthesize`"):
        PairStore(tmp_path, "train")


def test_a_split_does_not_see_the_others_shards(folder):
    with pytest.raises(InputError, match=r"no shards val-\*"):
        PairStore(folder, "val")


@pytest.mark.parametrize("left", [0, 10, 2000, -1])
def test_a_cut_shard_is_refused(folder, left):
    path = folder / "train-00001.parquet"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"train-00001\.parquet: is cut short or not Parquet; delete .*synthesize"):
        PairStore(folder, "train")


def test_damage_inside_a_shard_is_noticed_when_it_is_read(folder):
    path = folder / "train-00001.parquet"
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"train-00001\.parquet: is damaged in row group 0"):
        list(PairStore(folder, "train").all())


def test_a_shard_of_another_tile_is_refused(folder):
    pairs = drawn(5, tile=32)
    pair_store.write(folder / "train", 3, [(pairs, origin(pairs))], settings={"tile": 32})
    with pytest.raises(InputError, match=r"train-00003\.parquet: was made with tile 32 and 16 was expected"):
        PairStore(folder, "train")


def test_a_missing_last_shard_is_noticed(folder):
    (folder / "train-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"its train shards hold 100 pairs and pairs.json counts 123; delete"):
        PairStore(folder, "train")


def test_shards_whose_run_did_not_end_are_refused(folder):
    (folder / pair_store.COUNTS).unlink()
    with pytest.raises(InputError, match=r"has no readable pairs.json .* run `dvc repro synthesize`"):
        PairStore(folder, "train")


def test_a_missing_shard_in_the_middle_is_refused(folder):
    (folder / "train-00001.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="no such shard; run `dvc repro synthesize`") as caught:
        PairStore(folder, "train")
    assert caught.value.filename == str(folder / "train-00001.parquet")


def test_a_pair_takes_less_than_a_tenth_of_its_bytes_as_pictures(tmp_path):
    tile, parts = 64, []
    for seed in range(8):
        edge = boundaries(scene(160, 200, batch=1, seed=seed), num_classes=CLASSES)[0][0]
        generator = torch.Generator().manual_seed(seed)
        places = torch.randint(0, 96, (128, 2), generator=generator)
        still = identity(128, like=edge)
        theta = still + 0.1 * torch.randn(still.shape, generator=generator) * torch.tensor([[1.0], [1.0], [0.0]])
        tiles = cut(edge, places, still, tile=tile), cut(edge, places, theta, tile=tile)
        parts.append(Pairs(*tiles, theta, torch.randint(2**40, (128,), generator=generator)))
    pairs = join(parts)
    pair_store.write(tmp_path / "train", 0, [(pairs, origin(pairs))], settings={"tile": tile})
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size / len(pairs.seed) <= 2 * tile**2 / 10
