import json
import math
import os
import signal
import subprocess
import sys

import pytest
import torch

from inverseform.settings import InputError
from inverseform.training import curve, loop
from inverseform.training.checkpoint import Place
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import Validation
from tests.drawn import ROOT
from tests.training.toy import PARAMS, batches, loss, network, plain_network, run, weights_of, with_

EVERYTHING = {"accumulate": 2, "clip": 0.5, "ema": 0.9}


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(loop, "EVERY", -1.0)


def score(model):
    """Of a batch that is never trained on; it goes up and down."""
    batch = torch.randn(16, 6, generator=torch.Generator().manual_seed(999))
    assert not model.training
    return {"val_near": -(model(batch) - batch[:, :2]).square().mean().item()}


@pytest.mark.parametrize("changes", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_run_in_parts_gives_the_same_weights_curve_and_best(tmp_path, often, monkeypatch, name, changes):
    # Rows of two steps, so that some parts end within one.
    monkeypatch.setattr(curve, "ROWS", 20)
    params = with_(name=name, steps=50, learning_rate=0.1, **changes)
    validation = Validation(9, "val_near", score) if changes else None
    whole, last = run(tmp_path / "whole", params=params, validation=validation)
    for until in (1, 2, 7, 34, None):
        model = network(seed=0 if until == 1 else 5)
        parts, end = run(tmp_path / "parts", params=params, until=until, model=model, validation=validation)
    assert torch.equal(whole, parts)
    assert end.history == last.history and len(last.history) == 50 // 2
    assert {"step", "total", "near", "small"} == set(last.history[0])
    if changes:
        assert end.best.step == last.best.step and end.best.figures == last.best.figures
        assert all(torch.equal(tensor, end.best.tensors[k]) for k, tensor in last.best.tensors.items())
    else:
        assert last.best is None


def test_half_precision_in_parts_keeps_its_scale(tmp_path, often):
    half, params = PLAIN.model_copy(update={"precision": "16-mixed"}), with_(steps=9)
    whole, _ = run(tmp_path / "whole", params=params, machine=half)
    for until in (4, None):
        parts, _ = run(tmp_path / "parts", params=params, machine=half, until=until, model=network(seed=until or 5))
    # The first part began with other weights than the whole one.
    again, _ = run(tmp_path / "again", params=params, machine=half, model=network(seed=4))
    assert torch.equal(parts, again) and not torch.equal(whole, again)
    [one], [other] = (list((tmp_path / name).iterdir()) for name in ("parts", "again"))
    scales = [json.loads((kept / "settings.json").read_text())["facts"]["scale"] for kept in (one, other)]
    assert scales[0] == scales[1] and scales[0]["_growth_tracker"] > 4


def test_micro_batches_give_the_weights_of_the_whole_batch(tmp_path):
    whole, last = run(tmp_path / "a", model=plain_network())
    for accumulate in (2, 4):
        parts, end = run(tmp_path / "b", model=plain_network(), params=with_(accumulate=accumulate))
        assert torch.allclose(whole, parts, rtol=0, atol=1e-6) and not torch.equal(whole, weights_of(plain_network()))
        assert end.history[-1]["near"] == pytest.approx(last.history[-1]["near"], rel=1e-5)


def test_workers_and_the_layout_change_nothing(tmp_path):
    whole, _ = run(tmp_path / "a")
    ahead, _ = run(tmp_path / "b", machine=PLAIN.model_copy(update={"workers": 2}))
    assert torch.equal(whole, ahead)


def test_an_averaged_training_ends_with_the_average(tmp_path, often):
    seen = []
    last, _ = run(tmp_path / "a", params=with_(ema=0.9), validation=Validation(12, "x", lambda m: seen.append(
        weights_of(m)) or {"x": 1.0}))  # fmt: skip
    raw, _ = run(tmp_path / "b")
    assert torch.equal(last, seen[0]) and not torch.allclose(last, raw)


def test_a_gradient_is_shortened_to_the_norm_that_is_allowed(tmp_path):
    before, still = weights_of(network()), with_(name="sgd", weight_decay=0, warm_up=0, steps=1, learning_rate=1.0)
    moved = {clip: run(tmp_path / str(clip), params=still.model_copy(update={"clip": clip}))[0] - before
             for clip in (None, 1e-3, 1e6)}  # fmt: skip
    assert torch.equal(moved[None], moved[1e6])
    # Nesterov's momentum makes 1.9 of a first step; the buffers of the batch norm are no part of it.
    parameters = torch.cat([torch.ones(p.numel()) if n in dict(network().named_parameters()) else torch.zeros(p.numel())
                            for n, p in network().state_dict().items()]).double()  # fmt: skip
    assert (moved[1e-3] * parameters).norm().item() == pytest.approx(1.9e-3, rel=1e-2)


def test_the_best_weights_are_kept_and_told_with_their_figures(tmp_path):
    figures = iter([0.3, 0.9, 0.5, 0.9])
    seen = []

    def score(model):
        seen.append(weights_of(model))
        return {"val_miou": next(figures), "val_mba": 0.1}

    _, last = run(tmp_path, validation=Validation(5, "val_miou", score), params=with_(steps=17))
    assert (last.best.step, last.best.figures) == (10, {"val_miou": 0.9, "val_mba": 0.1})
    kept = torch.cat([tensor.flatten().double() for tensor in last.best.tensors.values()])
    assert torch.equal(kept, seen[1]) and not torch.equal(kept, seen[2])
    told = {row["step"]: row.get("val_miou") for row in last.history}
    assert {step: value for step, value in told.items() if value} == {5: 0.3, 10: 0.9, 15: 0.5, 17: 0.9}


def test_a_changed_setting_is_refused_and_the_weights_stay(tmp_path, often):
    run(tmp_path, until=3)
    model = network(seed=9)
    with pytest.raises(InputError, match=r"holds step \d+ .*\n- run: 1 in the checkpoint, 2 now\n.*rm -r "):
        run(tmp_path, model=model, settings={"run": 2})
    assert torch.equal(weights_of(model), weights_of(network(seed=9)))


def test_a_checkpoint_of_other_code_is_refused(tmp_path, often):
    run(tmp_path, until=3)
    with pytest.raises(InputError, match=r"left by another version of the code .*rm -r "):
        run(tmp_path, model=plain_network())


def test_a_finished_run_gives_its_curve_again(tmp_path, often):
    whole, last = run(tmp_path)
    again, end = run(tmp_path, model=network(seed=3))
    assert torch.equal(whole, again)
    assert (end.step, end.terms, end.history) == (PARAMS.steps, {}, last.history)


def test_it_learns_and_leaves_no_checkpoint_where_there_was_no_time_for_one(tmp_path):
    params = with_(steps=150)
    _, last = run(tmp_path / "run", params=params)
    assert last.history[-1]["near"] < 0.7 * last.history[0]["near"]
    assert not (tmp_path / "run").exists()


def test_a_caller_that_may_refuse_what_came_out_is_left_the_last_step(tmp_path):
    model = network()
    _, whole = run(tmp_path, model=model, keep=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"step-{PARAMS.steps:09d}"]
    again = network(seed=3)
    _, last = run(tmp_path, model=again, keep=True)
    assert last.step == PARAMS.steps and last.history == whole.history
    assert torch.equal(weights_of(again), weights_of(model))


@pytest.mark.parametrize("steps", [1, 20, 39, 50])
def test_a_curve_has_a_row_for_each_step_or_for_a_few(tmp_path, monkeypatch, steps):
    monkeypatch.setattr(curve, "ROWS", 20)
    _, last = run(tmp_path, params=with_(steps=steps))
    assert min(steps, 20) <= len(last.history) < 40
    # The mean over a row's steps: none is counted twice or left out.
    assert last.history[0]["step"] == max(1, steps // 20)


@pytest.mark.parametrize(("name", "value"), [("near", math.nan), ("small", math.inf), ("total", -math.inf)])
def test_a_term_that_is_not_finite_is_named_and_the_checkpoint_before_it_stays(tmp_path, often, name, value):
    calls = iter(range(PARAMS.steps))

    def failing(model, batch):
        terms = loss(model, batch)
        return {**terms, name: terms[name] * value} if next(calls) == 4 else terms

    told = rf"the loss term {name} is (nan|-?inf) at step 5,.* samples 16 to 19 of the stream.*lower the learning"
    with pytest.raises(InputError, match=told):
        run(tmp_path, loss=failing)
    kept, end = run(tmp_path, until=5)
    assert end.step == 5
    assert torch.equal(kept, run(tmp_path / "other", until=5)[0])


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
        place = Place(tmp_path, {}, {})
        for step in loop.train(network(), batches, loss, PARAMS, machine=launch(PLAIN), place=place):
            if step.step == PARAMS.steps:
                os.kill(os.getpid(), signal.SIGINT)


LONG = with_(steps=100, **EVERYTHING)
KILLS = """
import hashlib, json, os, signal, sys, time
from pathlib import Path
import torch
from inverseform.training import curve, loop
from inverseform.training.checkpoint import Place
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import Validation
from tests.training.test_loop import LONG, score
from tests.training.toy import batches, loss, network, weights_of

torch.set_num_threads(1)
loop.EVERY = 0.0

def train(folder):
    model = network()
    validation = Validation(7, "val_near", score)
    for step in loop.train(
        model, batches, loss, LONG, machine=launch(PLAIN), place=Place(folder, {}, {}), validation=validation
    ):
        pass
    # By name: a file of tensors has an order of its own, and a best read back from one has that.
    best = b"".join(tensor.numpy().tobytes() for _, tensor in sorted(step.best.tensors.items()))
    digests = [hashlib.sha256(part).hexdigest() for part in (weights_of(model).numpy().tobytes(), best)]
    folder.with_suffix(".json").write_text(json.dumps([digests, step.best.step, step.history]))

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
