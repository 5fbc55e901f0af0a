import pytest
import torch

from inverseform.settings import InputError
from inverseform.training.batches import Part
from inverseform.training.descent import Descent
from inverseform.training.launch import PLAIN, launch
from tests.training.toy import PARAMS, batches, loss, network, plain_network, weights_of, with_


def descent(model=None, machine=PLAIN, **changes):
    return Descent(model or network(), loss, with_(**changes), launch(machine))


def stream(count):
    return iter([batches(Part(0, i * count, count, i * count)) for i in range(4 // count)])


def test_the_gradient_is_that_of_the_batch_and_what_was_to_be_told_comes_back():
    slow = plain_network()
    loss(slow, next(stream(4)))["total"].backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in slow.parameters()])
    for accumulate in (1, 2):
        each = descent(plain_network(), accumulate=accumulate)
        found = each.gradient(0, stream(4 // accumulate), lambda: [0.0, 1.0])
        gradient = torch.cat([parameter.grad.flatten() for parameter in each.model.parameters()])
        assert torch.allclose(gradient, expected, atol=1e-7)
        assert found.length == pytest.approx(expected.norm().item(), rel=1e-6) and found.flags == [0.0, 1.0]
        assert list(found.means) == found.names == ["total", "near", "small"] and found.terms.shape == (accumulate, 3)
        assert found.is_finite


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_in_mixed_precision_the_gradient_is_nearly_the_same_and_unscaled(precision):
    plain, mixed = descent(plain_network()), descent(plain_network(), PLAIN.model_copy(update={"precision": precision}))
    exact, near = (each.gradient(0, stream(4), list).length for each in (plain, mixed))
    assert near == pytest.approx(exact, rel=0.02) and near != exact


def test_what_it_keeps_restores_it_and_the_layout_of_the_optimiser_is_that_of_the_weights():
    one = descent(ema=0.9)
    one.descend(0, one.gradient(0, stream(4), list).norm)
    other = descent(network(seed=3), ema=0.9)
    kept = {owner: {name: t.clone() for name, t in some.items()} for owner, some in one.tensors().items()}
    other.restore(kept, one.scale(), source="here")
    for each in (one, other):
        each.descend(1, each.gradient(1, stream(4), list).norm)
    assert torch.equal(weights_of(one.model), weights_of(other.model))
    assert torch.equal(weights_of(one.result), weights_of(other.result))
    state = other.optimiser.state_dict()["state"]
    assert all(state[i]["exp_avg"].stride() == p.stride() for i, p in enumerate(other.model.parameters()))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="here: its weights do not fit"):
        descent().restore(descent(plain_network()).tensors(), {}, source="here")


def test_a_compiled_network_takes_the_same_steps(monkeypatch):
    # Compiled for real takes a minute; that it is the compiled one which runs is what can go wrong here.
    calls, kept = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda model, **_: calls.append(model) or kept(model, backend="eager"))
    plain, compiled = descent(plain_network()), descent(plain_network(), PLAIN.model_copy(update={"compile": True}))
    for each in (plain, compiled):
        each.descend(0, each.gradient(0, stream(4), list).norm)
    assert set(calls) == {compiled.model} and torch.equal(weights_of(plain.model), weights_of(compiled.model))
    assert list(compiled.tensors()["model"]) == list(plain.tensors()["model"])


def test_the_seed_of_a_step_is_its_number_and_that_of_the_settings():
    each = descent()
    each.seed(3)
    one = torch.rand(2)
    torch.manual_seed(PARAMS.seed * 1_000_003 + 3)
    assert torch.equal(torch.rand(2), one)
