"""`run-local` in real containers: it gives what the stages give on this machine, and no failure is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
import torch
import yaml
from safetensors.torch import load_file

from inverseform.data.pair_store import PairStore
from inverseform.data.sample_store import SampleStore
from pipeline import InputError, arguments, submit
from pipeline.graph import STAGES, Site
from pipeline.local_graph import Graph
from pipeline.run_local import run_local
from tests import foreground
from tests.containers import graphs, host_stages
from tests.drawn import ROOT

MEMORY = 200 << 20
"""Bytes: enough for Python, and soon used up by one who wants them all."""
LOOKS_AROUND = """
inside = json.loads(sys.argv[1])["inputs"]
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return error.errno in (13, 30)
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print("root", os.getuid() == 0, "capabilities", int(status["CapEff"], 16), "no privileges", status["NoNewPrivs"])
print("refused", [refused(path) for path in (inside["artifacts"]["read"]["artifacts"][0]["uri"], "/app/x", "/tmp/x")])
print("networks", sorted(os.listdir("/sys/class/net")))
print("shm", os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize >> 20)
kept = pathlib.Path("/checkpoints/kept")
print("kept", kept.exists())
kept.write_text("x")
answer()
"""


@pytest.fixture
def client(images):
    """The engine."""
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, images, settings):
    """The pipeline run in containers, and its stages on this machine: two folders of STAGE/PORT."""
    folder = tmp_path_factory.mktemp("whole")
    small = yaml.safe_load(settings.read_text())
    small["train_inverse"]["optimiser"]["steps"] = 20
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(small))
    raw = folder / "raw"
    raw.mkdir()
    package = folder / "graph.yaml"
    submit.compile_graph(package, site=Site(small_image=images["small"], large_image=images["large"]), defaults={})
    given = arguments.as_json(arguments.sections(params))
    assert run_local(package, given, raw=raw, work=folder / "work", outputs=folder / "contained") == 0
    host_stages.run(params, folder / "host")
    return folder / "contained", folder / "host"


def test_the_whole_pipeline_hands_over_all_outputs_by_stage_and_port(whole):
    contained, _host = whole
    wanted = {Path(stage, port) for stage in STAGES for port in host_stages.of(stage, "output")}
    assert {Path("ingest/samples"), Path("export/onnx")} < wanted
    assert {path for path in wanted if not (contained / path).exists()} == set()


def test_samples_are_those_of_the_same_stage_on_this_machine(whole):
    contained, host = (SampleStore.open(folder / "ingest" / "samples") for folder in whole)
    assert contained.splits == host.splits
    for split in host.splits:
        assert contained.names(split) == host.names(split) and host.size(split) > 0
        for index in range(host.size(split)):
            one, other = contained.sample(split, index), host.sample(split, index)
            for name in ("image", "labels", "boundary", "valid"):
                assert torch.equal(getattr(one, name), getattr(other, name)), f"{split} {index} {name}"


@pytest.mark.parametrize("split", ["train", "val"])
def test_pairs_are_those_of_the_same_stage_on_this_machine(whole, split):
    contained, host = (PairStore(folder / "synthesize" / "pairs", split) for folder in whole)
    assert len(contained) == len(host) > 0
    for one, other in zip(contained.all(), host.all(), strict=True):
        assert torch.equal(one.tile, other.tile) and torch.equal(one.seed, other.seed)
        # The two may have other builds of torch.
        torch.testing.assert_close(one.theta, other.theta, rtol=0, atol=1e-6)
        assert (one.warped != other.warped).float().mean() < 1e-4


def test_networks_and_metrics_are_those_of_the_same_stages_on_this_machine(whole, images, client):
    print_version = ["python", "-c", "import torch; print(torch.__version__)"]
    build = client.containers.run(images["large"], print_version, network_mode="none", remove=True).decode().strip()
    # With another build of torch a last digit differs, which AdamW turns into steps of its learning rate.
    off = 0.0 if build == torch.__version__ else 0.02
    for stage, port in (("train_inverse", "inverse_net"), ("train_segmentation", "segmenter")):
        one, other = (load_file(folder / stage / port / "weights.safetensors") for folder in whole)
        assert one.keys() == other.keys()
        for name, values in other.items():
            torch.testing.assert_close(one[name], values, rtol=0, atol=off, msg=f"{stage} {name}")
    one, other = (json.loads((folder / "evaluate" / "metrics").read_text()) for folder in whole)
    for name in ("miou", "mba", "boundary_iou", "pixel_accuracy"):
        assert abs(one[name] - other[name]) <= off, name


@pytest.mark.parametrize("name", graphs.FAILURES)
def test_a_stage_that_fails_is_reported_as_failed(name, tmp_path, images, client, capsys):
    package = graphs.one(tmp_path / "graph.yaml", images["small"], graphs.FAILURES[name])
    if name == "SIGKILL":
        with graphs.killed(client, tmp_path / "work"):
            assert run_local(package, {}, work=tmp_path / "work") == 1
    else:
        assert run_local(package, {}, work=tmp_path / "work", memory=MEMORY) == 1
    told = {
        "exit 1": "exit status 1",
        "exit 1 after all was made": "exit status 1",
        "SIGKILL": "exit status 137 (SIGKILL)",
        "out of memory": "out of memory",
        "output not made": "it ended with status 0 and did not make made",
        "output not told of": "it ended with status 0 and did not make made",
        "answer cut off": "ParseError",
    }[name]
    assert f"failed: only: {told}" in (printed := capsys.readouterr().out), printed
    assert not (tmp_path / "work" / "outputs").exists()
    assert graphs.containers(client, tmp_path / "work") == []


def test_tasks_get_what_they_ask_for_and_no_more(tmp_path, images, capsys):
    package = graphs.two(tmp_path / "graph.yaml", images["small"], LOOKS_AROUND)
    for time_ in ("first", "second"):
        assert run_local(package, {}, work=tmp_path / "work", outputs=tmp_path / time_) == 0
    printed = capsys.readouterr().out
    assert "not given here: memory request: second" in printed and "not given here: nodeSelector: second" in printed
    for line in (
        "root False capabilities 0 no privileges 1",
        "refused [True, True, None]",
        "networks ['lo']",
        "shm 96",
    ):
        assert f"| {line}\n" in printed
    # The claim outlives a run.
    assert printed.index("kept False") < printed.index("kept True")
    assert (tmp_path / "first" / "second" / "made").read_text() == "made"


@pytest.mark.parametrize("passed", [True, False])
def test_loops_branches_and_the_exit_handler_run(passed, tmp_path, images, capsys):
    package = graphs.branching(tmp_path / "graph.yaml", images["small"], passed=passed)
    assert run_local(package, {}, work=tmp_path / "work") == 0
    printed = capsys.readouterr().out
    for number in range(3):
        assert f"shard[{number}]             | shard {number}\n" in printed
    rows = [line.split()[:2] for line in printed.splitlines() if " | " not in line]
    ran, left = ("taken", "other") if passed else ("other", "taken")
    assert [ran, "succeeded"] in rows and [left, "not"] in rows and ["note", "succeeded"] in rows
    # What a parallel loop does to print and to logging is undone.
    print("after")
    assert capsys.readouterr().out == "after\n"


def test_a_failure_in_a_loop_fails_the_run_and_the_exit_handler_still_runs(tmp_path, images, capsys):
    package = graphs.branching(tmp_path / "graph.yaml", images["small"], passed=True, shards="sys.exit(number == 1)")
    assert run_local(package, {}, work=tmp_path / "work") == 1
    printed = capsys.readouterr().out
    assert "failed: shard[1]: exit status 1" in printed
    assert "it ended" in printed and ["gate", "not", "run"] in [line.split() for line in printed.splitlines()]


def test_a_condition_that_was_skipped_in_silence_is_no_success(tmp_path, images, capsys):
    package = graphs.without_else(tmp_path / "graph.yaml", images["small"])
    assert run_local(package, {}, work=tmp_path / "work") == 1
    assert "Could not resolve" in capsys.readouterr().out


def test_retries_are_those_of_the_graph_and_only_if_asked_for(tmp_path, images, capsys):
    package = graphs.one(tmp_path / "graph.yaml", images["small"], "sys.exit(3)", retries=2)
    assert run_local(package, {}, work=tmp_path / "work") == 1
    assert capsys.readouterr().out.count("| failed: exit status 3") == 1
    assert run_local(package, {}, work=tmp_path / "work", retries=True) == 1
    assert capsys.readouterr().out.count("| failed: exit status 3") == 3


def test_a_second_attempt_that_succeeds_counts(tmp_path, images, capsys):
    code = "kept = pathlib.Path('/checkpoints/kept')\nif not kept.exists(): sys.exit(kept.write_text('x'))\nanswer()"
    package = graphs.two(tmp_path / "graph.yaml", images["small"], code, retries=1)
    assert run_local(package, {}, work=tmp_path / "work", retries=True) == 0
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert ["second", "failed"] in rows and ["second", "succeeded"] in rows
    assert (tmp_path / "work" / "outputs" / "second" / "made").read_text() == "made"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_interrupted_it_stops_the_container_and_leaves_with_the_signal(number, tmp_path, images, client):
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('checkpoint written')))\n" + graphs.WAITS
    package = graphs.two(tmp_path / "graph.yaml", images["small"], code)
    call = f"sys.exit(run_local(Path({str(package)!r}), {{}}, work=Path({str(tmp_path / 'work')!r})))"
    command = [
        sys.executable,
        "-c",
        f"import sys; from pathlib import Path; from pipeline.run_local import run_local; {call}",
    ]
    with foreground.started(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        told = ""
        for line in run.stdout:
            told += line
            if line.endswith("| waiting\n"):
                run.send_signal(number)
                began = time.monotonic()
    assert run.returncode == 128 + number
    assert time.monotonic() - began < 20
    assert "| checkpoint written" in told and "the same command goes on" in told
    assert graphs.containers(client, tmp_path / "work") == []


def test_what_a_killed_run_left_behind_goes_with_the_next_one(tmp_path, images, client):
    package = graphs.one(tmp_path / "graph.yaml", images["small"], graphs.WAITS)
    call = f"run_local(Path({str(package)!r}), {{}}, work=Path({str(tmp_path / 'work')!r}))"
    command = [sys.executable, "-c", f"from pathlib import Path; from pipeline.run_local import run_local; {call}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if line.endswith("| waiting\n"):
                with pytest.raises(InputError, match="used by another run"):
                    run_local(package, {}, work=tmp_path / "work")
                os.kill(run.pid, signal.SIGKILL)
    assert graphs.containers(client, tmp_path / "work") == ["only"]
    graphs.one(package, images["small"], "answer()")
    assert run_local(package, {}, work=tmp_path / "work") == 0
    assert graphs.containers(client, tmp_path / "work") == []


def test_an_image_that_is_not_there_is_not_pulled(tmp_path, images):
    package = graphs.one(tmp_path / "graph.yaml", "localhost/inverseform/none:0.0.0", "answer()")
    with pytest.raises(InputError, match=r"localhost/inverseform/none:0\.0\.0 is not on this machine.*make images"):
        run_local(package, {}, work=tmp_path / "work")
    assert Graph(package).images() == ["localhost/inverseform/none:0.0.0"]


def test_outputs_are_not_overwritten(tmp_path, images):
    package = graphs.one(tmp_path / "graph.yaml", images["small"], "answer()")
    assert run_local(package, {}, work=tmp_path / "work") == 0
    with pytest.raises(InputError, match="is there already"):
        run_local(package, {}, work=tmp_path / "work")
