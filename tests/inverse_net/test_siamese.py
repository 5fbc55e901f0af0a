import pytest
import torch

from inverseform.inverse_net.siamese import Siamese, SiameseParams
from inverseform.settings import InputError

PARAMS = SiameseParams(name="siamese", pooling=2, widths=(8, 12))


def test_both_maps_go_through_one_encoder():
    torch.manual_seed(0)
    net, tile = Siamese(PARAMS, 16, 6), torch.rand(2, 16, 16)
    both = torch.cat([net.embed(tile), net.embed(tile)], dim=1)
    assert torch.equal(net.compare(tile, net.embed(tile)), net.head(both))


def test_it_does_not_see_where_in_the_tile_a_pattern_lies():
    """What the paper's sec. 5 holds against it: the average over places forgets the place."""
    torch.manual_seed(0)
    net, tile = Siamese(PARAMS, 64, 6), torch.zeros(1, 64, 64)
    tile[:, 20:28, 20:28] = torch.rand(1, 8, 8)
    moved = tile.roll((16, 8), dims=(1, 2))
    assert torch.allclose(net.embed(tile), net.embed(moved), atol=1e-5)
    assert not torch.allclose(net.embed(tile), net.embed(tile.transpose(1, 2)), atol=1e-4)


def test_a_tile_that_cannot_be_halved_so_often_is_refused():
    with pytest.raises(InputError, match=r"tile is 18 and .*parts of 4 pixels.*set the tile to 20"):
        Siamese(PARAMS, 9, 6)
