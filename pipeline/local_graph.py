"""What a compiled graph asks for, as far as it concerns a run on one machine."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline import InputError

UNITS = {"": 1, "k": 1000}
for power, letter in enumerate("KMGTPE", start=1):
    UNITS |= {letter: 1000**power, f"{letter}i": 1024**power}
GIVEN = {"pvcMount", "emptyDirMounts"}
"""Of what Kubernetes is asked for, that which an engine can give."""


class Wants(NamedTuple):
    """What the container of a task gets beside its image."""

    claims: dict[str, str]
    """A folder for every PersistentVolumeClaim, relative to where claims are kept, by its path in the container."""
    empty: dict[str, int | None]
    """Bytes of an empty folder in memory, by its path in the container; None for no limit."""
    memory: int | None
    """Bytes that it may use at most."""
    gpus: int


class Task(NamedTuple):
    """A task that runs in a container."""

    component: str
    """Its name among the components of the graph, the only one that kfp's local runner tells."""
    executor: str
    optional: bool
    """Whether it stands below a condition."""

    @property
    def name(self) -> str:
        """As it is shown."""
        return self.component.removeprefix("comp-")


class Graph:
    """A graph as `compile` writes it: a pipeline, and what it asks of Kubernetes.

    Args:
        package: The file.

    Raises:
        InputError: It is no compiled graph, or one that kfp's local runner would get wrong.
    """

    def __init__(self, package: Path) -> None:
        try:
            documents = list(yaml.safe_load_all(package.read_text()))
            self.spec: dict[str, Any] = documents[0]
            self.executors: dict[str, dict[str, Any]] = self.spec["deploymentSpec"]["executors"]
            self.parameters: dict[str, Any] = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
            self.tasks = list(self._walk(self.spec["root"], optional=False))
            platform = (documents[1] if len(documents) > 1 else None) or {}
            self._kubernetes: dict[str, dict[str, Any]] = (
                platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
            )
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{package} is no compiled graph ({error!r}); python -m pipeline compile writes one"
            ) from None
        components = [task.component for task in self.tasks]
        # kfp's local runner puts the outputs of a task where the name of its component says.
        if twice := {name for name in components if components.count(name) > 1}:
            raise InputError(f"{package}: several tasks share {', '.join(sorted(twice))}; give each its own component")

    def images(self) -> list[str]:
        """The images of its containers."""
        used = (self.executors[task.executor]["container"]["image"] for task in self.tasks)
        return list(dict.fromkeys(used))

    def text(self, *, retries: bool) -> str:
        """The pipeline as YAML for kfp's local runner.

        Args:
            retries: Whether a task that failed is tried again as often as the graph says, then at once: what a task
                waits for on a cluster is another machine.
        """
        spec = yaml.safe_load(yaml.safe_dump(self.spec))
        for component in (spec["root"], *spec["components"].values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                policy = task.pop("retryPolicy", {})
                if retries and "maxRetryCount" in policy:
                    task["retryPolicy"] = {"maxRetryCount": policy["maxRetryCount"]}
        return yaml.safe_dump(spec, sort_keys=False)

    def wants(self, executor: str) -> Wants:
        """What the container of an executor gets."""
        asked, resources = self._kubernetes.get(executor, {}), self._resources(executor)
        claims = {}
        for mount in asked.get("pvcMount", ()):
            name = mount.get("pvcNameParameter", {}).get("runtimeValue", {}).get("constant") or mount.get("constant")
            claims[mount["mountPath"]] = str(Path(name or "claim", mount.get("subPath", "")))
        empty = {mount["mountPath"]: _bytes(mount.get("sizeLimit")) for mount in asked.get("emptyDirMounts", ())}
        gpus = resources.get("accelerator", {}).get("resourceCount", "0")
        memory = _bytes(resources.get("resourceMemoryLimit"))
        return Wants(claims, empty, memory, int(gpus) if gpus.isdecimal() else 1)

    def not_given(self, *, gpus: bool, retries: bool) -> list[str]:
        """What the graph asks for and a run on one machine does not give; a line each, with the tasks that ask.

        Args:
            gpus: Whether the engine can give GPUs.
            retries: Whether tasks that failed are tried again.
        """
        asking: dict[str, list[str]] = {}
        for task in self.tasks:
            wishes = set(self._kubernetes.get(task.executor, {})) - GIVEN
            wishes |= {
                f"{kind} request"
                for kind in ("CPU", "memory")
                if f"resource{kind.title()}Request" in self._resources(task.executor)
            }
            for wish in sorted(wishes):
                asking.setdefault(wish, []).append(task.name)
            if "resourceCpuLimit" in self._resources(task.executor):
                asking.setdefault("CPU limit", []).append(task.name)
            if self.wants(task.executor).gpus and not gpus:
                asking.setdefault("GPU (the engine has no runtime of NVIDIA)", []).append(task.name)
        if not retries and any(self._retries()):
            asking["retries (--retries)"] = ["all tasks"]
        return [f"{wish}: {', '.join(names)}" for wish, names in asking.items()]

    def left_out(self, done: set[str]) -> list[str]:
        """What did not run of a graph of which nothing failed.

        kfp's local runner skips a condition that it cannot make sense of, and calls that a success.

        Args:
            done: Names of the components that ran.
        """
        return list(self._left_out(self.spec["root"], done))

    def _left_out(self, component: Mapping[str, Any], done: set[str]) -> Iterator[str]:
        tasks = component["dag"]["tasks"]
        conditional = [name for name, task in tasks.items() if "condition" in task.get("triggerPolicy", {})]
        below = {name: self.spec["components"][task["componentRef"]["name"]] for name, task in tasks.items()}
        taken = [name for name in conditional if self._components(below[name]) & done]
        if len(conditional) > 1 and len(taken) != 1:
            yield f"{len(taken)} of the branches {', '.join(conditional)}"
        for name, task in tasks.items():
            if "dag" in below[name]:
                if name not in conditional or name in taken:
                    yield from self._left_out(below[name], done)
            elif self._is_container(below[name]) and task["componentRef"]["name"] not in done:
                yield name

    def _components(self, component: Mapping[str, Any]) -> set[str]:
        return {task.component for task in self._walk(component, optional=False)}

    def _walk(self, component: Mapping[str, Any], *, optional: bool) -> Iterator[Task]:
        for task in component["dag"]["tasks"].values():
            name = task["componentRef"]["name"]
            below = self.spec["components"][name]
            unsure = optional or "condition" in task.get("triggerPolicy", {})
            if "dag" in below:
                yield from self._walk(below, optional=unsure)
            elif self._is_container(below):
                yield Task(name, below["executorLabel"], unsure)

    def _is_container(self, component: Mapping[str, Any]) -> bool:
        """An importer runs in none."""
        return "container" in self.executors[component["executorLabel"]]

    def _retries(self) -> Iterator[int]:
        """How often each task is tried again."""
        for component in (self.spec["root"], *self.spec["components"].values()):
            for task in component.get("dag", {}).get("tasks", {}).values():
                yield task.get("retryPolicy", {}).get("maxRetryCount", 0)

    def _resources(self, executor: str) -> dict[str, Any]:
        return self.executors[executor]["container"].get("resources", {})


def _bytes(quantity: str | None) -> int | None:
    """Bytes of an amount in the spelling of Kubernetes; None if it names none, or a parameter of the graph."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGTPE]i?|k|)", quantity or "")
    return int(float(found[1]) * UNITS[found[2]]) if found else None
