import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inverseform.data.packed_map import pack, unpack
from inverseform.settings import InputError

MAP = np.random.default_rng(0).integers(0, 3, (40, 70), dtype=np.uint8)


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_a_map_comes_back_as_it_was(map):
    found = unpack(pack(map), source="x")
    assert np.array_equal(found, map) and found.dtype == np.uint8 and found.flags.writeable


def test_the_same_map_gives_the_same_bytes_wherever_it_lies():
    assert pack(MAP) == pack(MAP.copy()) == pack(np.asfortranarray(MAP))


@pytest.mark.parametrize("kept", [0, 7, 8, 100])
def test_a_map_cut_short_is_told_with_where_it_is(kept):
    with pytest.raises(InputError, match=r"shard 3: its map cannot be decoded .* run `dvc repro ingest`"):
        unpack(pack(MAP)[:kept], source="shard 3")


@pytest.mark.parametrize("size", [b"\xff" * 8, b"\0" * 8, b"\x28\0\0\0\x47\0\0\0"], ids=["huge", "none", "other"])
def test_a_damaged_size_is_told_and_takes_no_memory(size):
    with pytest.raises(InputError, match="its map cannot be decoded"):
        unpack(size + pack(MAP)[8:], source="x")
