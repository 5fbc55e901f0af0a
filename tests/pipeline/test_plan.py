"""The plan says what the compiled graph says."""

import pytest
import yaml

from pipeline.plan import planned, text
from pipeline.site import STAGES, Site
from pipeline.submit import compile_graph
from tests.pipeline.conftest import aside

SITE = Site(small_image="me/small:1.0.0", large_image="me/large:1.0.0", claim="mine")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "pipeline.yaml"
    aside(compile_graph, path, site=SITE, defaults={})
    return path


@pytest.fixture(scope="module")
def tasks(package):
    return {task.name: task for task in planned(package)}


def test_every_executor_of_the_file_is_in_the_plan(package, tasks):
    graph = next(yaml.safe_load_all(package.read_text()))
    executors = graph["deploymentSpec"]["executors"].values()
    images = sorted(one["container"]["image"] for one in executors if "container" in one)
    assert sorted(task.facts["image"] for task in tasks.values() if "image" in task.facts) == images


def test_a_task_stands_after_those_it_waits_for(package):
    names = [task.name for task in planned(package)]
    stages = [names.index(stage.replace("_", "-")) for stage in STAGES]
    assert stages == sorted(stages)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_told_with_image_command_and_what_it_asks_for(stage, tasks):
    facts, needs = tasks[stage.replace("_", "-")].facts, SITE.needs(stage)
    size = "small" if stage in ("ingest", "synthesize") else "large"
    assert facts["image"] == f"me/{size}:1.0.0"
    assert f"components.{stage} " in f"{facts['command']} "
    assert f"cpu {needs.cpu}, memory {needs.memory}" in facts["asks for"]
    assert facts["retries"].startswith(f"{needs.retries}, after 60s")
    assert (f"{needs.gpus} nvidia.com/gpu" in facts["asks for"]) == (needs.gpus > 0)


def test_volumes_and_conditions_are_told(tasks):
    facts = tasks["train-segmentation"].facts
    assert "claim mine at /checkpoints" in facts["volumes"]
    assert "Memory of 8Gi at /dev/shm" in facts["volumes"]
    assert any(task.facts.get("if") == "evaluate-passed == true" for task in tasks.values())
    assert tasks["export"].depth > 0


LOOP = """
components:
  comp-shard: {executorLabel: exec-shard}
  comp-loop: {dag: {tasks: {shard: {componentRef: {name: comp-shard}, taskInfo: {name: shard}}}}}
  comp-note: {executorLabel: exec-note}
deploymentSpec:
  executors:
    exec-shard:
      container: {image: "me/small:1.0.0", command: [python, -m, a b], env: [{name: A, value: "1"}]}
    exec-note: {container: {image: "me/small:1.0.0", command: [python]}}
root:
  dag:
    tasks:
      for-loop-1:
        componentRef: {name: comp-loop}
        iteratorPolicy: {parallelismLimit: 2}
        parameterIterator: {itemInput: item, items: {raw: "[0, 1, 2]"}}
        taskInfo: {name: for-loop-1}
      note:
        cachingOptions: {enableCache: true}
        componentRef: {name: comp-note}
        dependentTasks: [for-loop-1]
        taskInfo: {name: note}
        triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}
---
platforms:
  kubernetes:
    deploymentSpec:
      executors:
        exec-shard: {nodeSelector: {labels: {kind: spot}}}
"""


def test_loops_notes_at_the_end_and_what_is_asked_of_the_cluster_are_told(tmp_path):
    package = tmp_path / "loop.yaml"
    package.write_text(LOOP)
    loop, shard, note = planned(package)
    assert loop.facts == {"for each": "of [0, 1, 2], 2 at a time"}
    assert shard.depth == 1
    assert shard.facts["command"] == "python -m 'a b'"
    assert shard.facts["variables"] == "A=1"
    assert shard.facts["nodeSelector"] == '{"labels": {"kind": "spot"}}'
    assert shard.facts["cached"] == "no"
    assert note.facts["when"] == "the others have ended, well or not"
    assert note.facts["cached"].startswith("yes")


def test_only_arguments_and_settings_that_differ_are_told(package):
    given = {"raw": "s3://data/1", "export_params": "{}"}
    told = text(package, given, iter([("export.samples", 2, 3)])).splitlines()
    assert told[0].endswith(" containers, in this order:")
    assert told[-4:] == [
        "arguments:",
        "    raw        s3://data/1",
        "settings other than in params.yaml:",
        "    export.samples: 3 (there 2)",
    ]
    assert text(package, given, iter([])).endswith("params.yaml: none")
