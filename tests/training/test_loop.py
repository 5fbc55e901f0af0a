import json
import math
import os
import signal
import subprocess
import sys
from statistics import fmean

import pytest
import torch
from torch import nn

from inverseform.settings import InputError
from inverseform.training import loop
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.loop import ROWS, Curve, ends_a_row, train
from inverseform.training.optimiser import OptimiserParams
from tests.drawn import ROOT

PARAMS = OptimiserParams(
    name="adamw", learning_rate=0.02, weight_decay=0.01, steps=12, batch=4, warm_up=3, schedule="cosine", seed=1
)


def network(seed=0):
    """With dropout and a batch norm: what a step draws, and what it keeps, must come back too."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))


def batches(step):
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(step))


def loss(model, batch):
    near = (model(batch) - batch[:, :2]).square().mean()
    small = model[0].weight.abs().mean()
    return {"total": near + 0.1 * small, "near": near, "small": small}


def weights_of(model):
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def run(folder, *, params=PARAMS, model=None, loss=loss, until=None):
    """Weights and last step of a run, cut off after a step if it is said."""
    model = model or network()
    step = None
    for step in train(model, batches, loss, params, place=Place(folder, fingerprint("run"))):
        if step.step == until:
            break
    return weights_of(model), step


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(loop, "EVERY", -1.0)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_run_in_parts_gives_the_same_weights_and_the_same_curve(tmp_path, often, name):
    params = PARAMS.model_copy(update={"name": name, "steps": 250})
    whole, last = run(tmp_path / "whole", params=params)
    for until in (1, 2, 7, 144, None):
        parts, end = run(tmp_path / "parts", params=params, until=until, model=network(seed=0 if until == 1 else 5))
    assert torch.equal(whole, parts)
    assert end.history == last.history and len(last.history) == 250 // 2
    assert {"step", "total", "near", "small"} == set(last.history[0])


def test_a_finished_run_gives_its_curve_again(tmp_path, often):
    whole, last = run(tmp_path)
    again, end = run(tmp_path, model=network(seed=3))
    assert torch.equal(whole, again)
    assert (end.step, end.terms, end.history) == (PARAMS.steps, {}, last.history)


def test_it_learns_and_leaves_no_checkpoint_where_there_was_no_time_for_one(tmp_path):
    params = PARAMS.model_copy(update={"steps": 150})
    _, last = run(tmp_path / "run", params=params)
    assert last.history[-1]["near"] < 0.7 * last.history[0]["near"]
    assert not (tmp_path / "run").exists()


def test_a_caller_that_may_refuse_what_came_out_is_left_the_last_step(tmp_path):
    model = network()
    whole = list(train(model, batches, loss, PARAMS, place=Place(tmp_path, fingerprint("run")), keep=True))[-1]
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{PARAMS.steps:09d}"]
    again = network(seed=3)
    (last,) = train(again, batches, loss, PARAMS, place=Place(tmp_path, fingerprint("run")), keep=True)
    assert last.step == PARAMS.steps and last.history == whole.history
    assert torch.equal(weights_of(again), weights_of(model))


def test_a_row_of_the_curve_is_the_mean_since_the_row_before():
    curve = Curve(every=3)
    values = [1.0, 2.0, 6.0, 4.0, 4.0, 1.0, 9.0]
    for step, value in enumerate(values, 1):
        curve.add(step, {"total": value})
    assert curve.rows == [{"step": 3, "total": fmean(values[:3])}, {"step": 6, "total": fmean(values[3:6])}]
    again = Curve(every=3, **json.loads(json.dumps(curve.state())))
    for each in (curve, again):
        each.add(8, {"total": 0.3})
        each.add(9, {"total": 0.1})
    assert again.rows == curve.rows and len(curve.rows) == 3


def test_a_term_that_some_steps_have_is_their_mean_and_is_asked_for_where_a_row_ends():
    curve = Curve(every=2)
    for step in range(4):
        curve.add(step + 1, {"total": 1.0, **({"norm": float(step)} if step % 2 else {})})
    assert curve.rows == [{"step": 2, "total": 1.0, "norm": 1.0}, {"step": 4, "total": 1.0, "norm": 3.0}]
    assert [step for step in range(250) if ends_a_row(step, 250)] == list(range(1, 250, 2))


@pytest.mark.parametrize("steps", [1, 99, 100, 250])
def test_a_curve_has_a_row_for_each_step_or_about_a_hundred(tmp_path, steps):
    _, last = run(tmp_path, params=PARAMS.model_copy(update={"steps": steps}))
    assert min(steps, ROWS) <= len(last.history) < 2 * ROWS
    # The mean over a row's steps: none is counted twice or left out.
    assert last.history[0]["step"] == max(1, steps // ROWS)


@pytest.mark.parametrize(("name", "value"), [("near", math.nan), ("small", math.inf), ("total", -math.inf)])
def test_a_term_that_is_not_finite_is_named_and_the_checkpoint_before_it_stays(tmp_path, often, name, value):
    calls = iter(range(PARAMS.steps))

    def failing(model, batch):
        terms = loss(model, batch)
        return {**terms, name: terms[name] * value} if next(calls) == 4 else terms

    with pytest.raises(InputError, match=rf"the loss term {name} is (nan|-?inf) at step 5,.*lower the learning rate"):
        run(tmp_path, loss=failing)
    kept, end = run(tmp_path, until=5)
    assert end.step == 5
    assert torch.equal(kept, run(tmp_path / "other", until=5)[0])


def test_a_gradient_that_is_not_finite_is_told_before_it_spoils_the_weights(tmp_path):
    def rooted(model, batch):
        # 0 with a gradient of infinity times 0: finite itself.
        return {"total": loss(model, batch)["total"] + (model[0].weight * 0).sum().abs().sqrt()}

    model = network()
    with pytest.raises(InputError, match=r"the norm of the gradient is nan at step 1,"):
        run(tmp_path, loss=rooted, model=model)
    assert weights_of(model).isfinite().all()


def test_the_handlers_of_the_caller_come_back(tmp_path):
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    run(tmp_path, until=3)
    run(tmp_path)
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["TERM", "INT"]
)
@pytest.mark.parametrize("at", [3, PARAMS.steps - 1])
def test_a_signal_is_heeded_once_its_step_is_whole_and_saved(tmp_path, number, expected, at):
    calls = iter(range(PARAMS.steps))

    def interrupted(model, batch):
        if next(calls) == at:
            os.kill(os.getpid(), number)
        return loss(model, batch)

    with pytest.raises(expected) as left:
        run(tmp_path / "run", loss=interrupted)
    assert number == signal.SIGINT or left.value.code == 143
    assert [path.name for path in (tmp_path / "run").iterdir()] == [f"step-{at + 1:09d}"]
    assert torch.equal(run(tmp_path / "run", model=network(seed=4))[0], run(tmp_path / "whole")[0])


def test_a_signal_behind_the_last_step_is_not_lost(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        for step in train(network(), batches, loss, PARAMS, place=Place(tmp_path, "run")):
            if step.step == PARAMS.steps:
                os.kill(os.getpid(), signal.SIGINT)


LONG = PARAMS.model_copy(update={"steps": 300})
KILLS = """
import hashlib, json, os, signal, sys, time
from pathlib import Path
import torch
from inverseform.training import loop
from inverseform.training.checkpoint import Place
from tests.training.test_loop import LONG, batches, loss, network, weights_of

torch.set_num_threads(1)
loop.EVERY = 0.0

def train(folder):
    model = network()
    for step in loop.train(model, batches, loss, LONG, place=Place(folder, "run")):
        pass
    digest = hashlib.sha256(weights_of(model).numpy().tobytes()).hexdigest()
    folder.with_suffix(".json").write_text(json.dumps([digest, step.history]))

def killed(folder, after):
    child = os.fork()
    if not child:
        train(folder)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

whole, parts = (Path(sys.argv[1], name) for name in ("whole", "parts"))
# In this process, so that all that torch does but once is done before the runs that are killed.
train(whole)
left = []
for after in (0.013, 0.05, 0.111, 0.07, 0.031, 0.093, 0.047, 0.101, 0.059, 0.083):
    killed(parts, after)
    left.append(sorted(path.name for path in parts.glob("*")))
train(parts)
print(json.dumps(left))
"""


def test_a_run_killed_at_any_moment_and_run_again_gives_the_same(tmp_path):
    """Checkpoints follow each other as fast as they go, so that kills fall into the middle of writing one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)
    assert any(left), "every run was killed before its first checkpoint, or had ended"
    # However a run was killed, the next one found what was done before.
    steps = [max((name for name in names if name.startswith("step-")), default="") for names in left]
    assert steps == sorted(steps)
    whole, parts = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "parts"))
    assert parts == whole
