"""`python -m pipeline`: what it prints, and with what status it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.__main__ import main
from pipeline.graph import STAGES

ROOT = Path(__file__).resolve().parents[2]


def test_it_runs_as_a_module(tmp_path):
    command = [sys.executable, "-m", "pipeline", "compile", "-o", str(tmp_path / "graph.yaml")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True)
    graph = next(yaml.safe_load_all((tmp_path / "graph.yaml").read_text()))
    assert graph["pipelineInfo"]["name"] == "inverseform"


def test_compiling_puts_the_settings_in_and_doubts_the_images(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    package = tmp_path / "graph.yaml"
    assert main(["compile", "-o", str(package), "--small-image", "me/small", "--large-image", "me/large:1.0.0"]) == 0
    assert "warning: me/small has neither a digest nor a version" in capsys.readouterr().err
    graph = next(yaml.safe_load_all(package.read_text()))
    section = graph["root"]["inputDefinitions"]["parameters"]["export_params"]["defaultValue"]
    assert json.loads(section) == yaml.safe_load(Path("params.yaml").read_text())["export"]


def submission(kubeflow, *more):
    images = [
        "--small-image",
        "me/small:1.0.0",
        "--large-image",
        "me/large:1.0.0",
        "--params",
        str(ROOT / "params.yaml"),
    ]
    return main(["submit", "--host", kubeflow.host, "--raw", "s3://data/set-1", "--poll", "0.01", *images, *more])


def test_a_submitted_run_is_told_with_its_address(kubeflow, capsys):
    assert submission(kubeflow, "--overrides", '{"export": {"samples": 3}}', "--run-name", "first") == 0
    printed = capsys.readouterr().out
    assert f"{kubeflow.host}/#/runs/details/r0\n" in printed
    assert printed.endswith("run r0 started\n")
    (sent,) = [body for method, path, _, body in kubeflow.requests if (method, path) == ("POST", "/runs")]
    given = sent["runtime_config"]["parameters"]
    assert given["raw"] == "s3://data/set-1"
    assert json.loads(given["export_params"])["samples"] == 3
    assert set(given) == {"raw", *(f"{stage}_params" for stage in STAGES)}


@pytest.mark.parametrize(("state", "status"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 1)])
def test_waiting_tells_by_the_status_how_the_run_ended(state, status, kubeflow, capsys):
    kubeflow.states = ["RUNNING", state]
    assert submission(kubeflow, "--wait") == status
    assert capsys.readouterr().out.endswith(f"run r0 ended: {state}\n")


def test_the_token_comes_from_the_environment_and_is_never_printed(kubeflow, capsys, monkeypatch):
    monkeypatch.setenv("KFP_TOKEN", "sesame")
    kubeflow.token = "sesame"
    assert submission(kubeflow) == 0
    kubeflow.token = "other"
    assert submission(kubeflow) == 2
    printed = capsys.readouterr()
    assert "KFP_TOKEN" in printed.err
    assert "sesame" not in printed.out + printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "--params", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["compile", "--overrides", '{"exprt": {}}'], "exprt is not a stage; did you mean export?"),
        (["compile", "--gpu", "evaluat"], "--gpu evaluat is not a stage; did you mean evaluate?"),
        (["compile", "-o", "nowhere/graph.yaml"], "there is no folder nowhere; make it, or type -o graph.yaml"),
        (["submit", "--host", "kfp.example", "--raw", "x"], "type https://kfp.example"),
    ],
)
def test_bad_input_leaves_with_two_and_says_what_to_type(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_flag_leaves_with_two(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["submit", "--raw", "x"])
    assert "--host" in capsys.readouterr().err
