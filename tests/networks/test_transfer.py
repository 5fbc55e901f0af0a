import pytest
import torch

from inverseform import networks
from inverseform.networks import Card, SmpParams
from inverseform.networks.transfer import transfer
from inverseform.settings import InputError

PARAMS = SmpParams(
    name="smp", architecture="FPN", encoder="resnet18", weights=None, boundary_head=True, boundary_feedback=False
)


def built(num_classes, seed, params=PARAMS):
    torch.manual_seed(seed)
    return networks.build(params, num_classes=num_classes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    card = Card(
        network=PARAMS, classes=("a", "b", "c"), colours=((0, 0, 0),) * 3, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6),
        inverse_net=None, params="a" * 64,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("segmenter") / "segmenter"
    networks.save(path, built(3, seed=1), card)
    return path


def test_all_but_the_layers_of_the_classes_is_taken(folder):
    theirs, fresh, network = (built(n, seed).state_dict() for n, seed in ((3, 1), (5, 2), (5, 2)))
    network = built(5, seed=2)
    card = transfer(network, folder, num_classes=5)
    assert card.mean == (0.1, 0.2, 0.3) and card.classes == ("a", "b", "c")
    kept = []
    for name, tensor in network.state_dict().items():
        if tensor.shape == theirs[name].shape:
            assert torch.equal(tensor, theirs[name]), name
        else:
            kept.append(name)
            assert torch.equal(tensor, fresh[name]), name
    # The convolution of the segmentation head, and its bias.
    assert [len(fresh[name]) for name in kept] == [5, 5]


def test_with_as_many_classes_all_is_taken(folder):
    network = built(3, seed=2)
    transfer(network, folder, num_classes=3)
    assert all(
        torch.equal(tensor, built(3, seed=1).state_dict()[name]) for name, tensor in network.state_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"boundary_head": False}, "the network of the settings has no boundary_head.*, and it has: it is another"),
        ({"encoder": "resnet34"}, "it has no .*, and the network of the settings has: it is another network"),
        ({"architecture": "Unet"}, "it is another network"),
    ],
)
def test_another_network_is_refused_and_nothing_is_changed(folder, change, told):
    network = built(3, 2, PARAMS.model_copy(update=change))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InputError, match=told):
        transfer(network, folder, num_classes=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_width_that_happens_to_differ_is_not_taken_for_the_classes(folder):
    network = built(3, seed=2)
    name = next(name for name, tensor in network.state_dict().items() if tensor.dim() == 4)
    parent = network.get_submodule(name.rpartition(".")[0])
    parent.weight = torch.nn.Parameter(torch.zeros(7, *parent.weight.shape[1:]))
    with pytest.raises(InputError, match=r"its .*weight is \(.*\) and \(7, .*\) is needed"):
        transfer(network, folder, num_classes=3)
