import pytest
import torch

from inverseform.inverse_net.network import Network


class Difference(Network):
    def embed(self, target):
        return target.mean(dim=(-2, -1))[:, None]

    def compare(self, predicted, embedded):
        return self.embed(predicted) - embedded


def test_a_network_without_levels_has_one_answer():
    net, one, other = Difference(), torch.rand(3, 8, 8), torch.rand(3, 8, 8)
    answers = net.refine(one, net.embed(other))
    assert len(answers) == 1 and torch.equal(answers[0], net.compare(one, net.embed(other)))


def test_a_network_must_say_how_it_embeds_and_compares():
    with pytest.raises(TypeError, match="abstract"):
        Network()
