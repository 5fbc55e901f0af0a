import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from inverseform.inverse_net import PRETRAINED, InverseNet, InverseNetSettings, load, pretrained, save
from inverseform.inverse_net.alignment import AlignmentParams, LevelParams
from inverseform.inverse_net.siamese import SiameseParams
from inverseform.settings import InputError
from inverseform.transform import from_offsets
from tests.drawn import small_net

ALIGNMENT = AlignmentParams(
    name="alignment", pooling=1, smoothing=1.0, subsampling=2, features=(4, 6, 8),
    levels=(LevelParams(stride=16, reach=1, width=8, depth=1), LevelParams(stride=8, reach=0, width=8, depth=1)),
)  # fmt: skip


def tiles(count=5, side=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, side, side, generator=generator), torch.rand(count, side, side, generator=generator)


def with_network(params, tile=16):
    """The settings of `small_net` with another network."""
    settings = small_net().settings.model_copy(update={"network": params, "tile": tile})
    torch.manual_seed(1)
    return InverseNet(settings)


NETWORKS = (
    small_net(),
    with_network(SiameseParams(name="siamese", pooling=1, widths=(4, 6))),
    with_network(ALIGNMENT, tile=32),
)


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.settings.network.name)
def test_a_calibrated_estimate_of_a_perfect_prediction_is_the_identity(net):
    _, target = tiles(side=net.settings.tile)
    assert torch.equal(net.estimate(target, target), torch.eye(3).expand(len(target), 3, 3))
    assert not torch.allclose(net.estimate(target, target, calibrated=False), torch.eye(3).expand(len(target), 3, 3))


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.settings.network.name)
def test_an_estimate_uncalibrated_is_the_answer_itself(net):
    predicted, target = tiles(side=net.settings.tile)
    assert torch.equal(net.estimate(predicted, target, calibrated=False), net.theta(net(predicted, target)))


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.settings.network.name)
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(net):
    predicted, target = tiles(side=net.settings.tile)
    alone = torch.cat([net(p[None], t[None]) for p, t in zip(predicted, target, strict=True)])
    assert torch.allclose(net(predicted, target), alone, atol=1e-5)


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.settings.network.name)
def test_the_last_of_the_answers_on_the_way_is_the_answer(net):
    predicted, target = tiles(side=net.settings.tile)
    assert torch.equal(net.refine(predicted, target)[-1], net(predicted, target))


def test_the_packages_own_network_fits_in_8_mb_and_is_read_in_single_precision():
    net = pretrained()
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) <= 8 << 20
    assert {tensor.dtype for tensor in net.state_dict().values()} == {torch.float32} and not net.training


def test_pooling_is_the_same_network_on_a_larger_image():
    small, large = pretrained(), pretrained(pooling=2)
    predicted, target = tiles(side=128)
    doubled = [maps.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2) for maps in (predicted, target)]
    assert (large.settings.tile, large.settings.boundary.radius) == (256, 2)
    assert torch.allclose(large(*doubled), small(predicted, target), atol=1e-4)


def test_no_pooling_is_1_and_not_0():
    with pytest.raises(InputError, match="pooling is 0: at least 1"):
        pretrained(pooling=0)


def test_half_precision_on_disk_changes_an_answer_by_its_rounding(tmp_path):
    net = small_net(seed=5)
    save(tmp_path / "net", net, half=True)
    assert (load(tmp_path / "net")(*tiles()) - net(*tiles())).abs().max() < 2e-3


def test_a_unit_is_asked_for_every_number():
    settings = small_net().settings.model_dump()
    with pytest.raises(ValueError, match="6 means and 5 scales: as many as degrees_of_freedom, 6"):
        InverseNetSettings.model_validate({**settings, "scale": settings["scale"][:5]})


@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.settings.network.name)
def test_a_targets_share_can_be_had_alone(net):
    predicted, target = tiles(side=net.settings.tile)
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


def test_a_network_that_does_not_fit_its_settings_is_refused(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "settings.json"
    settings = json.loads(file.read_text())
    settings["tile"] = 32
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"net: its weights do not fit its settings .*network.layers.0.weight"):
        load(tmp_path / "net")


def test_a_missing_weight_is_refused_and_not_drawn_at_random(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "weights.safetensors"
    tensors = load_file(file)
    del tensors["network.layers.1.bias"]
    save_file(tensors, file)
    with pytest.raises(InputError, match=r"Missing key\(s\) in state_dict: \"network.layers.1.bias\""):
        load(tmp_path / "net")


def test_settings_of_something_else_are_refused(tmp_path):
    save(tmp_path / "net", small_net())
    file = tmp_path / "net" / "settings.json"
    settings = json.loads(file.read_text())
    del settings["scale"]
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"net: its settings are not those of an inverse network"):
        load(tmp_path / "net")
