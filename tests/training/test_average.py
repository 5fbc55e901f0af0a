import pytest
import torch

from inverseform.training.average import WeightAverage
from tests.training.toy import network


def test_the_average_is_its_slow_twin_and_the_model_stays_as_it_is():
    model = network()
    average = WeightAverage(model, 0.5)
    slow = model[0].weight.detach().clone().double()
    for step in range(30):
        with torch.no_grad():
            model[0].weight.add_(torch.randn_like(model[0].weight))
            model[1].running_mean.fill_(step)
        kept = model[0].weight.detach().clone()
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        slow = decay * slow + (1 - decay) * kept.double()
        assert torch.equal(model[0].weight, kept)
    assert torch.allclose(average.model[0].weight.double(), slow, atol=1e-5)
    assert (average.model[1].running_mean == 29).all()


def test_the_averaged_network_is_no_part_of_a_graph_and_evaluates():
    average = WeightAverage(network().train(), 0.9)
    assert not average.model.training and not any(p.requires_grad for p in average.model.parameters())


@pytest.mark.parametrize(("step", "left"), [(0, 0.1), (8, 0.5), (10**6, 0.99)])
def test_the_warm_up_lets_it_forget_its_beginning(step, left):
    model = network()
    average = WeightAverage(model, 0.99)
    with torch.no_grad():
        before = model[0].bias.clone()
        model[0].bias.zero_()
    average.update(model, step)
    assert torch.allclose(average.model[0].bias, left * before, atol=1e-6)
