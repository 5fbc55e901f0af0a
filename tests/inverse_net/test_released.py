import pytest
import torch

from inverseform.inverse_net.released import SETTINGS, load_released
from inverseform.settings import InputError


def released(tmp_path, **changes):
    """A file of the released layout, as torch.save writes it: every weight 0 but those of the last layer's bias.

    All zeros of a tensor are one and the same, as 400 MB of them take seconds to write.
    """
    shapes = {"fc.0": (1000, 2 * 224 * 224), "fc.2": (32, 1000), "fc.4": (4, 32)}
    tensors = {f"{layer}.weight": torch.zeros(1).expand(shape) for layer, shape in shapes.items()}
    tensors |= {f"{layer}.bias": torch.zeros(shape[0]) for layer, shape in shapes.items()}
    tensors["fc.4.bias"] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    tensors |= changes
    path = tmp_path / "distance_measures_regressor.pth"
    torch.save({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    return path


def test_the_released_layout_is_read_whole(tmp_path):
    net = load_released(released(tmp_path))
    assert net.settings == SETTINGS and not net.training
    assert sum(p.numel() for p in net.parameters()) == 100_385_164
    assert torch.equal(net(torch.rand(1, 224, 224), torch.rand(1, 224, 224)), torch.tensor([[0.1, 0.2, 0.3, 0.4]]))


def test_a_missing_layer_is_refused_and_not_drawn_at_random(tmp_path):
    with pytest.raises(InputError, match=r"name distance_measures_regressor\.pth"):
        load_released(released(tmp_path, **{"fc.2.bias": None}))


def test_a_layer_of_another_size_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"do not fit its settings .*network.layers.1.weight"):
        load_released(released(tmp_path, **{"fc.2.weight": torch.zeros(32, 999)}))


class Payload:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    path = tmp_path / "other.pth"
    torch.save({"fc.0.weight": Payload()}, path)
    with pytest.raises(InputError, match="cannot be read as weights alone"):
        load_released(path)
    assert "executed" not in capsys.readouterr().out


def test_a_file_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "cut.pth"
    path.write_bytes(released(tmp_path).read_bytes()[:1000])
    with pytest.raises(InputError, match=r"copy distance_measures_regressor\.pth again"):
        load_released(path)
