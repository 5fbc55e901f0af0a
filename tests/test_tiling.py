import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.tiling import tiles, untile

sides = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(1, 16))
def test_tiles_put_together_again_are_the_map(height, width, tile):
    maps = torch.rand(2, 1, height, width)
    assert torch.equal(untile(tiles(maps, tile), height, width), maps)


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(1, 16), st.integers(1, 16))
def test_tiles_are_the_windows_of_a_loop(height, width, tile, stride):
    maps = torch.rand(1, 1, height, width)
    cut = tiles(maps, tile, stride=stride)
    wide = torch.zeros(height + tile + stride, width + tile + stride)
    wide[:height, :width] = maps[0, 0]
    rows = range(0, max(1, height - tile + stride), stride)
    columns = range(0, max(1, width - tile + stride), stride)
    expected = [wide[i : i + tile, j : j + tile] for i in rows for j in columns]
    assert torch.equal(cut[0], torch.stack(expected))


@settings(deadline=None, max_examples=60)
@given(sides, sides, st.integers(1, 16))
def test_nothing_of_the_map_is_left_out_and_nothing_added(height, width, tile):
    maps = torch.rand(1, 1, height, width, dtype=torch.float64)
    assert torch.allclose(tiles(maps, tile).sum(), maps.sum())
