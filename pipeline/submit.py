"""Compile the graph to YAML, and have it run by a Kubeflow Pipelines endpoint: once, or again and again.

Whatever is sent is checked against the compiled graph first: Kubeflow takes any arguments, and fails hours later. A run
is never sent twice on the chance that it did not arrive: each carries a mark of its own, by which it is looked for.
"""

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kfp_server_api
from kfp import compiler

from pipeline import InputError, cron
from pipeline.arguments import check_arguments, documents
from pipeline.endpoint import Endpoint, Kubeflow, LostContact, Refused, TimedOut
from pipeline.graph import pipeline
from pipeline.site import Site


def compile_graph(package: Path, *, site: Site, defaults: Mapping[str, str]) -> None:
    """Write the graph as YAML that Kubeflow takes, whole or not at all.

    Args:
        package: A file that ends in .yaml.
        site: Images and volumes.
        defaults: Arguments that a run has unless it is told otherwise; the web page shows and changes them.
    """
    if package.suffix != ".yaml":
        raise InputError(f"-o {package}: the name must end in .yaml; type -o {package.with_suffix('.yaml')}")
    if not package.parent.is_dir():
        raise InputError(f"-o {package}: there is no folder {package.parent}; make it, or type -o {package.name}")
    # A name of its own: two may be writing the same file.
    partial = package.with_name(f".partial-{os.getpid()}.{package.name}")
    try:
        compiler.Compiler().compile(pipeline(site), str(partial), pipeline_parameters=dict(defaults))
        partial.replace(package)
    finally:
        partial.unlink(missing_ok=True)


def doubts(site: Site) -> list[str]:
    """What to think of before the images of a site are used."""
    found = []
    for image in (site.small_image, site.large_image):
        # The last colon may also stand before a port.
        tag = re.search(r":([^/:]+)$", image)
        if "@sha256:" not in image and not (tag and re.fullmatch(r"v?\d+\.\d+\.\d+\S*|[0-9a-f]{7,40}", tag[1])):
            found.append(
                f"{image} has neither a digest nor a version: Kubeflow's cache takes any other build for the same"
            )
        if image.startswith("localhost/"):
            found.append(f"{image} is on this machine alone: a cluster needs a registry it can pull from")
    return found


def submit(
    endpoint: Endpoint,
    package: Path,
    given: Mapping[str, str],
    *,
    experiment: str,
    run_name: str | None = None,
    cached: bool = True,
) -> str:
    """Start a run, and give its id.

    Args:
        endpoint: Where to.
        package: The compiled graph.
        given: Arguments of the pipeline.
        experiment: Name of the experiment; made if there is none.
        run_name: What the web page calls the run; the time by default.
        cached: Whether tasks that ran before with equal inputs are skipped.

    Raises:
        InputError: Something is wrong with the arguments or was refused; nothing was started.
        LostContact: There was no answer, and the run was not found afterwards either.
    """
    check_arguments(given, package)
    kubeflow = Kubeflow(endpoint)
    job = _job(kubeflow, package, given, experiment, run_name, cached=cached)
    body = kfp_server_api.V2beta1Run(**job)

    def arrived() -> str | None:
        runs = kubeflow.ask(kubeflow.runs.run_service_list_runs, **_like(job)).runs
        return next((run.run_id for run in runs or () if run.description == body.description), None)

    return _send(kubeflow, lambda: kubeflow.ask(kubeflow.runs.run_service_create_run, body).run_id, arrived)


def schedule(
    endpoint: Endpoint, package: Path, given: Mapping[str, str], *, times: str, experiment: str, name: str | None = None
) -> str:
    """Have the graph run at fixed times, one run at a time and none for times that were missed; the schedule's id.

    All its runs have equal arguments. With the cache each would be handed the results of the first: it is off.

    Args:
        endpoint: Where to.
        package: The compiled graph.
        given: Arguments of the pipeline.
        times: When: second, minute, hour, day of the month, month, day of the week.
        experiment: Name of the experiment; made if there is none.
        name: Of the schedule; there is one of a name in an experiment.
    """
    check_arguments(given, package)
    cron.check(times)
    kubeflow = Kubeflow(endpoint)
    job = _job(kubeflow, package, given, experiment, name or "inverseform", cached=False)
    body = kfp_server_api.V2beta1RecurringRun(
        **job,
        # The description of the API makes 64-bit numbers strings.
        max_concurrency="1",
        no_catchup=True,
        mode=kfp_server_api.RecurringRunMode.ENABLE,
        trigger=kfp_server_api.V2beta1Trigger(cron_schedule=kfp_server_api.V2beta1CronSchedule(cron=times)),
    )

    def present() -> list[Any]:
        service = kubeflow.recurring_runs.recurring_run_service_list_recurring_runs
        return kubeflow.ask(service, **_like(job)).recurring_runs or []

    if others := present():
        raise InputError(
            f"experiment {experiment} has a schedule {body.display_name} already, which would go on beside this one: "
            f"{endpoint.page('recurringrun', others[0].recurring_run_id)}; delete it there, or type another --run-name"
        )
    create = kubeflow.recurring_runs.recurring_run_service_create_recurring_run
    return _send(
        kubeflow,
        lambda: kubeflow.ask(create, body).recurring_run_id,
        lambda: next((one.recurring_run_id for one in present() if one.description == body.description), None),
    )


def _job(
    kubeflow: Kubeflow, package: Path, given: Mapping[str, str], experiment: str, name: str | None, *, cached: bool
) -> dict[str, Any]:
    """What a run and a schedule of runs have in common."""
    graph, platform = documents(package)
    if not cached:
        dags = [graph["root"], *(component for component in graph["components"].values() if "dag" in component)]
        for task in (task for dag in dags for task in dag["dag"]["tasks"].values()):
            task["cachingOptions"] = {}
    return {
        "experiment_id": _experiment(kubeflow, experiment),
        "display_name": name or f"inverseform {time.strftime('%Y-%m-%d %H:%M:%S')}",
        "description": f"sent by python -m pipeline as {uuid.uuid4()}",
        "pipeline_spec": {"pipeline_spec": graph, "platform_spec": platform} if platform else graph,
        "runtime_config": kfp_server_api.V2beta1RuntimeConfig(parameters=dict(given)),
    }


def _experiment(kubeflow: Kubeflow, name: str) -> str:
    """The id of an experiment, which is made if there is none."""
    service, namespace = kubeflow.experiments, kubeflow.endpoint.namespace

    def found() -> str | None:
        answer = kubeflow.ask(service.experiment_service_list_experiments, filter=_named(name), namespace=namespace)
        return answer.experiments[0].experiment_id if answer.experiments else None

    def make() -> str:
        body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=namespace)
        try:
            return kubeflow.ask(service.experiment_service_create_experiment, body).experiment_id
        except Refused as error:
            # Somebody else made it since we looked.
            if error.status == 409 and (other := found()) is not None:
                return other
            raise

    return found() or _send(kubeflow, make, found)


def _send(kubeflow: Kubeflow, send: Callable[[], str], arrived: Callable[[], str | None]) -> str:
    """Send what must not be there twice: where the answer is lost, look for it before it is sent again."""
    repeats, pause = kubeflow.endpoint.repeats, kubeflow.endpoint.pause
    lost, silent = LostContact(), False
    for attempt in range(repeats + 1):
        try:
            # An endpoint that keeps silent may still be at work on it: from then on we only look.
            if not silent:
                return send()
        except KeyboardInterrupt as error:
            error.add_note(f"whether it arrived is not known: look there ({kubeflow.endpoint.host})")
            raise
        except LostContact as error:
            lost, silent = error, isinstance(error, TimedOut)
        time.sleep(pause * 2**attempt)
        try:
            found = arrived()
        # A refusal, too: of the token, which may have run out since.
        except (LostContact, InputError) as error:
            raise LostContact(f"{error}; whether it started is not known: look there") from None
        if found is not None:
            return found
    known = "whether it still starts is not known: look there" if silent else "it has not arrived"
    raise LostContact(f"{lost}; {known} ({kubeflow.endpoint.host})")


def _like(job: Mapping[str, Any]) -> dict[str, Any]:
    """What to list runs or schedules by: the newest of the same experiment and name."""
    page = {"sort_by": "created_at desc", "page_size": 100}
    return page | {"experiment_id": job["experiment_id"], "filter": _named(job["display_name"])}


def _named(name: str) -> str:
    """A filter of the API."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "string_value": name}]})
