"""Run the compiled graph on this machine, in the real images, by kfp's local runner with Docker.

Three things of that runner are replaced for the length of a run: how a container is run (see `local_container`), when a
task counts as done (see `local_tasks`), and what is printed. It is given back as it was found.
"""

import contextlib
import datetime
import fcntl
import logging
import os
import shutil
import signal
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
from docker import errors
from kfp import components, local
from kfp.local import docker_task_handler, logging_utils, task_dispatcher

from pipeline import InputError
from pipeline.arguments import check_arguments
from pipeline.local_container import Containers
from pipeline.local_graph import Graph
from pipeline.local_tasks import RAW, Done, Limits, Tasks

SHARE = 0.75
"""Of the machine's memory, what a container may use unless --memory says otherwise."""


def run_local(
    package: Path,
    given: Mapping[str, Any],
    *,
    work: Path,
    raw: Path | None = None,
    outputs: Path | None = None,
    memory: int | None = None,
    processes: int = Limits.processes,
    retries: bool = False,
    grace: int = 60,
) -> int:
    """Run a compiled graph to its end; the exit status: 0, 1 if a task failed, 130 or 143 when interrupted.

    Args:
        package: The graph, as `compile` writes it.
        given: Arguments of the pipeline but `raw`.
        work: Folder of runs, and of the checkpoints that outlive them.
        raw: The data set: a folder or file, which containers may read.
        outputs: Where outputs go as STAGE/PORT when all has succeeded; `outputs` in the folder of runs by default.
        memory: Bytes that a container may use; three quarters of what the machine has by default.
        processes: Processes and threads that a container may have.
        retries: Whether a task that failed is tried again as often as the graph says.
        grace: Seconds that an interrupted stage has for its checkpoint.

    Raises:
        InputError: Something handed in is wrong, no engine answers, or an image is not there. Nothing has run then.
    """
    work, outputs = work.absolute(), (outputs or work / "outputs").absolute()
    graph = Graph(package)
    arguments = _arguments(graph, package, given, raw)
    if outputs.exists() and (not outputs.is_dir() or any(outputs.iterdir())):
        raise InputError(f"--outputs {outputs} is there already; remove it, or name another folder")
    with _engine() as client, _alone(work):
        for image in graph.images():
            _check_image(client, image)
        machine = client.info()
        gpus = "nvidia" in machine["Runtimes"]
        limits = Limits(memory or int(SHARE * machine["MemTotal"]), processes)
        containers = Containers(client, str(work), grace=grace)
        containers.remove_left_over()
        tasks = Tasks(graph, containers, raw=raw and raw.absolute(), work=work, limits=limits, gpus=gpus)
        for line in graph.not_given(gpus=gpus, retries=retries):
            print(f"not given here: {line}")
        root = work / "runs" / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
        doubts = _play(graph.text(retries=retries), arguments, root, tasks, containers)
        # Of a task that was tried again the last attempt counts.
        last = list({task.name: task for task in tasks.done}.values())
        faults = [f"{task.name}: {task.fault}" for task in last if task.fault] or doubts
        if not faults and containers.signal is None:
            faults = [f"did not run: {name}" for name in graph.left_out({task.component for task in tasks.done})]
        print(table(graph, tasks.done))
        if containers.signal is not None:
            print(f"interrupted; checkpoints are in {work / 'claims'}, and the same command goes on from them")
            return 128 + containers.signal
        if faults:
            print(f"failed: {faults[0]}\nwhat was made until then is in {root}")
            return 1
        _hand_over(last, outputs)
        shutil.rmtree(root)
        print(f"outputs are in {outputs}")
    return 0


def table(graph: Graph, done: list[Done]) -> str:
    """Tasks in the order in which they ended, and those which did not run."""
    rows = [(task.name, "failed" if task.fault else "succeeded", f"{task.seconds:.1f}", task.fault) for task in done]
    ran = {task.component for task in done}
    rows += [(task.name, "not run", "", "") for task in graph.tasks if task.component not in ran]
    width = max(4, *(len(name) for name, *_ in rows))
    lines = [f"{name:{width}}  {state:9}  {seconds:>8}  {fault}".rstrip() for name, state, seconds, fault in rows]
    return "\n".join([f"{'task':{width}}  {'state':9}  {'seconds':>8}", *lines])


def _arguments(graph: Graph, package: Path, given: Mapping[str, Any], raw: Path | None) -> dict[str, Any]:
    """All arguments, as far as they can be judged before anything runs."""
    arguments = dict(given)
    if raw is not None:
        if "://" in str(raw) or not raw.exists():
            raise InputError(f"--raw {raw}: no such file or folder on this machine; containers here have no network")
        arguments["raw"] = RAW
    if graph.parameters:
        check_arguments(arguments, package)
    return arguments


@contextlib.contextmanager
def _engine() -> Iterator[docker.DockerClient]:
    where = os.environ.get("DOCKER_HOST", "unset")
    try:
        client = docker.from_env()
    except errors.DockerException as error:
        raise InputError(
            f"no container engine answers ({error}); DOCKER_HOST is {where}; start Docker, or set it"
        ) from None
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold a folder of runs for this run alone."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--work {work} is used by another run; wait for its end, or name another folder"
            ) from None
        yield


def _check_image(client: docker.DockerClient, image: str) -> None:
    try:
        client.images.get(image)
    except errors.ImageNotFound:
        raise InputError(
            f"image {image} is not on this machine, and run-local pulls nothing; build it (make images), pull it, or "
            "name others with --small-image and --large-image"
        ) from None


def _play(text: str, arguments: Mapping[str, Any], root: Path, tasks: Tasks, containers: Containers) -> list[str]:
    """Run a graph by kfp's local runner; what that runner itself had to complain of."""
    doubts = _Doubts()
    with contextlib.ExitStack() as held:
        # It shows settings without an effect here, which were told already, at every task.
        held.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Task .* have no effect", category=UserWarning)
        run_task = tasks.around(task_dispatcher.run_single_task_implementation)
        for module, name, ours in (
            (docker_task_handler, "run_docker_container", containers.run),
            (task_dispatcher, "run_single_task_implementation", run_task),
            # These replace print and the handlers of logging, and leave them replaced after a parallel loop.
            (logging_utils, "local_logger_context", contextlib.nullcontext),
            (logging_utils, "indented_print", contextlib.nullcontext),
            (logging_utils, "print_horizontal_line", lambda: None),
        ):
            held.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, ours)
        for number in (signal.SIGINT, signal.SIGTERM):
            held.callback(signal.signal, number, signal.signal(number, containers.stop))
        logging.getLogger().addHandler(doubts)
        held.callback(logging.getLogger().removeHandler, doubts)
        space = root / "workspace"
        space.mkdir(parents=True)
        local.init(local.DockerRunner(), pipeline_root=str(root), workspace_root=str(space))
        pipeline = components.load_component_from_text(text)
        try:
            pipeline(**arguments)
        except (RuntimeError, ValueError) as error:
            doubts.found.append(str(error))
    return doubts.found


class _Doubts(logging.Handler):
    """Gathers what kfp's local runner warns of: where it goes on after one, it goes wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if Path(record.pathname).is_relative_to(Path(local.__file__).parent):
            # That a task failed is known, and a second attempt may succeed.
            if record.module != task_dispatcher.__name__.rpartition(".")[2]:
                self.found.append(record.getMessage())
        elif logging.lastResort is not None:
            logging.lastResort.handle(record)


def _hand_over(done: list[Done], outputs: Path) -> None:
    """Move outputs to their place, by stage and port."""
    for task in done:
        name, *loops = task.name.replace("]", "").split("[")
        for port, path in task.artifacts.items():
            place = Path(outputs, name.replace("-", "_"), *loops, port)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, place)
