import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from inverseform.inverse_net import DenseParams, InverseNet, InverseNetSettings, load, save
from inverseform.settings import InputError
from inverseform.transform import from_offsets
from tests.drawn import small_net


def tiles(count=5, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, side, side, generator=generator), torch.rand(count, side, side, generator=generator)


def test_it_is_the_dense_network_of_the_paper_both_tiles_flattened_into_one_vector():
    net = small_net()
    predicted, target = tiles()
    vector = torch.cat([F.avg_pool2d(tile, 2).flatten(1) for tile in (predicted, target)], dim=1)
    slow = torch.nn.Sequential(net.layers[0], torch.nn.ReLU(), net.layers[1], torch.nn.ReLU(), net.layers[2])(vector)
    assert torch.allclose(net(predicted, target), slow, atol=1e-6)


def test_a_unit_is_asked_for_every_number():
    settings = small_net().settings.model_dump()
    with pytest.raises(ValueError, match="6 means and 5 scales: as many as degrees_of_freedom, 6"):
        InverseNetSettings.model_validate({**settings, "scale": settings["scale"][:5]})


def test_the_published_network_is_one_setting():
    settings = small_net().settings.model_copy(
        update={
            "tile": 224, "degrees_of_freedom": 4, "mean": (0.0,) * 4, "scale": (1.0,) * 4,
            "network": DenseParams(name="dense", pooling=1, hidden=(1000, 32)),
        }
    )  # fmt: skip
    with torch.device("meta"):
        assert sum(p.numel() for p in InverseNet(settings).parameters()) == 100_385_164


def test_a_targets_share_of_the_first_layer_can_be_had_alone():
    net = small_net()
    predicted, target = tiles()
    assert torch.equal(net.compare(predicted, net.embed(target)), net(predicted, target))


def test_theta_is_the_answer_in_its_own_unit():
    net = small_net()
    numbers = torch.randn(3, 6)
    expected = from_offsets(numbers * torch.tensor(net.settings.scale) + torch.tensor(net.settings.mean))
    assert torch.allclose(net.theta(numbers), expected)


def test_what_was_saved_answers_the_same(tmp_path):
    net = small_net(seed=3)
    save(tmp_path / "net", net)
    loaded = load(tmp_path / "net")
    assert loaded.settings == net.settings and not loaded.training
    assert torch.equal(loaded(*tiles()), net(*tiles()))


def test_a_tile_that_cannot_be_pooled_is_refused():
    settings = small_net().settings.model_copy(update={"tile": 15})
    with pytest.raises(InputError, match=r"tile is 15 and network.pooling 2.*set the tile to 14"):
        InverseNet(settings)


def test_a_network_that_does_not_fit_its_settings_is_refused(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "settings.json"
    settings = json.loads(file.read_text())
    settings["tile"] = 32
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"net: its weights do not fit its settings .*layers.0.weight"):
        load(tmp_path / "net")


def test_a_missing_weight_is_refused_and_not_drawn_at_random(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "weights.safetensors"
    tensors = load_file(file)
    del tensors["layers.1.bias"]
    save_file(tensors, file)
    with pytest.raises(InputError, match=r"Missing key\(s\) in state_dict: \"layers.1.bias\""):
        load(tmp_path / "net")


def test_settings_of_something_else_are_refused(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "settings.json"
    settings = json.loads(file.read_text())
    del settings["scale"]
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"net: its settings are not those of an inverse network"):
        load(tmp_path / "net")
