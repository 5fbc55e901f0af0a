import pytest
import torch
import torch.nn.functional as F

from inverseform.inverse_net import InverseNet
from inverseform.inverse_net.dense import DenseParams
from inverseform.settings import InputError
from tests.drawn import small_net


def tiles(count=5, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, side, side, generator=generator), torch.rand(count, side, side, generator=generator)


def test_it_is_the_dense_network_of_the_paper_both_tiles_flattened_into_one_vector():
    net = small_net()
    predicted, target = tiles()
    vector = torch.cat([F.avg_pool2d(tile, 2).flatten(1) for tile in (predicted, target)], dim=1)
    slow = torch.nn.Sequential(
        net.network.layers[0], torch.nn.ReLU(), net.network.layers[1], torch.nn.ReLU(), net.network.layers[2]
    )(vector)
    assert torch.allclose(net(predicted, target), slow, atol=1e-6)


def test_the_published_network_is_one_setting():
    settings = small_net().settings.model_copy(
        update={
            "tile": 224, "degrees_of_freedom": 4, "mean": (0.0,) * 4, "scale": (1.0,) * 4,
            "network": DenseParams(name="dense", pooling=1, hidden=(1000, 32)),
        }
    )  # fmt: skip
    with torch.device("meta"):
        assert sum(p.numel() for p in InverseNet(settings).parameters()) == 100_385_164


def test_a_tile_that_cannot_be_pooled_is_refused():
    settings = small_net().settings.model_copy(update={"tile": 15})
    with pytest.raises(InputError, match=r"tile is 15 and network.pooling 2.*set the tile to 14"):
        InverseNet(settings)
