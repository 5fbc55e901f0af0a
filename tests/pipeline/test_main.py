"""`python -m pipeline`: what it prints, with what status it leaves, and after how many requests."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import __main__ as command_line
from pipeline.site import STAGES
from tests import foreground
from tests.pipeline.conftest import aside, count

ROOT = Path(__file__).resolve().parents[2]
SITE = ["--small-image", "me/small:1.0.0", "--large-image", "me/large:1.0.0", "--params", str(ROOT / "params.yaml")]


def main(arguments):
    return aside(command_line.main, arguments)


def test_it_runs_as_a_module_within_three_seconds(tmp_path):
    command = [sys.executable, "-m", "pipeline", "compile", "-o", str(tmp_path / "graph.yaml")]
    start = os.times().children_user
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True)
    # Of the processor's time, as another test may hold the other half of it.
    assert os.times().children_user - start < 3
    graph = next(yaml.safe_load_all((tmp_path / "graph.yaml").read_text()))
    assert graph["pipelineInfo"]["name"] == "inverseform"


def test_compiling_puts_the_settings_in_and_doubts_the_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    package = tmp_path / "graph.yaml"
    images = ["--small-image", "me/small:dev", "--large-image", "me/large:1.0.0"]
    assert main(["compile", "-o", str(package), *images]) == 0
    assert "warning: me/small:dev has neither a digest nor a version" in capsys.readouterr().err
    graph = next(yaml.safe_load_all(package.read_text()))
    section = graph["root"]["inputDefinitions"]["parameters"]["export_params"]["defaultValue"]
    assert json.loads(section) == yaml.safe_load(Path("params.yaml").read_text())["export"]


def submission(kubeflow, *more):
    return main(["submit", "--host", kubeflow.host, "--raw", "s3://data/set-1", "--poll", "0.01", *SITE, *more])


def status(kubeflow, *more):
    return main(["status", "--host", kubeflow.host, "--poll", "0.01", *more])


def test_a_submitted_run_is_told_with_its_address(kubeflow, capsys):
    assert submission(kubeflow, "--overrides", '{"export": {"samples": 3}}', "--run-name", "first") == 0
    assert capsys.readouterr().out == f"run r0 started: {kubeflow.host}/#/runs/details/r0\n"
    given = kubeflow.runs[0]["runtime_config"]["parameters"]
    assert given["raw"] == "s3://data/set-1"
    assert json.loads(given["export_params"])["samples"] == 3
    assert set(given) == {"raw", *(f"{stage}_params" for stage in STAGES)}


def test_the_revision_of_the_data_goes_with_the_run(kubeflow):
    assert submission(kubeflow, "--revision", "7") == 0
    assert kubeflow.runs[0]["runtime_config"]["parameters"]["revision"] == "7"


def test_the_profile_says_what_the_cluster_is_like_and_flags_go_before_it(kubeflow, tmp_path):
    profile = tmp_path / "mine.yaml"
    profile.write_text("{small_image: 'mine/small:1.0.0', large_image: 'mine/large:1.0.0', claim: mine}")
    assert submission(kubeflow, "--profile", str(profile), "--claim", "other") == 0
    sent = json.dumps(kubeflow.runs[0]["pipeline_spec"])
    assert '"me/small:1.0.0"' in sent and "mine/" not in sent
    assert '"constant": "other"' in sent


def test_a_run_that_was_started_can_be_waited_for(kubeflow, capsys):
    kubeflow.course = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    assert submission(kubeflow, "--wait", "--run-name", "first") == 0
    assert "run r0 started" in (printed := capsys.readouterr().out)
    assert printed.endswith(f"run first: SUCCEEDED\n{kubeflow.host}/#/runs/details/r0\n")


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_waiting_tells_by_the_status_how_the_run_ended(state, code, kubeflow, capsys):
    kubeflow.runs.append({"run_id": "r0", "display_name": "first"})
    task = {"task_id": "t", "display_name": "ingest", "state": state}
    kubeflow.course = [{"state": "RUNNING"}, {"state": state, "run_details": {"task_details": [task]}}]
    assert status(kubeflow, "r0", "--wait") == code
    printed = capsys.readouterr().out
    assert f"  ingest  {state}\nrun first: {state}\n{kubeflow.host}/#/runs/details/r0\n" in printed


def test_a_run_that_outlasts_the_timeout_is_told_how_to_be_found_again(kubeflow, capsys):
    kubeflow.runs.append({"run_id": "r0"})
    kubeflow.course = [{"state": "RUNNING"}]
    assert status(kubeflow, "r0", "--wait", "--timeout", "0.05") == 3
    assert "no contact: run r0 had not ended" in (printed := capsys.readouterr().err)
    assert "python -m pipeline status r0" in printed


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (401, "error: .*wants a login .*KFP_TOKEN"),
        (404, "error: .*status 404"),
        (409, "error: .*status 409"),
        ("login", "error: .*wants a login .*status 302"),
        ("page", "error: .*answered with a page"),
    ],
)
def test_what_is_refused_leaves_with_two_after_one_request(trouble, message, kubeflow, capsys):
    kubeflow.plays["GET", "/runs/r0"] = [trouble]
    assert status(kubeflow, "r0") == 2
    assert count(kubeflow, "GET", "/runs/r0") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(message, line)


def test_a_submission_that_is_refused_leaves_with_two(kubeflow, capsys):
    kubeflow.plays["POST", "/runs"] = [400]
    assert submission(kubeflow) == 2
    assert "status 400" in capsys.readouterr().err
    assert count(kubeflow, "POST", "/runs") == 1


@pytest.mark.parametrize("trouble", [401, 404])
def test_a_run_that_was_started_is_not_told_as_none_though_it_cannot_be_looked_at(trouble, kubeflow, capsys):
    kubeflow.plays["GET", "/runs/r0"] = [trouble]
    assert submission(kubeflow, "--wait") == 3
    assert capsys.readouterr().err.endswith("; run r0 goes on by itself\n")


def test_who_stops_waiting_is_told_that_the_run_goes_on(kubeflow):
    kubeflow.runs.append({"run_id": "r0"})
    task = {"task_id": "t", "display_name": "ingest", "state": "RUNNING"}
    kubeflow.course = [{"state": "RUNNING", "run_details": {"task_details": [task]}}]
    command = [sys.executable, "-m", "pipeline", "status", "r0", "--host", kubeflow.host, "--wait"]
    with foreground.started(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Seen before the end, through a pipe: progress does not wait for a full buffer.
        assert "ingest  RUNNING" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "\nno longer waiting; run r0 goes on by itself\n"
    assert process.returncode == 130


def test_links_are_those_of_the_web_page(kubeflow, capsys):
    kubeflow.runs.append({"run_id": "r0"})
    assert status(kubeflow, "r0", "--ui", "https://kubeflow.example/pipeline/") == 0
    assert "\nhttps://kubeflow.example/pipeline/#/runs/details/r0\n" in capsys.readouterr().out


def test_a_host_that_is_away_leaves_with_three(kubeflow, capsys):
    kubeflow.plays["GET", "/healthz"] = [503] * 9
    assert status(kubeflow, "r0") == 3
    assert "does not answer" in capsys.readouterr().err
    assert kubeflow.requests and {path for _, path, _, _ in kubeflow.requests} == {"/healthz"}


def test_a_run_is_looked_at_by_its_id(kubeflow, capsys):
    kubeflow.runs.append({"run_id": "r0", "display_name": "first"})
    kubeflow.course = [{"state": "RUNNING"}]
    assert status(kubeflow, "r0") == 0
    assert "run first: RUNNING" in capsys.readouterr().out
    kubeflow.course = [{"state": "FAILED"}]
    assert status(kubeflow, "r0") == status(kubeflow, "r0", "--wait") == 1
    assert status(kubeflow, "nowhere") == 2
    assert "status 404" in capsys.readouterr().err


def test_a_schedule_is_told_with_its_address(kubeflow, capsys):
    assert submission(kubeflow, "--every", "0 0 3 * * 1") == 0
    assert capsys.readouterr().out == f"schedule r0 made: {kubeflow.host}/#/recurringrun/details/r0\n"
    assert submission(kubeflow, "--every", "0 0 3 * * 1", "--wait") == 2
    assert "--wait waits for one run" in capsys.readouterr().err


def test_a_plan_sends_nothing_and_tells_what_differs(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["plan", "--raw", "s3://data/set-1", "--overrides", '{"export": {"samples": 3}}', *SITE]) == 0
    printed = capsys.readouterr().out
    assert "export.samples: 3 (there 2)" in printed
    assert all(f"components.{stage} " in printed for stage in STAGES)


def test_a_training_on_several_nodes_is_written_as_a_manifest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    order = ["train-job", "train_segmentation", "--nodes", "3", "--input", "samples=camvid/samples", *SITE]
    assert main(order) == 0
    job = yaml.safe_load(capsys.readouterr().out)
    assert (job["kind"], job["spec"]["trainer"]["numNodes"]) == ("TrainJob", 3)
    task = json.loads(job["spec"]["trainer"]["args"][1])["inputs"]
    assert task["artifacts"]["samples"]["artifacts"][0]["uri"].endswith("/camvid/samples")
    section = yaml.safe_load(Path("params.yaml").read_text())["train_segmentation"]
    assert json.loads(task["parameterValues"]["params"]) == section
    assert main([*order, "-o", str(tmp_path / "job.yaml")]) == 0
    assert yaml.safe_load((tmp_path / "job.yaml").read_text()) == job


def test_the_token_goes_to_the_endpoint_and_nowhere_else(kubeflow, tmp_path):
    """A real process, whose command line, output, graph and every other file it writes are searched."""
    kubeflow.token = "sesame-open"
    token = tmp_path / "elsewhere" / "token"
    token.parent.mkdir()
    token.write_text("sesame-open\n")
    home = tmp_path / "home"
    home.mkdir()
    settings = os.environ | {"HOME": str(home), "TMPDIR": str(home)}
    base = [sys.executable, "-m", "pipeline", "submit", "--host", kubeflow.host, "--raw", "s3://data/set-1", *SITE]
    kubeflow.plays["POST", "/runs"] = [None, 400]
    ways = [
        (base, settings | {"KFP_TOKEN": "sesame-open"}, 0),
        ([*base, "--token-file", str(token)], settings, 2),
        ([*base, "--token", "sesame-open"], settings, 2),
        (base, settings | {"KFP_TOKEN": "sesame-open and more"}, 2),
    ]
    for command, environment, code in ways:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        assert "sesame" not in done.stdout + done.stderr
    assert len(kubeflow.runs) == 1
    assert {headers["authorization"] for _, _, headers, _ in kubeflow.requests} == {"Bearer sesame-open"}
    assert "sesame" not in json.dumps([body for _, _, _, body in kubeflow.requests])
    assert not any("sesame" in file.read_text(errors="replace") for file in home.rglob("*") if file.is_file())


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o644, True)])
def test_a_token_that_others_can_read_is_warned_of(mode, warned, kubeflow, capsys, tmp_path):
    (tmp_path / "token").write_text("sesame")
    (tmp_path / "token").chmod(mode)
    kubeflow.runs.append({"run_id": "r0"})
    assert status(kubeflow, "r0", "--token-file", str(tmp_path / "token")) == 0
    told = f"warning: others can read {tmp_path}/token; type chmod 600 {tmp_path}/token\n"
    assert capsys.readouterr().err == (told if warned else "")


def test_a_wrong_token_is_refused(kubeflow, capsys, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "barley")
    kubeflow.token = "sesame"
    assert status(kubeflow, "r0") == 2
    assert "wants a login" in (printed := capsys.readouterr().err)
    assert "barley" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "--params", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["compile", "--overrides", '{"exprt": {}}'], "exprt is not a stage; did you mean export?"),
        (["compile", "--profile", "params.yaml"], "params.yaml is not a profile"),
        (["compile", "--small-image", "me/small"], "me/small has neither a digest nor a tag"),
        (["train-job", "train_segmentatoin"], "did you mean train_segmentation?"),
        (["train-job", "train_inverse", "--input", "pairs=a", "pairs=b"], "--input names pairs twice"),
        (["run-local", "--raw", "", "--work", "nowhere"], "--raw is empty; type --raw FOLDER"),
        (["train-job", "train_inverse", "--input", "pairs"], "--input pairs has no name and folder"),
        (["run-local", "--raw", "nowhere", "--work", "nowhere"], "--raw nowhere: no such file or folder"),
        (["compile", "-o", "nowhere/graph.yaml"], "there is no folder nowhere; make it, or type -o graph.yaml"),
        (["submit", "--host", "kfp.example", "--raw", "s3://x"], "type https://kfp.example"),
        (["submit", "--host", "https://kfp.example", "--raw", "data/raw"], "--raw 'data/raw' is no address"),
        (["status", "--host", "https://kfp.example", "r0", "--timeout", "9"], "type --wait too"),
        (["status", "--host", "https://kfp.example", "--ca", "nowhere.pem", "r0"], "nowhere.pem"),
        (["status", "--host", "https://kfp.example", "--token-file", "nowhere", "r0"], "--token-file: No such file"),
    ],
)
def test_bad_input_leaves_with_two_and_says_what_to_type(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
