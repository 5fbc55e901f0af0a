"""The components are the stages: what they run, read and write."""

import importlib
import shlex

import pytest
import yaml

from components.stage import ports
from pipeline.graph import STAGES, Site
from tests.pipeline.compiled_graph import (
    KEYS,
    PARTS,
    ROOT,
    SHOWN,
    SITE,
    compile_to,
    component,
    container,
    edges,
    flags,
    parameters,
    task_of,
    tasks,
)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    return compile_to(tmp_path_factory.mktemp("graph"), Site(**SITE))[0]


@pytest.fixture(scope="module")
def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_runs_the_module_that_dvc_runs(stage, graph, stages):
    command = container(graph, task_of(stage))["command"]
    assert command[:3] == shlex.split(stages[stage]["cmd"])[:3] == ["python", "-m", f"components.{stage}"]
    assert command[3:] == ["--executor-input", "{{$}}"]
    assert "args" not in container(graph, task_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_and_outputs_are_named_as_in_dvc(stage, graph, stages):
    declared = component(graph, stage)
    read = set(declared["inputDefinitions"]["artifacts"])
    written = set(declared["outputDefinitions"]["artifacts"]) - SHOWN.get(stage, set())
    scratch = set(declared["inputDefinitions"]["parameters"]) - {"params"} - KEYS.get(stage, set())
    assert read | written | scratch == set(flags(stages[stage])) - {"params"}
    assert read == {port for port, path in flags(stages[stage]).items() if path in stages[stage]["deps"]}


@pytest.mark.parametrize("stage", STAGES)
def test_the_ports_of_a_task_are_those_of_the_stage(stage, graph):
    function, declared = getattr(importlib.import_module(f"components.{stage}"), stage), component(graph, stage)
    assert set(declared["inputDefinitions"]["artifacts"]) == set(ports(function, "input"))
    written = set(declared["outputDefinitions"]["artifacts"])
    assert written - SHOWN.get(stage, set()) == set(ports(function, "output"))
    given = set(declared["inputDefinitions"]["parameters"])
    assert given == {"params", *ports(function, "scratch"), *KEYS.get(stage, set())}


@pytest.mark.parametrize(("task", "stage"), PARTS.items())
def test_a_part_reads_what_its_stage_reads_and_writes_into_its_checkpoints_alone(task, stage, graph):
    part = task.removeprefix(f"{stage}-")
    function, declared = getattr(importlib.import_module(f"components.{stage}"), part), component(graph, task)
    assert container(graph, task)["command"] == [
        "python", "-m", f"components.{stage}", f"--{part}", "--executor-input", "{{$}}"
    ]  # fmt: skip
    assert "outputDefinitions" not in declared
    assert set(declared["inputDefinitions"]["artifacts"]) == set(ports(function, "input"))
    given = {"params", *ports(function, "shared"), *ports(function, "number"), *KEYS.get(stage, set())}
    assert set(declared["inputDefinitions"]["parameters"]) == given
    assert edges(graph, task) == edges(graph, stage)
    # What the place of its checkpoints is named by: the stage looks for them at the same.
    named = {"params", "checkpoints", *KEYS.get(stage, set())}
    mine, whole = parameters(graph, task), parameters(graph, task_of(stage))
    assert {port: mine[port] for port in named} == {port: whole[port] for port in named}


def test_artifacts_are_typed(graph):
    kinds = {
        port: definition["artifactType"]["schemaTitle"]
        for stage in STAGES
        for port, definition in component(graph, stage)["outputDefinitions"]["artifacts"].items()
    } | {"note": component(graph, "note")["outputDefinitions"]["artifacts"]["note"]["artifactType"]["schemaTitle"]}
    assert kinds == {
        "samples": "system.Dataset",
        "pairs": "system.Dataset",
        "inverse_net": "system.Model",
        "segmenter": "system.Model",
        "metrics": "system.Metrics",
        "confusion": "system.ClassificationMetrics",
        "curves": "system.Artifact",
        "gate": "system.Artifact",
        "images": "system.Dataset",
        "plots": "system.Artifact",
        "report": "system.HTML",
        "onnx": "system.Artifact",
        "agreement": "system.Artifact",
        "card": "system.Markdown",
        "note": "system.Markdown",
    }


def test_two_stages_and_their_parts_run_in_the_small_image_and_four_in_the_large_one(graph):
    images = {name: container(graph, name)["image"] for name in tasks(graph) if name != "importer"}
    small = {*PARTS, *STAGES[:2], "note", "skip-export"}
    assert {name for name, image in images.items() if image == SITE["small_image"]} == small
    assert {n for n, image in images.items() if image == SITE["large_image"]} == {task_of(s) for s in STAGES[2:]}
