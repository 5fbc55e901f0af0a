"""The compiled graph is whole, and is the graph of dvc.yaml."""

import importlib
import shlex
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.graph import STAGES, Site
from pipeline.submit import compile_graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The two documents that Kubeflow gets: the graph, and what Kubernetes has to know."""
    package = tmp_path_factory.mktemp("graph") / "pipeline.yaml"
    site = Site(small_image="registry.example/small:1.0.0", large_image="registry.example/large:1.0.0", claim="disk")
    compile_graph(package, site=site, defaults={f"{stage}_params": '{"seed": 1}' for stage in STAGES})
    return list(yaml.safe_load_all(package.read_text()))


@pytest.fixture(scope="module")
def graph(compiled):
    return compiled[0]


@pytest.fixture(scope="module")
def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def dags(graph: dict) -> dict[str, dict]:
    """Every group of tasks, the outermost and those of conditions, by the name of its component."""
    inner = {name: component["dag"] for name, component in graph["components"].items() if "dag" in component}
    return {"root": graph["root"]["dag"], **inner}


def tasks(graph: dict) -> dict[str, tuple[str, dict]]:
    """The tasks that run a container or the importer, out of whatever condition they are in: group and task."""
    return {
        name: (group, task)
        for group, dag in dags(graph).items()
        for name, task in dag["tasks"].items()
        if "executorLabel" in graph["components"][task["componentRef"]["name"]]
    }


def container(graph: dict, task: str) -> dict:
    label = graph["components"][tasks(graph)[task][1]["componentRef"]["name"]]["executorLabel"]
    return graph["deploymentSpec"]["executors"][label]["container"]


def component(graph: dict, stage: str) -> dict:
    return graph["components"][f"comp-{task_of(stage)}"]


def task_of(stage: str) -> str:
    """Kubeflow's spelling of a stage's name."""
    return stage.replace("_", "-")


def origin(graph: dict, group: str, source: dict) -> tuple[str, str]:
    """Producer and output of an input, followed out of the conditions it was handed into."""
    while (channel := source.get("componentInputArtifact")) is not None:
        group, source = next(
            (outer, task["inputs"]["artifacts"][channel])
            for outer, dag in dags(graph).items()
            for task in dag["tasks"].values()
            if task["componentRef"]["name"] == group
        )
    return source["taskOutputArtifact"]["producerTask"], source["taskOutputArtifact"]["outputArtifactKey"]


def edges(graph: dict, stage: str) -> dict[str, tuple[str, str]]:
    """Where each input of a stage comes from; the importer's one output is the data set itself."""
    group, task = tasks(graph)[task_of(stage)]
    found = {port: origin(graph, group, source) for port, source in task["inputs"].get("artifacts", {}).items()}
    return {port: (producer.replace("-", "_"), output) for port, (producer, output) in found.items()}


def flags(stage: dict) -> dict[str, str]:
    words = shlex.split(stage["cmd"])[3:]
    return {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


def dvc_edges(stages: dict, stage: str) -> dict[str, tuple[str, str]]:
    """The same from dvc.yaml: who makes the path that an input reads."""
    makers = {}
    for name in STAGES:
        ports = flags(stages[name])
        made = [port for port, path in ports.items() if path not in stages[name]["deps"]]
        makers |= {ports[port]: (name, port) for port in made}
    read = {port: path for port, path in flags(stages[stage]).items() if path in stages[stage]["deps"]}
    return {port: makers.get(path, ("importer", "artifact")) for port, path in read.items()}


def test_the_compiled_graph_is_what_kubeflow_reads(compiled):
    json_format.ParseDict(compiled[0], pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(compiled[1], pipeline_spec_pb2.PlatformSpec())


def test_every_reference_in_the_graph_leads_somewhere(graph):
    for dag in dags(graph).values():
        for task in dag["tasks"].values():
            assert task["componentRef"]["name"] in graph["components"]
            assert set(task.get("dependentTasks", [])) <= set(dag["tasks"])
            inputs = task.get("inputs", {})
            for source in [*inputs.get("artifacts", {}).values(), *inputs.get("parameters", {}).values()]:
                for kind in ("taskOutputArtifact", "taskOutputParameter"):
                    if kind in source:
                        assert source[kind]["producerTask"] in dag["tasks"]
                        made = graph["components"][dag["tasks"][source[kind]["producerTask"]]["componentRef"]["name"]]
                        section = "artifacts" if kind == "taskOutputArtifact" else "parameters"
                        key = source[kind].get("outputArtifactKey") or source[kind]["outputParameterKey"]
                        assert key in made["outputDefinitions"][section]
    labels = {item["executorLabel"] for item in graph["components"].values() if "executorLabel" in item}
    assert labels == set(graph["deploymentSpec"]["executors"])


def test_no_placeholder_is_used_that_kubeflow_does_not_resolve(graph):
    for executor in graph["deploymentSpec"]["executors"].values():
        for word in executor.get("container", {}).get("command", []):
            assert '{"Concat"' not in word
            assert '{"IfPresent"' not in word


def test_the_tasks_are_the_stages_with_the_importer_and_the_other_branch(graph, stages):
    assert set(tasks(graph)) == {task_of(stage) for stage in stages} | {"importer", "skip-export"}
    assert list(stages) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_runs_the_module_that_dvc_runs(stage, graph, stages):
    command = container(graph, task_of(stage))["command"]
    assert command[:3] == shlex.split(stages[stage]["cmd"])[:3] == ["python", "-m", f"components.{stage}"]
    assert command[3:] == ["--executor-input", "{{$}}"]
    assert "args" not in container(graph, task_of(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_has_the_settings_that_dvc_watches(stage, graph, stages):
    _, task = tasks(graph)[task_of(stage)]
    given = task["inputs"]["parameters"]["params"]["componentInputParameter"]
    assert given.removeprefix("pipelinechannel--") == f"{stages[stage]['params'][0]}_params"
    assert stages[stage]["params"] == [stage]


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_come_from_where_they_come_from_in_dvc(stage, graph, stages):
    assert edges(graph, stage) == dvc_edges(stages, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_and_outputs_are_named_as_in_dvc(stage, graph, stages):
    declared = component(graph, stage)
    read = set(declared["inputDefinitions"]["artifacts"])
    written = set(declared["outputDefinitions"]["artifacts"])
    scratch = set(declared["inputDefinitions"]["parameters"]) - {"params"}
    assert read | written | scratch == set(flags(stages[stage])) - {"params"}
    assert read == {port for port, path in flags(stages[stage]).items() if path in stages[stage]["deps"]}


@pytest.mark.parametrize("stage", STAGES)
def test_the_ports_of_a_task_are_those_of_the_stage(stage, graph):
    from components.stage import ports

    function = getattr(importlib.import_module(f"components.{stage}"), stage)
    declared = component(graph, stage)
    assert set(declared["inputDefinitions"]["artifacts"]) == set(ports(function, "input"))
    assert set(declared["outputDefinitions"]["artifacts"]) == set(ports(function, "output"))
    assert set(declared["inputDefinitions"]["parameters"]) == {"params", *ports(function, "scratch")}


def test_artifacts_are_typed(graph):
    kinds = {
        port: definition["artifactType"]["schemaTitle"]
        for stage in STAGES
        for port, definition in component(graph, stage)["outputDefinitions"]["artifacts"].items()
    }
    assert kinds == {
        "samples": "system.Dataset",
        "pairs": "system.Dataset",
        "inverse_net": "system.Model",
        "segmenter": "system.Model",
        "metrics": "system.Metrics",
        "curves": "system.Artifact",
        "gate": "system.Artifact",
        "images": "system.Dataset",
        "plots": "system.Artifact",
        "report": "system.HTML",
        "onnx": "system.Artifact",
        "agreement": "system.Artifact",
        "card": "system.Markdown",
    }


def test_export_runs_if_the_gate_was_passed_and_says_so_otherwise(graph):
    groups = {task["componentRef"]["name"]: task for dag in dags(graph).values() for task in dag["tasks"].values()}
    export, skipped = (groups[tasks(graph)[name][0]] for name in ("export", "skip-export"))
    condition = export["triggerPolicy"]["condition"]
    assert condition == "inputs.parameter_values['pipelinechannel--evaluate-passed'] == true"
    assert skipped["triggerPolicy"]["condition"] == f"!({condition})"
    assert component(graph, "evaluate")["outputDefinitions"]["parameters"] == {"passed": {"parameterType": "BOOLEAN"}}
    assert "export skipped" in container(graph, "skip-export")["command"][-1]


def test_the_data_set_is_imported_from_the_address_given(graph):
    _, task = tasks(graph)["importer"]
    assert task["inputs"]["parameters"]["uri"] == {"componentInputParameter": "raw"}


def test_the_sections_are_what_a_run_uses_unless_told_otherwise(graph):
    declared = graph["root"]["inputDefinitions"]["parameters"]
    assert set(declared) == {"raw", *(f"{stage}_params" for stage in STAGES)}
    assert declared["export_params"] == {"parameterType": "STRING", "defaultValue": '{"seed": 1}'}
    assert declared["raw"] == {"parameterType": "STRING"}


def test_two_stages_run_in_the_small_image_and_four_in_the_large_one(graph):
    images = {stage: container(graph, task_of(stage))["image"] for stage in STAGES}
    assert [stage for stage, image in images.items() if image == "registry.example/small:1.0.0"] == list(STAGES[:2])
    assert [stage for stage, image in images.items() if image == "registry.example/large:1.0.0"] == list(STAGES[2:])
    assert container(graph, "skip-export")["image"] == "registry.example/small:1.0.0"


def test_the_trainings_have_a_gpu_shared_memory_and_a_place_for_checkpoints(compiled):
    graph, platform = compiled
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == {"exec-ingest", "exec-train-inverse", "exec-train-segmentation"}
    for stage in ("train_inverse", "train_segmentation"):
        accelerator = container(graph, task_of(stage))["resources"]["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
        (claim,), (memory,) = (mounts[f"exec-{task_of(stage)}"][kind] for kind in ("pvcMount", "emptyDirMounts"))
        assert claim["pvcNameParameter"]["runtimeValue"]["constant"] == "disk"
        assert (memory["mountPath"], memory["medium"]) == ("/dev/shm", "Memory")
        scratch = tasks(graph)[task_of(stage)][1]["inputs"]["parameters"]["checkpoints"]["runtimeValue"]["constant"]
        assert Path(scratch).is_relative_to(claim["mountPath"])
    assert "accelerator" not in container(graph, "evaluate")["resources"]


def test_every_stage_asks_for_its_share_and_is_tried_again(graph):
    for stage in STAGES:
        share = container(graph, task_of(stage))["resources"]
        assert share["resourceCpuRequest"]
        assert share["resourceMemoryRequest"].endswith("Gi")
        assert tasks(graph)[task_of(stage)][1]["retryPolicy"]["maxRetryCount"] >= 1


def test_evaluate_has_a_gpu_where_the_site_says_so(tmp_path):
    package = tmp_path / "pipeline.yaml"
    compile_graph(package, site=Site(gpu_stages=("evaluate",)), defaults={})
    graph = next(yaml.safe_load_all(package.read_text()))
    wanting = [stage for stage in STAGES if "accelerator" in container(graph, task_of(stage))["resources"]]
    assert wanting == ["evaluate"]
