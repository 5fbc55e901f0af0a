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

from kfp import components, local
from kfp.local import docker_task_handler, logging_utils, task_dispatcher

from pipeline import InputError, local_engine
from pipeline.arguments import check_arguments
from pipeline.local_container import Containers
from pipeline.local_graph import Graph
from pipeline.local_tasks import RAW, Done, Limits, Tasks


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
    """Run a compiled graph to its end; the exit status: 0, 1 if a task failed, 129, 130 or 143 when interrupted.

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
    with local_engine.connected() as client, _alone(work), _place(outputs) as made:
        containers = Containers(client, str(work), grace=grace)
        with local_engine.told_if_away():
            for image in graph.images():
                local_engine.check_image(client, image)
            machine = client.info()
            containers.remove_left_over()
        gpus = "nvidia" in machine["Runtimes"]
        limits = Limits(local_engine.memory(memory, machine["MemTotal"]), processes)
        tasks = Tasks(graph, containers, raw=raw and raw.absolute(), work=work, limits=limits, gpus=gpus)
        for line in graph.not_given(gpus=gpus, retries=retries):
            print(f"not given here: {line}")
        root = work / "runs" / datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
        # To the very end: half of the outputs would be in the way of the next run.
        with _stopped_by_signals(containers):
            doubts = _play(graph.text(retries=retries), arguments, root, tasks)
            print(table(graph, tasks.done))
            if containers.signal is not None:
                print(f"interrupted; checkpoints are in {work / 'claims'}, and the same command goes on from them")
                return 128 + containers.signal
            # Of a task that was tried again the last attempt counts.
            last = list({task.name: task for task in tasks.done}.values())
            if fault := _fault(graph, last, doubts) or _hand_over(last, made, outputs):
                print(f"failed: {fault}\nwhat was made until then is in {root}")
                return 1
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
def _alone(work: Path) -> Iterator[None]:
    """Hold a folder of runs for this run alone."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / ".lock").open("w")
    except OSError as error:
        raise InputError(f"--work {work}: {error.strerror}; name a folder that can be written") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--work {work} is used by another run; wait for its end, or name another folder"
            ) from None
        yield


@contextlib.contextmanager
def _place(outputs: Path) -> Iterator[Path]:
    """A folder beside that of outputs to gather them in: whether it can be written is known before anything has run."""
    # One that is there may be the root of another file system, which nothing can be renamed to.
    made = outputs if outputs.exists() else outputs.with_name(f".partial-{os.getpid()}.{outputs.name}")
    try:
        made.mkdir(parents=True, exist_ok=made == outputs)
    except OSError as error:
        raise InputError(f"--outputs {outputs}: {error.strerror}; name a folder that can be written") from None
    if not os.access(made, os.W_OK | os.X_OK):
        raise InputError(f"--outputs {outputs} cannot be written; name another folder")
    try:
        yield made
    finally:
        # What could not be put in its place is kept.
        if made != outputs:
            with contextlib.suppress(OSError):
                made.rmdir()


@contextlib.contextmanager
def _stopped_by_signals(containers: Containers) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            # nohup has a command ignore the end of its terminal.
            if signal.getsignal(number) is not signal.SIG_IGN:
                held.callback(signal.signal, number, signal.signal(number, containers.stop))
        yield


def _play(text: str, arguments: Mapping[str, Any], root: Path, tasks: Tasks) -> list[str]:
    """Run a graph by kfp's local runner; what that runner itself had to complain of."""
    doubts = _Doubts()
    with contextlib.ExitStack() as held:
        # It shows settings without an effect here, which were told already, at every task.
        held.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", message="Task .* have no effect", category=UserWarning)
        run_task = tasks.around(task_dispatcher.run_single_task_implementation)
        for module, name, ours in (
            (docker_task_handler, "run_docker_container", tasks.containers.run),
            (task_dispatcher, "run_single_task_implementation", run_task),
            # These replace print and the handlers of logging, and leave them replaced after a parallel loop.
            (logging_utils, "local_logger_context", contextlib.nullcontext),
            (logging_utils, "indented_print", contextlib.nullcontext),
            (logging_utils, "print_horizontal_line", lambda: None),
        ):
            held.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, ours)
        logging.getLogger().addHandler(doubts)
        held.callback(logging.getLogger().removeHandler, doubts)
        space = root / "workspace"
        space.mkdir(parents=True)
        local.init(local.DockerRunner(), pipeline_root=str(root), workspace_root=str(space))
        pipeline = components.load_component_from_text(text)
        try:
            pipeline(**arguments)
        except (RuntimeError, ValueError, OSError) as error:
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


def _fault(graph: Graph, done: list[Done], doubts: list[str]) -> str:
    """What went wrong first; empty if nothing did."""
    faults = [f"{task.name}: {task.fault}" for task in done if task.fault] or doubts
    faults = faults or [f"did not run: {name}" for name in graph.left_out({task.component for task in done})]
    return faults[0] if faults else ""


def _hand_over(done: list[Done], made: Path, outputs: Path) -> str:
    """Gather outputs by stage and port, and put them in their place all at once; what hindered it, empty if nothing."""
    try:
        for task in done:
            name, *loops = task.name.replace("]", "").split("[")
            for port, path in task.artifacts.items():
                place = Path(made, name.replace("-", "_"), *loops, port)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, place)
        if made != outputs:
            made.rename(outputs)
    except OSError as error:
        return f"--outputs {outputs}: {error.strerror}; the rest is in {made}"
    return ""
