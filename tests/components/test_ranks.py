"""What several processes of one stage do, as torchrun starts them: of two, the first has the word."""

import json
import os
import subprocess
import sys
import time

import pytest

from components import ranks
from tests.drawn import ROOT

TOY = '''
"""A stage of several processes that does what its settings tell it, under the name of a real one."""
import os, time
from pathlib import Path
import torch
import torch.distributed as dist
from components import stage
from components.stage import Input, Output, Report, Scratch
from inverseform.settings import InputError, Settings


class ToyParams(Settings):
    do: str


def evaluate(
    params: ToyParams, *, raw: Input, samples: Output, metrics: Output, checkpoints: Scratch
) -> Report:
    """Add the ranks up."""
    rank = int(os.environ["RANK"])
    Path(f"begun-{rank}").write_text(f"{samples}\\n{metrics}\\n{checkpoints}")
    if params.do == "refuse":
        raise InputError("raw: is 3; write 4")
    if params.do == f"refuse at {rank}":
        raise InputError(f"raw: is too much for {rank}")
    if params.do == f"crash at {rank}":
        raise RuntimeError("a bug")
    if params.do != "add":
        time.sleep(60)
    dist.init_process_group("gloo")
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    samples.mkdir()
    (samples / "one").write_text(f"{raw.read_text()} {total.item()} by {rank}")
    metrics.write_text("{}")
    if rank == 0:
        checkpoints.mkdir()
    dist.destroy_process_group()
    return {"total": total.item()}


if __name__ == "__main__":
    stage.main(evaluate)
'''
OPTIONS = ["--raw", "raw", "--samples", "out/samples", "--metrics", "out/metrics.json", "--checkpoints", "check"]


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "raw").write_text("new")
    (tmp_path / "params.yaml").write_text("evaluate: {do: add}\n")
    (tmp_path / "temporary").mkdir()
    return tmp_path


def launch(toy, *arguments, do="add"):
    """Under torchrun with two processes; its exit status, what was said, and the seconds it took."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "toy.py"]
    command += arguments or [*OPTIONS, "--overrides", json.dumps({"do": do})]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": str(toy / "temporary")}
    begun = time.monotonic()
    done = subprocess.run(command, cwd=toy, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr, time.monotonic() - begun


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def left_behind(toy):
    """Outputs, whole or not, and throw-away folders; not what torchrun itself leaves."""
    return names(toy / "out") + [name for name in names(toy / "temporary") if name.startswith("inverseform")]


def test_of_two_processes_the_first_makes_the_outputs_and_tells_of_them_once(toy):
    status, log, _ = launch(toy)
    assert status == 0, log
    assert left_behind(toy) == ["metrics.json", "samples"] and not (toy / "check").exists()
    assert (toy / "out" / "samples" / "one").read_text() == "new 3.0 by 0"
    assert log.count("evaluate: total 3") == 1
    first, second = ((toy / f"begun-{rank}").read_text().split("\n") for rank in range(2))
    assert first == ["out/.partial.samples", "out/.partial.metrics.json", "check"]
    assert second[0].startswith(str(toy / "temporary")) and second[2] == "check"


def test_kubeflow_is_answered_by_the_first_alone(toy):
    def artifact(name, place):
        return {"artifacts": [{"name": name, "uri": str(place), "metadata": {}}]}

    given = {
        "inputs": {
            "parameterValues": {"params": '{"do": "add"}', "checkpoints": str(toy / "check")},
            "artifacts": {"raw": artifact("raw", toy / "raw")},
        },
        "outputs": {
            "artifacts": {name: artifact(name, toy / "out" / name) for name in ("samples", "metrics")},
            "outputFile": "/dev/stderr",
        },
    }
    status, log, _ = launch(toy, "--executor-input", json.dumps(given))
    assert status == 0 and log.count('"parameterValues"') == 1, log
    assert left_behind(toy) == ["metrics", "samples"]


@pytest.mark.parametrize(("do", "rank"), [("refuse", 0), ("refuse at 1", 1)])
def test_bad_input_is_told_once_and_leaves_with_2_where_it_was_told(toy, do, rank):
    status, log, _ = launch(toy, do=do)
    told = {"refuse": "error: raw: is 3; write 4", "refuse at 1": "error: raw: is too much for 1"}[do]
    assert status == 1 and log.count("error: raw:") == 1 and told in log.splitlines()
    cause = log[log.index("Root Cause") :]
    assert f"rank      : {rank} " in cause and "exitcode  : 2 " in cause
    assert left_behind(toy) == []


def test_where_one_process_has_a_bug_the_first_does_not_wait_for_ever(toy):
    status, log, seconds = launch(toy, do="crash at 1")
    assert status == 1 and "RuntimeError: a bug" in log and seconds < 50
    assert left_behind(toy) == []


def test_a_missing_option_is_told_once(toy):
    status, log, _ = launch(toy, "--raw", "raw")
    assert status == 1 and log.count("--samples, --metrics, --checkpoints missing") == 1


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"RANK": "1"}, True),
        ({"WORLD_SIZE": "1", "RANK": "0"}, True),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "0"}, False),
        ({"WORLD_SIZE": "2"}, True),
        ({"WORLD_SIZE": "2", "NODE_RANK": "0", "LOCAL_RANK": "1"}, False),
        ({"WORLD_SIZE": "2", "NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_the_first_is_alone_or_of_rank_0(monkeypatch, environment, first):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ranks.is_first() is first


def test_what_is_thrown_away_is_gone_after_a_bug_too(tmp_path):
    wanted = {"samples": tmp_path / "a" / "data", "metrics": tmp_path / "b" / "data.json"}
    with pytest.raises(ZeroDivisionError), ranks.throw_away(wanted) as made:
        made["samples"].mkdir()
        made["metrics"].write_text("{}")
        raise ZeroDivisionError
    assert list(made) == list(wanted) and made["metrics"].suffix == ".json"
    assert not made["samples"].parent.exists() and not names(tmp_path)


def test_a_process_that_is_alone_has_the_word_at_once(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    begun = time.monotonic()
    ranks.let_the_first_speak()
    assert time.monotonic() - begun < ranks.PATIENCE / 2
