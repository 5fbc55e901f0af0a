import json
import subprocess
import sys

import pytest

from components.note import note
from tests.drawn import ROOT

WHERE = {"checkpoints": "/checkpoints", "claim": "disk"}


def test_a_run_that_succeeded_says_so():
    assert note({"state": "SUCCEEDED"}, **WHERE).startswith("# The run succeeded\n")


def test_a_run_that_failed_says_what_failed_and_where_it_goes_on_from():
    text = note({"state": "FAILED", "error": {"code": 2, "message": "task train-inverse failed"}}, **WHERE)
    for wanted in ("# The run ended: FAILED", "task train-inverse failed", "`/checkpoints/STAGE/`", "claim `disk`"):
        assert wanted in text


@pytest.mark.parametrize("status", [{"state": "FAILED"}, {"state": "FAILED", "error": None}, {}])
def test_a_backend_that_tells_little_leaves_a_note_all_the_same(status):
    assert "the backend did not say. The task that is red" in note(status, **WHERE)


def run(tmp_path, status):
    given = {
        "inputs": {"parameterValues": {"status": status, **WHERE}},
        "outputs": {
            "artifacts": {"note": {"artifacts": [{"name": "n", "uri": str(tmp_path / "deep" / "note")}]}},
            "outputFile": str(tmp_path / "told.json"),
        },
    }
    command = [sys.executable, "-m", "components.note", "--executor-input", json.dumps(given)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("spelt", [dict, json.dumps])
def test_the_note_is_an_artifact_and_stands_in_the_log(tmp_path, spelt):
    done = run(tmp_path, spelt({"state": "FAILED", "error": {"message": "no such file"}}))
    assert done.returncode == 0, done.stderr
    assert "no such file" in (tmp_path / "deep" / "note").read_text() and "no such file" in done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["artifacts"]["note"]["artifacts"][0]["uri"] == str(tmp_path / "deep" / "note")


@pytest.mark.parametrize("status", ["null", [], None])
def test_a_status_that_is_none_is_noted_as_unknown(tmp_path, status):
    done = run(tmp_path, status)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "deep" / "note").read_text().startswith("# The run ended: unknown\n")


def test_another_executor_input_is_refused(tmp_path):
    done = run(tmp_path, "no JSON")
    assert done.returncode == 2 and done.stderr.startswith("error: ")
