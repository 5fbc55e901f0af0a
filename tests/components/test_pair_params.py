import pytest
from pydantic import ValidationError

from inverseform.probes import probes
from tests.components.synthesis import params


def test_a_tile_of_probe_counts_once_for_every_move():
    chosen = params(tile=40, probe_tiles=3, train_pairs=7, val_pairs=2)
    assert chosen.counts == {"train": 7, "val": 2, "probe": 3 * len(probes(40))}
    assert chosen.moves("train") == chosen.moves("val") == 1 and chosen.moves("probe") == len(probes(40))


@pytest.mark.parametrize("size", [1, 48, 49, 1000])
def test_a_shard_is_the_size_asked_for_but_never_parts_the_moves_of_a_tile(size):
    chosen = params(shard_pairs=size)
    moves = chosen.moves("probe")
    assert chosen.shard_size("train") == chosen.shard_size("val") == size
    assert chosen.shard_size("probe") % moves == 0
    # Where not even one tile fits, it has a shard to itself.
    assert max(size, moves) - moves < chosen.shard_size("probe") <= max(size, moves)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("source", ["ranom"]), ("tile", [3, 24.0]), ("degrees_of_freedom", [5]), ("identity", [-0.1, 1.1]),
        ("predicted", [-0.1, 1.1]), ("occupancy", [-0.1, 1.1]), ("train_pairs", [0]), ("val_pairs", [0]),
        ("probe_tiles", [0]), ("pairs_per_sample", [0]), ("shard_pairs", [0]), ("seed", [-1, 2**32]), ("workers", [0]),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_by_name(name, values):
    for value in values:
        with pytest.raises(ValidationError, match=name):
            params(**{name: value})
