"""What a container and KFP cost around a stage, and whether a stage that fails is told to have failed.

    python -m benchmarks.containers cost                       # run-local beside the bare command in the same image
    python -m benchmarks.containers failures --repeats 100     # with two busy processes beside them

Both want an engine and the images (`make images`). `cost` runs `ingest` on a few drawn scenes, and a task that does
nothing, as the work of a stage drowns the difference on a busy machine: as a graph of one task by run-local, from
reading the graph to handing over the outputs, and as `docker exec` in a container of the same image that runs already,
with the same limits; they take turns. `failures` runs graphs of one task that fails in some way, and counts how often
the exit status of run-local says so; where the task leaves with a status, the same graph is also run by kfp's local
runner as it comes.
"""

import argparse
import contextlib
import io
import itertools
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
from docker.types import Mount
from kfp import compiler, components, dsl, local
from kfp.dsl import Artifact, Dataset, Input, Output

from pipeline.run_local import run_local
from tests.containers import graphs

SETTINGS = {
    "data": {"name": "procedural", "train": 8, "val": 2, "test": 2, "size": [96, 128], "seed": 1},
    "boundary": {"operator": "sobel", "radius": 1},
    "workers": 1,
    "shard_mib": 128,
}
"""Of ingest."""
MEMORY = 2 << 30
LITTLE = 256 << 20
"""Bytes of a container, and of one that is to run out of them."""
BY_ITSELF = ("exit 1", "exit 1 after all was made")
"""The failures that kfp's own runner is asked for too."""


EMPTY = """
import json, pathlib, sys
if sys.argv[1:]:
    asked = json.loads(sys.argv[2])["outputs"]
    uri = asked["artifacts"]["samples"]["artifacts"][0]["uri"]
    pathlib.Path(uri).touch()
    told = {"samples": {"artifacts": [{"name": "samples", "uri": uri}]}}
    pathlib.Path(asked["outputFile"]).write_text(json.dumps({"artifacts": told}))
"""
"""A task that makes its output of nothing: what is left is the cost."""
COMMANDS = {"ingest": ["python", "-m", "components.ingest"], "empty task": ["python", "-c", EMPTY]}
PLACES = "--params /given/params.yaml --raw /given/raw --checkpoints /tmp/kept --samples /tmp/samples"
"""Of ingest as a bare command."""


def one_stage(package: Path, image: str, task: str) -> Path:
    """A graph of an importer and a task with the ports of `ingest`."""

    @dsl.container_component
    def ingest(params: str, checkpoints: str, raw: Input[Artifact], samples: Output[Dataset]) -> dsl.ContainerSpec:
        given = ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER]
        return dsl.ContainerSpec(image=image, command=[*COMMANDS[task], *given])

    @dsl.pipeline(name="one-stage")
    def pipeline(raw: str) -> None:
        found = dsl.importer(artifact_uri=raw, artifact_class=Artifact)
        ingest(params=json.dumps(SETTINGS), checkpoints="/tmp/checkpoints", raw=found.output)

    compiler.Compiler().compile(pipeline, str(package))
    return package


def cost(
    client: docker.DockerClient, image: str, task: str, *, repeats: int, folder: Path
) -> tuple[list[float], list[float]]:
    """Seconds of a task by run-local, and as a bare command in the same image."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    package = one_stage(folder / "graph.yaml", image, task)
    (folder / "params.yaml").write_text(json.dumps({"ingest": SETTINGS}))
    limits = {"mem_limit": MEMORY, "pids_limit": 1024, "cap_drop": ["ALL"], "network_mode": "none", "read_only": True}
    given = Mount("/given", str(folder), "bind", read_only=True)
    bare = client.containers.run(
        image, ["sleep", "infinity"], detach=True, tmpfs={"/tmp": "mode=1777"}, mounts=[given], **limits
    )
    places = PLACES.split() if task == "ingest" else []
    contained, commands = [], []
    try:
        # The first of each finds nothing in the cache of files.
        for turn in range(repeats + 1):
            began = time.perf_counter()
            with quiet() as said:
                status = run_local(
                    package, {}, raw=raw, work=folder / "work", outputs=folder / f"outputs{turn}", memory=MEMORY
                )
            contained.append(time.perf_counter() - began)
            began = time.perf_counter()
            done = bare.exec_run([*COMMANDS[task], *places])
            commands.append(time.perf_counter() - began)
            if status or done.exit_code:
                raise SystemExit(f"a stage failed: {status}, {done.exit_code}: {said.getvalue()}{done.output}")
    finally:
        bare.remove(force=True)
    return contained[1:], commands[1:]


def failures(
    client: docker.DockerClient, image: str, name: str, *, repeats: int, folder: Path
) -> tuple[int, int | None]:
    """How often a failure was told by run-local, and by kfp's local runner as it comes."""
    package = graphs.one(folder / "graph.yaml", image, graphs.FAILURES[name])
    told, told_by_kfp = 0, 0
    for turn in range(repeats):
        work = folder / str(turn)
        with quiet(), graphs.killed(client, work) if name == "SIGKILL" else contextlib.nullcontext():
            told += run_local(package, {}, work=work, memory=LITTLE) == 1
        if name in BY_ITSELF:
            told_by_kfp += fails_by_kfp(package, folder / f"kfp{turn}")
    return told, told_by_kfp if name in BY_ITSELF else None


def fails_by_kfp(package: Path, root: Path) -> bool:
    """Whether kfp's local runner as it comes says that a graph failed."""
    root.mkdir()
    # The image's user is not the owner of the folder.
    root.chmod(0o777)
    with quiet():
        local.init(local.DockerRunner(network_mode="none"), pipeline_root=str(root), workspace_root=str(root / "space"))
        try:
            components.load_component_from_file(str(package))()
        except RuntimeError:
            return True
        finally:
            # It leaves a handler there, which would print what run-local holds back.
            logging.getLogger().handlers.clear()
    return False


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Without the output of stages, which is gathered."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        yield said


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep cores busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def main() -> None:
    """Print the table that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["cost", "failures"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--busy", type=int, help="busy processes beside (default: 0 for cost, 2 for failures)")
    parser.add_argument("--only", choices=list(graphs.FAILURES), help="one way to fail (default: all)")
    parser.add_argument("--small-image", default="localhost/inverseform/small:dev")
    parser.add_argument("--large-image", default="localhost/inverseform/large:dev")
    given = parser.parse_args()
    beside = given.busy if given.busy is not None else {"cost": 0, "failures": 2}[given.what]
    show: Callable[[docker.DockerClient, Path, argparse.Namespace], None]
    show = show_cost if given.what == "cost" else show_failures
    client = docker.from_env()
    with tempfile.TemporaryDirectory() as folder, busy(beside):
        show(client, Path(folder), given)
    client.close()


def show_cost(client: docker.DockerClient, folder: Path, given: argparse.Namespace) -> None:
    """A line for each image."""
    print("| image | task | run-local, s | bare command, s | more, s (median of pairs; most) |\n|---|---|---|---|---|")
    images = (given.small_image, given.large_image)
    for number, (image, task) in enumerate(itertools.product(images, COMMANDS)):
        contained, commands = cost(client, image, task, repeats=given.repeats, folder=folder / str(number))
        more = [one - other for one, other in zip(contained, commands, strict=True)]
        medians = " | ".join(f"{statistics.median(seconds):.2f}" for seconds in (contained, commands, more))
        print(f"| {image} | {task} | {medians}; {max(more):.2f} |", flush=True)


def show_failures(client: docker.DockerClient, folder: Path, given: argparse.Namespace) -> None:
    """A line for each way to fail."""
    print("| the task | told by run-local | told by kfp's local runner |\n|---|---|---|")
    for name in [given.only] if given.only else graphs.FAILURES:
        place = folder / name.replace(" ", "-")
        place.mkdir()
        told, by_kfp = failures(client, given.small_image, name, repeats=given.repeats, folder=place)
        other = "" if by_kfp is None else f"{by_kfp} of {given.repeats}"
        print(f"| {name} | {told} of {given.repeats} | {other} |", flush=True)


if __name__ == "__main__":
    main()
