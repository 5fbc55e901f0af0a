"""What a compiled graph would run, read from the file that is sent: nothing is asked of a cluster."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.arguments import documents


class Planned(NamedTuple):
    """One task of the graph."""

    name: str
    depth: int
    """How many loops and conditions it is inside of."""
    facts: dict[str, str]
    """What there is to say of it, by what it says."""


def planned(package: Path) -> list[Planned]:
    """All tasks of a compiled graph in an order in which they can run; those inside of a loop follow it."""
    graph, platform = documents(package)
    asked = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"] if platform else {}
    return list(_walk(graph, asked, graph["root"]["dag"], depth=0))


def text(package: Path, given: Mapping[str, str], changed: Iterator[tuple[str, Any, Any]]) -> str:
    """The plan to read.

    Args:
        package: The compiled graph.
        given: Arguments that go with the run.
        changed: Settings other than those of params.yaml: where, what it is there, what it will be.
    """
    tasks = planned(package)
    lines = [f"{sum('image' in task.facts for task in tasks)} containers, in this order:"]
    for task in tasks:
        margin = "  " * task.depth
        lines.append(f"{margin}{task.name}")
        lines += [f"{margin}    {key:<10} {value}" for key, value in task.facts.items()]
    lines.append("arguments:")
    # Those of settings stand in params.yaml.
    lines += [f"    {name:<10} {value}" for name, value in given.items() if not name.endswith("_params")]
    lines.append("settings other than in params.yaml:")
    lines += [f"    {where}: {json.dumps(after)} (there {json.dumps(before)})" for where, before, after in changed]
    if lines[-1].endswith(":"):
        lines[-1] += " none"
    return "\n".join(lines)


def _walk(graph: dict[str, Any], asked: dict[str, Any], dag: dict[str, Any], depth: int) -> Iterator[Planned]:
    # Sorted first, as the file is: the order of what could run at one time is then always the same.
    after = {key: task.get("dependentTasks", []) for key, task in sorted(dag["tasks"].items())}
    for key in TopologicalSorter(after).static_order():
        task = dag["tasks"][key]
        component = graph["components"][task["componentRef"]["name"]]
        facts = _frame(task)
        inner = component.get("dag")
        if inner is None:
            label = component["executorLabel"]
            executor = graph["deploymentSpec"]["executors"][label]
            facts = _executor(executor, asked.get(label, {})) | facts | _repeats(task)
        # With the names of the file, which a loop's task shows at one glance.
        name = task.get("taskInfo", {}).get("name", key)
        yield Planned(name if name == key else f"{key} ({name})", depth, facts)
        if inner is not None:
            yield from _walk(graph, asked, inner, depth + 1)


def _frame(task: dict[str, Any]) -> dict[str, str]:
    """When a task runs, and how often."""
    facts = {}
    if before := task.get("dependentTasks"):
        facts["after"] = ", ".join(before)
    trigger = task.get("triggerPolicy", {})
    if condition := trigger.get("condition"):
        facts["if"] = re.sub(r"inputs\.parameter_values\['(?:pipelinechannel--)?(.*?)'\]", r"\1", condition)
    if trigger.get("strategy") == "ALL_UPSTREAM_TASKS_COMPLETED":
        facts["when"] = "the others have ended, well or not"
    for kind in ("parameterIterator", "artifactIterator"):
        if loop := task.get(kind):
            items = loop["items"].get("raw") or loop["items"].get("inputParameter") or loop["items"]
            at_once = task.get("iteratorPolicy", {}).get("parallelismLimit")
            facts["for each"] = f"of {items}" + (f", {at_once} at a time" if at_once else ", all at a time")
    return facts


def _executor(executor: dict[str, Any], asked: dict[str, Any]) -> dict[str, str]:
    """What a task runs, and what it asks of the cluster."""
    if importer := executor.get("importer"):
        return {"imports": json.dumps(importer["artifactUri"]), "again": "yes" if importer.get("reimport") else "no"}
    container = executor["container"]
    facts = {
        "image": container["image"],
        "command": shlex.join([*container.get("command", []), *container.get("args", [])]),
    }
    resources = container.get("resources", {})
    wanted = [
        f"{what} {resources[name]}"
        for what, name in (
            ("cpu", "resourceCpuRequest"),
            ("memory", "resourceMemoryRequest"),
            ("at most cpu", "resourceCpuLimit"),
            ("at most memory", "resourceMemoryLimit"),
        )
        if name in resources
    ]
    if gpu := resources.get("accelerator"):
        wanted.append(f"{gpu['resourceCount']} {gpu['resourceType']}")
    if wanted:
        facts["asks for"] = ", ".join(wanted)
    if variables := container.get("env"):
        facts["variables"] = ", ".join(f"{one['name']}={one['value']}" for one in variables)
    if volumes := [*_volumes(asked)]:
        facts["volumes"] = ", ".join(volumes)
    # Node selectors, tolerations, secrets: as they are sent.
    for name, value in asked.items():
        if name not in ("pvcMount", "emptyDirMounts"):
            facts[name] = json.dumps(value)
    return facts


def _volumes(asked: dict[str, Any]) -> Iterator[str]:
    for mount in asked.get("pvcMount", []):
        yield f"claim {mount.get('constant') or json.dumps(mount['pvcNameParameter'])} at {mount['mountPath']}"
    for mount in asked.get("emptyDirMounts", []):
        yield f"{mount.get('medium') or 'disk'} of {mount.get('sizeLimit', 'any size')} at {mount['mountPath']}"


def _repeats(task: dict[str, Any]) -> dict[str, str]:
    """What happens if it fails, and if it ran before."""
    facts = {}
    if retry := task.get("retryPolicy"):
        pause = f"after {retry.get('backoffDuration', '0s')}, at most {retry.get('backoffMaxDuration', '3600s')}"
        facts["retries"] = f"{retry['maxRetryCount']}, {pause}"
    cached = task.get("cachingOptions", {}).get("enableCache", False)
    facts["cached"] = "yes, by image, command, arguments, inputs and claims" if cached else "no"
    return facts
