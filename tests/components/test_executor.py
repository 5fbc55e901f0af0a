import json
import math
from pathlib import Path

import pytest

from components.executor import Executor
from inverseform.settings import InputError

PORTS = {"inputs": ["raw"], "outputs": ["samples", "metrics"], "scratch": ["checkpoints"]}


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
    paths = Executor(json.dumps(given(uri))).paths(**PORTS)
    everywhere = dict.fromkeys(("raw", "samples", "metrics"), Path(path))
    assert paths == {**everywhere, "checkpoints": Path("/check")}


def test_a_custom_path_goes_before_the_uri():
    task = given("gs://bucket/x")
    task["inputs"]["artifacts"]["raw"]["artifacts"][0]["customPath"] = "/mnt/raw"
    assert Executor(json.dumps(task)).paths(**PORTS)["raw"] == Path("/mnt/raw")


def test_an_artifact_that_is_not_handed_over_is_refused():
    with pytest.raises(InputError, match=r"--executor-input: .*KeyError\('other'\)"):
        Executor(json.dumps(given())).paths(inputs=["other"], outputs=[], scratch=[])


def test_only_what_json_can_say_is_told_and_only_metrics_carry_it(tmp_path):
    file = tmp_path / "deep" / "executor_output.json"
    report = {"miou": 0.5, "passed": True, "nothing": None, "each": [1], "lost": math.nan, "most": math.inf, "n": 3}
    Executor(json.dumps(given(file=file, passed={"outputFile": "x"}))).answer(report)
    told = json.loads(file.read_text())
    assert told["parameterValues"] == {"passed": True}
    assert told["artifacts"]["metrics"]["artifacts"][0]["metadata"] == {"miou": 0.5, "passed": True, "n": 3}
    assert told["artifacts"]["samples"]["artifacts"] == [{"name": "run/samples", "uri": "/data/x", "metadata": {}}]
