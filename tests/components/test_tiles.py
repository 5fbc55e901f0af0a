import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from components import tiles as room
from components.tiles import occupied, scene_pool, tiles
from inverseform.settings import InputError
from inverseform.spatial_transformer import SIDE
from tests.components.synthesis import TILE, params
from tests.drawn import sample_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return sample_store(tmp_path_factory.mktemp("drawn") / "samples", train=5, val=0, height=48, width=60)


def found(store, *, turn=0, count=20, each=4, seed=0, settings_seed=1, **changes):
    generator, chosen = torch.Generator().manual_seed(seed), params(seed=settings_seed, **changes)
    return list(tiles(chosen, store, "train", turn=turn, count=count, each=each, generator=generator))


def slowly(boundary, tile, share):
    """Every window looked at by itself."""
    _, height, width = boundary.shape
    places = []
    for row in range(max(1, height - tile + 1)):
        for column in range(max(1, width - tile + 1)):
            pixels = boundary[0, row : row + tile, column : column + tile].sum()
            if pixels > 0 and pixels >= share * tile**2:
                places.append([row, column])
    return torch.tensor(places, dtype=torch.int64).reshape(-1, 2)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(4, 9), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
       st.integers(0, 99))  # fmt: skip
def test_the_occupied_tiles_are_those_that_a_look_at_each_finds(height, width, tile, share, seed):
    boundary = (torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
    assert torch.equal(occupied(boundary, tile, share), slowly(boundary, tile, share))


@pytest.mark.parametrize(("count", "sizes"), [(20, [4] * 5), (10, [4, 4, 2]), (3, [3]), (26, [4] * 6 + [2])])
def test_as_many_tiles_come_as_were_asked_for_some_of_each_sample(store, count, sizes):
    assert [len(places) for _, places in found(store, count=count)] == sizes


def test_every_sample_is_used_once_before_one_is_used_again(store):
    names = [sample.name for sample, _ in found(store, count=40)]
    assert sorted(names[:5]) == sorted(store.names("train")) and names[5:] == names[:5]


def test_a_shard_begins_where_the_one_before_it_ends(store):
    names = [sample.name for sample, _ in found(store, count=20)]
    assert [sample.name for sample, _ in found(store, turn=2, count=20, seed=7)] == names[2:] + names[:2]


def test_the_seed_of_the_run_decides_the_order_and_the_generator_the_places(store):
    orders = {tuple(sample.name for sample, _ in found(store, settings_seed=seed)) for seed in range(5)}
    assert len(orders) > 1
    one, again, other = (found(store, seed=seed) for seed in (1, 1, 2))
    assert [sample.name for sample, _ in one] == [sample.name for sample, _ in other]
    one, again, other = (torch.cat([places for _, places in run]) for run in (one, again, other))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_tile_has_the_boundary_it_must_and_lies_in_the_map(store, share):
    for sample, places in found(store, occupancy=share, count=60):
        for row, column in places.tolist():
            window = sample.boundary[0, row : row + TILE, column : column + TILE]
            assert window.shape == (TILE, TILE) and window.sum() >= max(1, share * TILE**2)


def test_an_occupancy_that_no_tile_has_is_refused(store):
    with pytest.raises(InputError, match=r"occupancy is 0\.99: none of the 5 train samples has a tile of 24 pixels"):
        found(store, occupancy=0.99)


def test_samples_without_a_tile_are_passed_over(store):
    fullest = [pooled(store.maps("train", index).boundary).max().item() for index in range(5)]
    # Between the least and the fullest of them: some samples have such a tile, some have none.
    share = (min(fullest) + max(fullest)) / 2
    names = [name for name, most in zip(store.names("train"), fullest, strict=True) if most >= share]
    assert len(names) < 5 and {sample.name for sample, _ in found(store, occupancy=share)} == set(names)


def pooled(boundary):
    return F.avg_pool2d(boundary, TILE, stride=1)


def test_a_split_without_samples_is_refused(store):
    with pytest.raises(InputError, match=r"there are no val samples from drawn; give .* run `dvc repro ingest`"):
        next(tiles(params(), store, "val", turn=0, count=1, each=1, generator=torch.Generator()))


def test_the_localiser_is_fitted_to_tiles_of_every_sample_with_their_surroundings(store, monkeypatch):
    monkeypatch.setattr(room, "POOL", 15)
    one, again, other = (scene_pool(params(source="spatial_transformer", seed=seed), store) for seed in (1, 1, 2))
    assert one.shape == (15, 2, 2 * SIDE, 2 * SIDE) and one.dtype == torch.uint8
    assert torch.equal(one, again) and not torch.equal(one, other)
    # The tile is the middle half of its scene, and has a boundary; the image is there as well.
    assert (one[:, 1, SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2].flatten(1).amax(1) > 0).all()
    assert len(one[:, 0].unique()) > 1
