"""The compiled graph, read: what the tests of the graph share."""

import shlex
from pathlib import Path

import yaml

from pipeline.graph import STAGES
from pipeline.submit import compile_graph

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"ingest-shard": "ingest", "synthesize-shard": "synthesize", "synthesize-fit": "synthesize"}
"""Tasks that make a part of a stage, into its checkpoints; dvc.yaml has the stage alone."""
CONTROL = {"importer", "skip-export", "note"}
"""Tasks that belong to the engine."""
PROFILES = {path.stem: path for path in sorted((ROOT / "pipeline" / "profiles").glob("*.yaml"))}
SITE = {"small_image": "registry.example/small:1.0.0", "large_image": "registry.example/large:1.0.0", "claim": "disk"}
# What the graph has and dvc.yaml has not: what Kubeflow's page shows, and what its cache goes by.
SHOWN, KEYS = {"evaluate": {"confusion"}}, {"ingest": {"revision"}}


def compile_to(folder, site):
    """The two documents that Kubeflow gets: the graph, and what Kubernetes has to know."""
    package = folder / "pipeline.yaml"
    compile_graph(package, site=site, defaults={f"{stage}_params": '{"seed": 1}' for stage in STAGES})
    return list(yaml.safe_load_all(package.read_text()))


def dags(graph: dict) -> dict[str, dict]:
    """Every group of tasks, the outermost and those of loops, conditions and the exit handler, by its component."""
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
    """Producer and output of an input, followed out of the groups it was handed into."""
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


def parameter(graph: dict, group: str, source: dict) -> str | dict:
    """The argument of the pipeline that a parameter comes from, or the source itself where it is no argument."""
    while (channel := source.get("componentInputParameter")) is not None:
        if group == "root":
            return channel
        outer, task = next(
            (outer, task)
            for outer, dag in dags(graph).items()
            for task in dag["tasks"].values()
            if task["componentRef"]["name"] == group
        )
        if channel not in task.get("inputs", {}).get("parameters", {}):
            return task["parameterIterator"]
        group, source = outer, task["inputs"]["parameters"][channel]
    return source


def parameters(graph: dict, name: str) -> dict[str, str | dict]:
    """Where each parameter of a task comes from."""
    group, task = tasks(graph)[name]
    given = task["inputs"]["parameters"].items()
    return {port: parameter(graph, group, source) for port, source in given if "taskFinalStatus" not in source}


def groups_of(graph: dict, name: str) -> list[dict]:
    """The groups that a task lies in, as tasks, from the inside out."""
    component, found = tasks(graph)[name][0], []
    while component != "root":
        component, task = next(
            (outer, task)
            for outer, dag in dags(graph).items()
            for task in dag["tasks"].values()
            if task["componentRef"]["name"] == component
        )
        found.append(task)
    return found
