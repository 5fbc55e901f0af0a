"""Compile the graph to YAML, and submit it to a Kubeflow Pipelines endpoint.

kfp's client sends whatever arguments it is given, and tries an endpoint that refuses it for half a minute; so both
are checked here first.
"""

import re
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import kfp
import kfp_server_api
import urllib3
from kfp import compiler

from pipeline import InputError
from pipeline.arguments import check_arguments
from pipeline.graph import Site, pipeline

# Of Kubeflow's states those that nothing follows; PAUSED, say, is none of them.
ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED", "ERROR")


class Endpoint(NamedTuple):
    """Where Kubeflow Pipelines answers."""

    host: str
    token: str | None = None
    namespace: str | None = None


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
    partial = package.with_name(f".partial.{package.name}")
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
    endpoint: Endpoint, package: Path, given: Mapping[str, str], *, experiment: str, run_name: str | None = None
) -> str:
    """Start a run, and give its id.

    Args:
        endpoint: Where to.
        package: The compiled graph.
        given: Arguments of the pipeline.
        experiment: Name of the experiment; made if there is none.
        run_name: What the web page calls the run; the time by default.
    """
    check_arguments(given, package)
    client = _client(endpoint)
    try:
        started = client.create_run_from_pipeline_package(
            str(package),
            arguments=dict(given),
            run_name=run_name or f"inverseform {time.strftime('%Y-%m-%d %H:%M:%S')}",
            experiment_name=experiment,
            namespace=endpoint.namespace,
        )
    except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError) as error:
        raise InputError(f"{endpoint.host} did not start the run: {_reason(error)}") from None
    return str(started.run_id)


def wait(endpoint: Endpoint, run: str, *, seconds: float = 10) -> str:
    """The state in which a run ended; asks every so many seconds. kfp's own waiting never sees a cancelled run."""
    client = _client(endpoint)
    while True:
        try:
            state = str(client.get_run(run).state)
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError) as error:
            raise InputError(
                f"{endpoint.host} lost sight of run {run}: {_reason(error)}; it goes on by itself"
            ) from None
        if state in ENDED:
            return state
        time.sleep(seconds)


def _client(endpoint: Endpoint) -> kfp.Client:
    _reach(endpoint)
    with warnings.catch_warnings():
        # It warns at every start that it does not talk to Kubeflow Pipelines 1.
        warnings.simplefilter("ignore", FutureWarning)
        return kfp.Client(endpoint.host, namespace=endpoint.namespace or "kubeflow", existing_token=endpoint.token)


def _reach(endpoint: Endpoint) -> None:
    """Ask the endpoint once whether it is there and lets us in."""
    host = endpoint.host
    if not re.match(r"https?://[^/]", host):
        raise InputError(f"--host {host}: the address must begin with http:// or https://; type https://{host}")
    address = f"{host.rstrip('/')}/apis/v2beta1/healthz"
    headers = {"authorization": f"Bearer {endpoint.token}"} if endpoint.token else {}
    # An address that swallows packets would hold the client for minutes.
    timeout = urllib3.Timeout(connect=5, read=10)
    with urllib3.PoolManager(retries=False, timeout=timeout) as pool:
        try:
            answer = pool.request("GET", address, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise InputError(
                f"--host {host} does not answer: {_reason(error)}; check the address, or open a way in with "
                '"kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80" and type --host http://localhost:8080'
            ) from None
    # A login page is a redirect to somewhere else, which would answer 200.
    if answer.status in (301, 302, 303, 307, 308, 401, 403):
        raise InputError(
            f"--host {host} wants a login (status {answer.status}); put a valid token in the variable KFP_TOKEN"
        )
    if answer.status != 200:
        raise InputError(f"--host {host}: {address} gave status {answer.status}; is this Kubeflow Pipelines 2?")


def _reason(error: Exception) -> str:
    """What went wrong, without the headers that carry a token."""
    if isinstance(error, kfp_server_api.ApiException):
        return f"status {error.status} {error.reason}: {error.body}"
    return f"{type(error).__name__}: {getattr(error, 'reason', None) or error}"
