"""The tasks of a run on this machine: what their containers get, how they ended, and what they made."""

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
from docker import errors
from docker.types import DeviceRequest, Mount
from google.protobuf import json_format
from kfp import dsl, local
from kfp.local import executor_input_utils, status

from pipeline.local_container import TASK, WORK, Containers
from pipeline.local_graph import Graph

RAW = "/raw"
"""Where containers find the raw data."""
USER = 10001
"""Of the images; containers run as the user who typed the command, or as this one where that is root."""
# What the engine, the answer of a stage or kfp's reading of it raise.
FAULTS = (
    errors.DockerException,
    urllib3.exceptions.HTTPError,
    json_format.Error,
    OSError,
    ValueError,
    LookupError,
    TypeError,
)

Outcome = tuple[dict[str, Any], status.Status]
Run = Callable[..., Outcome]
"""kfp's function that runs one task: outputs by name, and whether it succeeded."""


@dataclass(frozen=True)
class Limits:
    """What a container may use at most."""

    memory: int
    """Bytes, the files in /tmp and /dev/shm among them."""
    processes: int = 1024
    """Processes and threads."""


class Done(NamedTuple):
    """A task that was tried."""

    name: str
    component: str
    seconds: float
    fault: str
    """Why it failed; empty if it did not."""
    artifacts: dict[str, Path]
    """Where its outputs lie."""


class Tasks:
    """Runs tasks for kfp's local runner, and remembers how.

    Args:
        graph: The graph.
        containers: Of this run.
        raw: The raw data.
        work: Where runs and claims are kept.
        limits: Of each container.
        gpus: Whether the engine can give GPUs.
    """

    def __init__(
        self, graph: Graph, containers: Containers, *, raw: Path | None, work: Path, limits: Limits, gpus: bool
    ) -> None:
        self._graph, self.containers = graph, containers
        self._raw, self._work, self._limits, self._gpus = raw, work, limits, gpus
        self.done: list[Done] = []

    def around(self, run: Run) -> Run:
        """The function to put in place of kfp's: it calls it, and knows a failure when it sees one.

        A task fails if its container cannot be started or leaves with another status than 0, if what it says of its
        outputs cannot be read, or if an output is missing.
        """

        def task(
            *,
            component_name: str,
            component_spec: Any,  # noqa: ANN401 (a message of protobuf)
            pipeline_resource_name: str,
            pipeline_root: str,
            **given: Any,  # noqa: ANN401 (kfp's own)
        ) -> Outcome:
            name = _name(component_name, pipeline_resource_name)
            if self.containers.signal is not None:
                return {}, status.Status.FAILURE
            resource = executor_input_utils.get_local_task_resource_name(component_name)
            root = Path(executor_input_utils.construct_local_task_root(pipeline_root, pipeline_resource_name, resource))
            outputs, fault, began = {}, "", time.monotonic()
            try:
                # A second attempt must not be taken for a success by what the first one left.
                self.containers.ended.pop(name, None)
                if root.exists():
                    shutil.rmtree(root)
                self._own(root, below=Path(pipeline_root))
                given["runner"] = local.DockerRunner(**self._settings(name, component_spec.executor_label, root))
                outputs, state = run(
                    component_name=component_name,
                    component_spec=component_spec,
                    pipeline_resource_name=pipeline_resource_name,
                    pipeline_root=pipeline_root,
                    **given,
                )
                if state is not status.Status.SUCCESS:
                    fault = str(self.containers.ended.get(name, "it was not started"))
            except FAULTS as error:
                fault = f"{type(error).__name__}: {error}"
            fault = fault or _missing(component_spec.output_definitions, outputs)
            artifacts = {port: Path(str(made.uri)) for port, made in outputs.items() if isinstance(made, dsl.Artifact)}
            self.done.append(Done(name, component_name, time.monotonic() - began, fault, artifacts))
            if fault:
                self.containers.say(name, f"failed: {fault}")
                return {}, status.Status.FAILURE
            return outputs, status.Status.SUCCESS

        return task

    def _settings(self, name: str, executor: str, root: Path) -> dict[str, Any]:
        """What the engine is told of a container: as little as a stage needs."""
        wants = self._graph.wants(executor)
        memory = min(self._limits.memory, wants.memory or self._limits.memory)
        places = [Mount(str(root), str(root), type="bind")]
        if self._raw is not None:
            places.append(Mount(RAW, str(self._raw), type="bind", read_only=True))
        for path, claim in wants.claims.items():
            self._own(self._work / "claims" / claim, below=self._work / "claims")
            places.append(Mount(path, str(self._work / "claims" / claim), type="bind"))
        empty = {"/tmp": None, **wants.empty}
        shared = empty.pop("/dev/shm", None)
        gpus = DeviceRequest(count=wants.gpus, capabilities=[["gpu"]])
        return {
            "mounts": places,
            "tmpfs": {path: "mode=1777" + (f",size={size}" if size else "") for path, size in empty.items()},
            "network_mode": "none",
            # Without a network no other name is known, and torchrun waits minutes for an answer on its own.
            "hostname": "localhost",
            "read_only": True,
            "user": f"{_owner()[0]}:{_owner()[1]}",
            # A user whom the image does not know has no name, for which torch asks.
            "environment": {"USER": "stage"},
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "pids_limit": self._limits.processes,
            "mem_limit": memory,
            # Without it a container gets as much again on disk, and crawls where it should end.
            "memswap_limit": memory,
            "labels": {TASK: name, WORK: str(self._work)},
            **({"shm_size": shared} if shared else {}),
            **({"device_requests": [gpus]} if wants.gpus and self._gpus else {}),
        }

    def _own(self, folder: Path, *, below: Path) -> None:
        """Make a folder that the containers' user may enter and write."""
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            for path in (folder, *folder.parents):
                if path == below.parent:
                    break
                os.chown(path, *_owner())


def _owner() -> tuple[int, int]:
    """User and group of the containers, never root."""
    return (os.geteuid(), os.getegid()) if os.geteuid() else (USER, USER)


def _name(component: str, resource: str) -> str:
    """The name of a task, with its number in every loop around it."""
    loops = [part.rpartition("-iteration-")[2] for part in resource.split("/")[1:]]
    return component.removeprefix("comp-") + "".join(f"[{number}]" for number in loops)


def _missing(declared: Any, outputs: Mapping[str, Any]) -> str:  # noqa: ANN401 (a message of protobuf)
    """What a task that left with 0 did not make."""
    names = [name for name in (*declared.parameters, *declared.artifacts) if name not in outputs]
    told = {name: made for name, made in outputs.items() if isinstance(made, dsl.Artifact)}
    names += [name for name, made in told.items() if not Path(str(made.uri)).exists()]
    return f"it ended with status 0 and did not make {', '.join(names)}" if names else ""
