import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.training.optimiser import OptimiserParams, build, learning_rate

PARAMS = OptimiserParams(
    name="adamw",
    learning_rate=0.01,
    weight_decay=0.1,
    steps=200,
    batch=2,
    accumulate=1,
    clip=None,
    ema=None,
    warm_up=20,
    schedule="cosine",
    seed=1,
)


def with_(**changes):
    return PARAMS.model_copy(update=changes)


def slow(params, step):
    """The rate as its setting tells it: a line, then half a cosine or a power of the share that is left."""
    if step < params.warm_up:
        return params.learning_rate * (step + 1) / params.warm_up
    done = (step - params.warm_up) / (params.steps - params.warm_up)
    if params.schedule == "cosine":
        return params.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return params.learning_rate * math.pow(1 - done, 0.9)


@settings(deadline=None, max_examples=50)
@given(
    schedule=st.sampled_from(["cosine", "poly"]), warm_up=st.integers(0, 50), steps=st.integers(51, 500),
    rate=st.floats(1e-5, 1),
)  # fmt: skip
def test_the_schedule_is_its_slow_twin(schedule, warm_up, steps, rate):
    params = with_(schedule=schedule, warm_up=warm_up, steps=steps, learning_rate=rate)
    for step in range(steps):
        assert learning_rate(params, step) == pytest.approx(slow(params, step), rel=1e-9, abs=1e-12 * rate)


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_it_rises_in_a_line_to_its_peak_then_falls_to_nearly_nothing(schedule):
    rates = [learning_rate(with_(schedule=schedule), step) for step in range(PARAMS.steps)]
    rises = [b - a for a, b in pairwise(rates[:20])]
    assert rises == pytest.approx([0.01 / 20] * 19)
    assert max(rates) == rates[19] == rates[20] == 0.01
    assert all(a > b > 0 for a, b in pairwise(rates[20:]))
    assert rates[-1] < 0.01 * 0.01


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
@pytest.mark.parametrize("warm_up", [0, 1, 5, 9])
def test_a_warm_up_of_no_steps_and_one_as_long_as_the_run_or_longer_are_no_error(schedule, warm_up):
    params = with_(schedule=schedule, warm_up=warm_up, steps=5)
    rates = [learning_rate(params, step) for step in range(params.steps)]
    assert all(0 < rate <= params.learning_rate for rate in rates)
    assert warm_up or rates[0] == params.learning_rate


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_optimiser_is_the_one_of_that_name(name, kind):
    optimiser = build(with_(name=name), torch.nn.Linear(2, 2).parameters())
    group = optimiser.param_groups[0]
    assert type(optimiser) is kind
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.01, 0.1, 2)
    assert name == "adamw" or (group["momentum"], group["nesterov"]) == (0.9, True)
