import math

import pytest
import torch

from inverseform.settings import InputError
from inverseform.training.checkpoint import Place
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import train
from tests.training.toy import PARAMS, batches, loss, network, run, weights_of, with_


def rooted(model, batch):
    """Its root is 0 with a gradient of infinity times 0: finite itself."""
    terms = loss(model, batch)
    terms["root"] = (next(model.parameters()) * 0).sum().abs().sqrt()
    return {**terms, "total": terms["total"] + terms["root"]}


def test_a_gradient_that_is_not_finite_is_told_with_its_term_before_it_spoils_the_weights(tmp_path):
    model = network()
    told = r"the norm of the gradient is nan at step 1, that of the loss term root nan, .* samples 0 to 3 of .*learning"
    with pytest.raises(InputError, match=told):
        run(tmp_path, loss=rooted, model=model)
    assert weights_of(model).isfinite().all()


@pytest.mark.parametrize("bad", [0, 1])
def test_it_is_the_micro_batch_that_is_named_as_the_caller_knows_it(tmp_path, bad):
    def failing(model, batch):
        terms, calls = loss(model, batch), next(count)
        return (
            {**terms, "near": terms["near"] * math.nan, "total": terms["total"] * math.nan} if calls == bad else terms
        )

    count = iter(range(100))
    with pytest.raises(
        InputError,
        match=rf"term near is nan at step 1, .* its batch was part {2 * bad}\+2; look at these samples, or lower",
    ):
        run(tmp_path, loss=failing, params=with_(accumulate=2), describe=lambda p: f"part {p.first}+{p.size}")


def test_a_gradient_that_is_finite_the_second_time_is_told_as_that(tmp_path):
    calls = iter([rooted, loss])
    with pytest.raises(InputError, match=r"gradient is nan at step 1, .* computed anew each term's is, .*32-true"):
        run(tmp_path, loss=lambda model, batch: next(calls)(model, batch))


HALF = PLAIN.model_copy(update={"precision": "16-mixed"})


def test_in_half_precision_a_gradient_that_overflows_for_its_scale_is_skipped(tmp_path):
    def large(model, batch):
        # In half precision, times 65536, beyond 65504; a few halvings later it is not.
        return {"total": model(batch).mean() * 20.0}

    model, stood = network(), []
    before = model[0].weight.detach().clone()
    for _ in train(model, batches, large, PARAMS, machine=launch(HALF), place=Place(tmp_path, {}, {})):
        stood.append(torch.equal(model[0].weight, before))
    assert stood[0] and not stood[-1]


def test_in_half_precision_one_that_is_never_finite_is_told_in_the_end(tmp_path):
    model = network()
    with pytest.raises(InputError, match=r"the norm of the gradient is nan at step \d+, that of the loss term root"):
        run(tmp_path, loss=rooted, model=model, machine=HALF, params=with_(steps=40))
    assert weights_of(model).isfinite().all()
