import json
import math
from pathlib import Path

import pytest

from components.executor import Executor
from inverseform.settings import InputError

PORTS = {"inputs": ["raw"], "outputs": ["samples", "metrics"]}


def given(uri="/data/x", file="/nowhere", **parameters):
    """What Kubeflow Pipelines hands over, by hand; every artifact lies at the same place."""

    def artifact(name):
        return {"artifacts": [{"name": f"run/{name}", "uri": uri, "metadata": {}}]}

    return {
        "inputs": {
            "parameterValues": {"params": "{}", "checkpoints": "/check"},
            "artifacts": {"raw": artifact("raw")},
        },
        "outputs": {
            "artifacts": {name: artifact(name) for name in PORTS["outputs"]},
            "parameters": parameters,
            "outputFile": str(file),
        },
    }


@pytest.mark.parametrize(
    ("uri", "path"),
    [("gs://bucket/run/x", "/gcs/bucket/run/x"), ("s3://bucket/x", "/s3/bucket/x"), ("/data/x", "/data/x"),
     ("minio://mlpipeline/v2/a%20b", "/minio/mlpipeline/v2/a%20b"), ("oci://registry/x", "/oci/registry/x")],
)  # fmt: skip
def test_artifacts_lie_where_the_launcher_mounts_them(uri, path):
    paths = Executor(json.dumps(given(uri))).artifacts(**PORTS)
    assert paths == dict.fromkeys(("raw", "samples", "metrics"), Path(path))


def test_a_custom_path_goes_before_the_uri():
    task = given("gs://bucket/x")
    task["inputs"]["artifacts"]["raw"]["artifacts"][0]["customPath"] = "/mnt/raw"
    assert Executor(json.dumps(task)).artifacts(**PORTS)["raw"] == Path("/mnt/raw")


def test_an_artifact_that_is_not_handed_over_is_refused():
    with pytest.raises(InputError, match=r"--executor-input: .*KeyError\('other'\)"):
        Executor(json.dumps(given())).artifacts(inputs=["other"], outputs=[])


def test_only_what_json_can_say_is_told_and_only_metrics_carry_it(tmp_path):
    file = tmp_path / "deep" / "executor_output.json"
    report = {"miou": 0.5, "passed": True, "nothing": None, "each": [1], "lost": math.nan, "most": math.inf, "n": 3}
    Executor(json.dumps(given(file=file, passed={"outputFile": "x"}))).answer(report)
    told = json.loads(file.read_text())
    assert told["parameterValues"] == {"passed": True}
    assert told["artifacts"]["metrics"]["artifacts"][0]["metadata"] == {"miou": 0.5, "passed": True, "n": 3}
    assert told["artifacts"]["samples"]["artifacts"] == [{"name": "run/samples", "uri": "/data/x", "metadata": {}}]


def folder(uri="s3://bucket/x", **parameters):
    task = given(uri)
    task["inputs"]["parameterValues"] |= parameters
    return Executor(json.dumps(task)).folder("checkpoints", stage="ingest")


def test_checkpoints_have_a_place_for_each_work_whatever_else_a_task_is_told():
    place = folder()
    assert place.parent == Path("/check/ingest")
    # A part of the stage reads the same with the same settings, and has numbers beside.
    assert folder(shard=3, of=8) == place
    others = [folder(params='{"seed": 1}'), folder(revision="2"), folder("s3://bucket/y"), folder(checkpoints="/other")]
    assert len({place, *others}) == 5
    # With KFP's local runner a path names the run, and so nothing that would be found again.
    assert folder("/run-1/raw") == folder("/run-2/raw") != place


def test_an_input_that_no_run_writes_twice_is_told_apart_and_an_unread_address_is_not(tmp_path):
    task = given("s3://bucket/x")
    before = Executor(json.dumps(task)).folder("checkpoints", stage="ingest")
    task["outputs"]["artifacts"]["samples"]["artifacts"][0]["uri"] = "s3://bucket/another-run"
    assert Executor(json.dumps(task)).folder("checkpoints", stage="ingest") == before


@pytest.mark.parametrize(("value", "number"), [(3, 3), (3.0, 3), (0, 0)])
def test_a_number_is_whole_however_it_is_spelt(value, number):
    task = given()
    task["inputs"]["parameterValues"]["shard"] = value
    found = Executor(json.dumps(task)).number("shard")
    assert found == number and isinstance(found, int)


@pytest.mark.parametrize("value", [2.5, "3", True, None])
def test_what_is_no_whole_number_is_refused(value):
    task = given()
    task["inputs"]["parameterValues"]["shard"] = value
    with pytest.raises(InputError, match=r"shard is .*, no whole number"):
        Executor(json.dumps(task)).number("shard")


def test_a_figure_without_a_value_is_told_as_one_that_no_share_has(tmp_path):
    file = tmp_path / "executor_output.json"
    asked = {name: {"outputFile": "x"} for name in ("miou", "mba", "passed")}
    Executor(json.dumps(given(file=file, **asked))).answer({"miou": 0.5, "mba": None, "passed": False})
    told = json.loads(file.read_text())
    assert told["parameterValues"] == {"miou": 0.5, "mba": -1.0, "passed": False}
    assert told["artifacts"]["metrics"]["artifacts"][0]["metadata"] == {"miou": 0.5, "passed": False}
    with pytest.raises(KeyError, match="other"):
        Executor(json.dumps(given(file=file, other={}))).answer({"miou": 0.5})


def test_a_confusion_matrix_is_told_as_kubeflow_draws_it(tmp_path):
    from kfp.dsl import ClassificationMetrics

    task = given(file=tmp_path / "executor_output.json")
    place = tmp_path / "deep" / "confusion"
    task["outputs"]["artifacts"]["confusion"] = {"artifacts": [{"name": "c", "uri": str(place)}]}
    confusion = {"classes": ["sky", "road"], "counts": [[5, 1], [0, 7]]}
    Executor(json.dumps(task)).answer({"confusion": confusion})
    told = json.loads((tmp_path / "executor_output.json").read_text())["artifacts"]
    wanted = ClassificationMetrics()
    wanted.log_confusion_matrix(confusion["classes"], confusion["counts"])
    assert told["confusion"]["artifacts"][0]["metadata"] == wanted.metadata
    assert told["metrics"]["artifacts"][0]["metadata"] == {}
    assert json.loads(place.read_text()) == confusion
