"""Small graphs whose tasks do what they are told, compiled as the real one is."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
from kfp import compiler, dsl, kubernetes
from kfp.dsl import Dataset, Input, Output

from pipeline.local_container import TASK, WORK

ANSWER = """
import json, os, pathlib, signal, sys, time
asked = json.loads(sys.argv[1])["outputs"]
def answer(*, make=True, tell=True, **parameters):
    told = {}
    for name, entry in asked.get("artifacts", {}).items():
        artifact = entry["artifacts"][0]
        if make:
            pathlib.Path(artifact["uri"]).write_text("made")
        told[name] = {"artifacts": [{"name": name, "uri": artifact["uri"], "metadata": {}}]}
    if tell:
        pathlib.Path(asked["outputFile"]).write_text(json.dumps({"artifacts": told, "parameterValues": parameters}))
"""
"""What the code of a task begins with: `answer()` makes its outputs and tells of them, as a stage does."""
WAITS = "print('waiting', flush=True); time.sleep(60); answer()"
FAILURES = {
    "exit 1": "sys.exit(1)",
    "exit 1 after all was made": "answer(); sys.exit(1)",
    "SIGKILL": WAITS,
    "out of memory": "held = [bytearray(1 << 20) for _ in range(1 << 20)]",
    "output not made": "answer(make=False)",
    "output not told of": "answer(tell=False)",
    "answer cut off": "answer(); pathlib.Path(asked['outputFile']).write_text('{')",
}
"""Code of tasks that must not pass for done; that of SIGKILL is killed from outside, see `killed`."""


def container(image: str, code: str) -> dsl.ContainerSpec:
    """A container that runs some code."""
    command = ["python3", "-c", ANSWER + code, dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
    return dsl.ContainerSpec(image=image, command=command)


def one(package: Path, image: str, code: str, *, retries: int = 0) -> Path:
    """A graph of a single task, `only`."""

    @dsl.container_component
    def only(made: Output[Dataset]) -> dsl.ContainerSpec:
        return container(image, code)

    @dsl.pipeline(name="one")
    def pipeline() -> None:
        only().set_retry(num_retries=retries, backoff_duration="3600s")

    compiler.Compiler().compile(pipeline, str(package))
    return package


def two(package: Path, image: str, code: str, *, retries: int = 0) -> Path:
    """A graph of a task, `first`, and of one of some code that reads what it made, `second`, with a claim."""

    @dsl.container_component
    def first(made: Output[Dataset]) -> dsl.ContainerSpec:
        return container(image, "answer()")

    @dsl.container_component
    def second(read: Input[Dataset], made: Output[Dataset]) -> dsl.ContainerSpec:
        return container(image, code)

    @dsl.pipeline(name="two")
    def pipeline() -> None:
        last = second(read=first().outputs["made"])
        last.set_memory_request("1Gi").set_retry(num_retries=retries)
        kubernetes.mount_pvc(last, pvc_name="kept", mount_path="/checkpoints")
        kubernetes.empty_dir_mount(last, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="96Mi")
        kubernetes.add_node_selector(last, "disk", "fast")

    compiler.Compiler().compile(pipeline, str(package))
    return package


def branching(package: Path, image: str, *, passed: bool, shards: str = "answer()") -> Path:
    """A graph of three tasks side by side, `shard`, a choice between `taken` and `other`, and a last task, `note`."""

    value = passed

    @dsl.container_component
    def note(status: dsl.PipelineTaskFinalStatus) -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["python3", "-c", "print('it ended')"])

    @dsl.container_component
    def shard(number: int) -> dsl.ContainerSpec:
        given = "number = json.loads(sys.argv[1])['inputs']['parameterValues']['number']; print('shard', repr(number));"
        return container(image, given + shards)

    @dsl.container_component
    def gate(passed: dsl.OutputPath(bool)) -> dsl.ContainerSpec:  # pyright: ignore[reportInvalidTypeForm]
        return container(image, f"answer(passed={value})")

    @dsl.container_component
    def taken() -> dsl.ContainerSpec:
        return container(image, "answer()")

    @dsl.container_component
    def other() -> dsl.ContainerSpec:
        return container(image, "answer()")

    @dsl.pipeline(name="branching")
    def pipeline() -> None:
        with dsl.ExitHandler(note()):
            with dsl.ParallelFor(items=[0, 1, 2], parallelism=2) as number:
                made = shard(number=number)
            judged = gate().after(made)
            with dsl.If(judged.outputs["passed"] == True):  # noqa: E712 (a condition)
                taken()
            with dsl.Else():
                other()

    compiler.Compiler().compile(pipeline, str(package))
    return package


def without_else(package: Path, image: str) -> Path:
    """A graph with a condition that kfp's local runner cannot make sense of, and skips."""

    @dsl.container_component
    def gate(passed: dsl.OutputPath(bool)) -> dsl.ContainerSpec:  # pyright: ignore[reportInvalidTypeForm]
        return container(image, "answer(passed=True)")

    @dsl.container_component
    def taken() -> dsl.ContainerSpec:
        return container(image, "answer()")

    @dsl.pipeline(name="one-branch")
    def pipeline() -> None:
        with dsl.If(gate().outputs["passed"] == True):  # noqa: E712 (a condition)
            taken()

    compiler.Compiler().compile(pipeline, str(package))
    return package


@contextlib.contextmanager
def killed(client: docker.DockerClient, work: Path) -> Iterator[None]:
    """Kill the containers of a run as soon as they are there; the first process of one cannot do it itself."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.05):
            for found in client.containers.list(filters={"label": f"{WORK}={work}"}):
                with contextlib.suppress(docker.errors.APIError):
                    found.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def containers(client: docker.DockerClient, work: Path) -> list[str]:
    """Tasks whose containers are there, running or not."""
    return [found.labels[TASK] for found in client.containers.list(all=True, filters={"label": f"{WORK}={work}"})]
