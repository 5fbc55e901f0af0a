"""`python -m pipeline`: compile the graph, look at it, have it run, and see how the run goes."""

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import InputError, exit_status, flags

if TYPE_CHECKING:
    from pipeline.endpoint import Endpoint
    from pipeline.site import Site

# kfp takes most of a second to import: --help and a wrong flag do without, so the commands import what they need.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; its exit status is that of `flags.STATUS`."""
    given = flags.parser(COMMANDS).parse_args(argv)
    return exit_status.of(lambda: given.command(given))


def _compile(given: argparse.Namespace) -> int:
    """The graph as a file."""
    from pipeline import arguments, submit

    site = _site(given)
    settings = arguments.as_json(arguments.sections(given.params, given.overrides))
    submit.compile_graph(given.output, site=site, defaults=settings)
    print(f"{given.output}: upload it on the pipelines page, or start it with `python -m pipeline submit`")
    return 0


def _plan(given: argparse.Namespace) -> int:
    """What would run, after the checks that a submission makes."""
    from pipeline import arguments, plan, submit

    before, after = arguments.sections(given.params), arguments.sections(given.params, given.overrides)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        submit.compile_graph(package, site=_site(given), defaults={})
        sent = _arguments(given)
        arguments.check_arguments(sent, package)
        print(plan.text(package, sent, arguments.differences(before, after)))
    return 0


def _submit(given: argparse.Namespace) -> int:
    """A run of the graph, or a schedule of runs, made from the code and the settings as they are now."""
    from pipeline import submit

    if given.every and given.wait:
        raise InputError("--wait waits for one run, and --every makes many; leave one of them out")
    _check_waiting(given)
    endpoint, site = _endpoint(given), _site(given)
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        submit.compile_graph(package, site=site, defaults={})
        sent, named = _arguments(given), {"experiment": given.experiment}
        if given.every:
            job = submit.schedule(endpoint, package, sent, times=given.every, name=given.run_name, **named)
            print(f"schedule {job} made: {endpoint.page('recurringrun', job)}")
            return 0
        run = submit.submit(endpoint, package, sent, run_name=given.run_name, cached=not given.no_cache, **named)
    print(f"run {run} started: {endpoint.page('runs', run)}", flush=True)
    try:
        return _wait(given, endpoint, run) if given.wait else 0
    except InputError as error:
        # A status of 2 would say that nothing was started.
        raise ConnectionError(f"{error}; run {run} goes on by itself") from None


def _run_local(given: argparse.Namespace) -> int:
    """The graph in its containers, on this machine."""
    from pipeline import submit
    from pipeline.run_local import run_local

    memory = None if given.memory is None else int(given.memory * 2**30)
    if not given.raw:
        raise InputError("--raw is empty; type --raw FOLDER")
    sent, raw = _arguments(given, remote=False), Path(given.raw)
    del sent["raw"]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "pipeline.yaml")
        submit.compile_graph(package, site=_site(given, warned=False), defaults={})
        return run_local(
            package, sent, work=given.work, raw=raw, outputs=given.outputs, memory=memory, retries=given.retries
        )


def _train_job(given: argparse.Namespace) -> int:
    """A training on several nodes, as a manifest."""
    import yaml

    from pipeline import arguments
    from pipeline.train_job import train_job

    if wrong := [text for text in given.input if not all(text.partition("=")[::2])]:
        raise InputError(f"--input {wrong[0]} has no name and folder; type --input samples=FOLDER, say")
    names = [text.partition("=")[0] for text in given.input]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--input names {twice[0]} twice; leave one of them out")
    # A stage that is none is told by train_job.
    settings = arguments.sections(given.params, given.overrides).get(given.stage, {})
    manifest = train_job(
        given.stage,
        settings,
        _site(given),
        nodes=given.nodes,
        claim=given.data,
        inputs=dict(text.split("=", 1) for text in given.input),
        outputs=given.outputs,
        runtime=given.runtime,
    )
    written = yaml.safe_dump(manifest, sort_keys=False)
    if given.output is None:
        print(written, end="")
    else:
        given.output.write_text(written, encoding="utf-8")
        print(f"{given.output}: start it with `kubectl create -n NAMESPACE -f {given.output}`")
    return 0


def _status(given: argparse.Namespace) -> int:
    """What a run is doing."""
    from pipeline import status
    from pipeline.endpoint import Kubeflow

    _check_waiting(given)
    endpoint = _endpoint(given)
    if given.wait:
        return _wait(given, endpoint, given.run)
    run = status.look(Kubeflow(endpoint), given.run)
    print(status.report(run, page=endpoint.page("runs", run.id), namespace=given.namespace))
    return 1 if run.state in status.ENDED and run.state != "SUCCEEDED" else 0


def _wait(given: argparse.Namespace, endpoint: "Endpoint", name: str) -> int:
    """Until a run has ended."""
    from pipeline import status
    from pipeline.endpoint import Kubeflow, LostContact

    try:
        run = status.wait(
            Kubeflow(endpoint),
            name,
            seconds=given.poll,
            timeout=given.timeout,
            # A log that is read as it grows should not wait for a full buffer.
            say=lambda line: print(line, flush=True),
        )
    except KeyboardInterrupt as error:
        print(f"\nno longer waiting; run {name} goes on by itself", file=sys.stderr)
        return exit_status.of_signal(error)
    except LostContact as error:
        raise LostContact(f"{error}; look again with `python -m pipeline status {name} --host URL --wait`") from None
    print(status.report(run, page=endpoint.page("runs", name), namespace=given.namespace))
    return 0 if run.state == "SUCCEEDED" else 1


def _check_waiting(given: argparse.Namespace) -> None:
    if given.timeout is not None and not given.wait:
        raise InputError(f"--timeout {given.timeout:g} limits the waiting, and there is none; type --wait too")


def _arguments(given: argparse.Namespace, *, remote: bool = True) -> dict[str, str]:
    """What goes with a run, in a cluster or here."""
    from pipeline import arguments

    if remote:
        arguments.check_address(given.raw)
    settings = arguments.as_json(arguments.sections(given.params, given.overrides))
    return settings | {"raw": given.raw} | ({} if given.revision is None else {"revision": given.revision})


def _endpoint(given: argparse.Namespace) -> "Endpoint":
    """The endpoint of the flags; the token is taken from the environment or a file, and nowhere else."""
    from pipeline import tokens
    from pipeline.endpoint import Endpoint

    endpoint = Endpoint(
        given.host,
        os.environ.get("KFP_TOKEN") or None,
        token_file=given.token_file,
        namespace=given.namespace,
        ui=given.ui,
        ca=given.ca,
    )
    if endpoint.tells_secrets:
        print(f"warning: {given.host} is not https: who is on the way can read the token", file=sys.stderr)
    if endpoint.token_file and tokens.is_open_to_others(endpoint.token_file):
        print(f"warning: others can read {given.token_file}; type chmod 600 {given.token_file}", file=sys.stderr)
    # Its words on repeats are not for users; that nothing answers is told in the end.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    return endpoint


def _site(given: argparse.Namespace, *, warned: bool = True) -> "Site":
    """The site of the profile and the flags; what a cluster would not like about it is printed."""
    from pipeline import submit
    from pipeline.profile import load_profile

    changes = {"small_image": given.small_image, "large_image": given.large_image, "claim": given.claim}
    site = load_profile(given.profile, **changes)
    for doubt in submit.doubts(site) if warned else ():
        print(f"warning: {doubt}", file=sys.stderr)
    return site


COMMANDS = {
    "compile": _compile,
    "plan": _plan,
    "submit": _submit,
    "status": _status,
    "run-local": _run_local,
    "train-job": _train_job,
}

if __name__ == "__main__":
    exit_status.listen()
    sys.exit(main())
