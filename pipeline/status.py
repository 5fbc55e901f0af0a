"""What a run is doing: asked once, or until it has ended."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline import InputError
from pipeline.endpoint import Kubeflow, LostContact

ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "ERROR")
"""Those of Kubeflow's states that nothing follows; PAUSED, say, is none of them."""

LOST_SECONDS = 300
"""How long a run that is waited for may be out of sight: an API server that is renewed is back by then."""


class Task(NamedTuple):
    """One task of a run."""

    id: str
    name: str
    state: str
    seconds: float | None
    """From start to end; None before."""
    error: str
    """Often empty, though the task failed: Kubeflow does not hand on what the pod says."""
    pods: tuple[str, ...]


class Run(NamedTuple):
    """A run and those of its tasks that have begun, in that order."""

    id: str
    name: str
    state: str
    error: str
    tasks: tuple[Task, ...]


def look(kubeflow: Kubeflow, run: str) -> Run:
    """Ask for a run by its id."""
    answer = kubeflow.ask(kubeflow.runs.run_service_get_run, run)
    details = (answer.run_details and answer.run_details.task_details) or []
    tasks = [_task(detail) for detail in sorted(details, key=lambda detail: str(detail.create_time or ""))]
    names = _names(answer.pipeline_spec)
    # Kubeflow's own pods (drivers, executors, the root) are of interest where one of them failed.
    shown = [task for task in tasks if task.name in names or task.state == "FAILED" or not names]
    return Run(run, answer.display_name or run, _state(answer), _error(answer), tuple(shown))


def report(run: Run, *, page: str, namespace: str | None) -> str:
    """A run as text: its state, its tasks, what went wrong and where to read on."""
    width = max((len(task.name) for task in run.tasks), default=0)
    lines = [f"run {run.name}: {run.state}", page]
    for task in run.tasks:
        seconds = "" if task.seconds is None else f"  {task.seconds:.0f} s"
        lines.append(f"  {task.name:<{width}}  {task.state}{seconds}")
    if run.error:
        lines.append(f"error: {run.error}")
    for task in run.tasks:
        if task.state == "FAILED":
            lines.append(f"{task.name} failed: {task.error or 'Kubeflow does not say why; its pod does'}")
            where = f"-n {namespace or 'kubeflow'}"
            lines += [f"  kubectl {where} logs {pod} -c main; kubectl {where} describe pod {pod}" for pod in task.pods]
    return "\n".join(lines)


def wait(
    kubeflow: Kubeflow,
    run: str,
    *,
    seconds: float = 10,
    timeout: float | None = None,
    lost_seconds: float = LOST_SECONDS,
    say: Callable[[str], None] = print,
) -> Run:
    """Look at a run until it has ended, and tell each change of a task.

    Args:
        kubeflow: Where it runs.
        run: Its id.
        seconds: Between two looks.
        timeout: Seconds after which to give up; None waits for ever.
        lost_seconds: How long the endpoint may be away.
        say: Takes a line of progress.

    Raises:
        InputError: It was refused at the first look.
        LostContact: Of a run that goes on by itself: after `timeout`, or with the endpoint away.
    """
    begun = seen = time.monotonic()
    known: dict[str, str] = {}
    met = False
    while True:
        try:
            now = look(kubeflow, run)
            seen, met = time.monotonic(), True
            for task in now.tasks:
                if known.get(task.id) != task.state:
                    known[task.id] = task.state
                    say(f"{time.strftime('%H:%M:%S')}  {task.name}  {task.state}")
            if now.state in ENDED:
                return now
        except (LostContact, InputError) as error:
            # What is refused at first was never right. Later a token ran out, say, and its file is being renewed.
            if isinstance(error, InputError) and not met:
                raise
            if time.monotonic() - seen >= lost_seconds:
                raise LostContact(f"{error}; lost sight of run {run}, which goes on by itself") from None
            say(f"{time.strftime('%H:%M:%S')}  asking again: {error}")
        if timeout is not None and time.monotonic() - begun >= timeout:
            raise LostContact(f"run {run} had not ended after --timeout {timeout:g} seconds; it goes on by itself")
        time.sleep(seconds)


def _task(detail: Any) -> Task:  # noqa: ANN401 (V2beta1PipelineTaskDetail)
    begun, ended = detail.start_time or detail.create_time, detail.end_time
    # A task that is under way has the end 1970 with some backends.
    seconds = (ended - begun).total_seconds() if begun and ended and ended >= begun else None
    pods = [detail.pod_name, *(child.pod_name for child in detail.child_tasks or ())]
    name = detail.display_name or detail.task_id
    return Task(detail.task_id, name, _state(detail), seconds, _error(detail), tuple(pod for pod in pods if pod))


def _state(of: Any) -> str:  # noqa: ANN401 (a run or a task)
    return str(of.state or "PENDING")


def _error(of: Any) -> str:  # noqa: ANN401 (a run or a task)
    return str(of.error.message or f"code {of.error.code}") if of.error else ""


def _names(spec: Any) -> set[str]:  # noqa: ANN401 (a graph as the API gives it back)
    """What the tasks of a graph are called."""
    graph = (spec or {}).get("pipeline_spec", spec or {})
    dags = [graph.get("root", {}), *graph.get("components", {}).values()]
    tasks = [task for dag in dags for task in dag.get("dag", {}).get("tasks", {}).values()]
    return {task.get("taskInfo", {}).get("name", "") for task in tasks}
