"""An endpoint of Kubeflow Pipelines: its generated client, with limits on time and repeats where they are safe.

kfp.Client wraps the same client, generated from the description of the API, but waits for an answer without end, takes
a login page for a run without an id, and reads cookies from the home folder. What is sent is the same.
"""

import json
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from urllib3.util import parse_url

from pipeline import InputError, tokens

CONNECT_SECONDS = 5
UNAVAILABLE = (429, 500, 502, 503, 504)
LOGIN = (301, 302, 303, 307, 308, 401)


class LostContact(ConnectionError):
    """The endpoint did not answer, or not in a way that tells anything; what it was asked for may have been done."""


class TimedOut(LostContact):
    """It took the question and kept silent: it may still be at work on it."""


class Refused(InputError):
    """The endpoint understood and said no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Endpoint:
    """Where Kubeflow Pipelines answers, and how it is talked to."""

    host: str
    """Begins with http:// or https://; of the API, which is that of the web page without what follows the #."""
    token: str | None = field(default=None, repr=False)
    """Sent as a bearer token with every request."""
    token_file: Path | None = None
    """Read anew for every request, as tokens in files are renewed; goes before `token`."""
    namespace: str | None = None
    """Of the user, where the cluster has several."""
    ui: str | None = None
    """Of the web page, where it is another address; only links have it."""
    ca: Path | None = None
    """Certificates of the authorities to trust, PEM; None: those that browsers trust."""
    answer_seconds: float = 60
    """How long an answer may take."""
    repeats: int = 3
    """How often a question that changes nothing is put again, and a run sent again that did not arrive."""
    pause: float = 1.0
    """Seconds before the second repeat, doubled before each further one."""

    def page(self, kind: str, name: str) -> str:
        """The address of a page: of one of the `runs`, or of a `recurringrun`."""
        return f"{(self.ui or self.host).rstrip('/')}/#/{kind}/details/{name}"

    @property
    def tells_secrets(self) -> bool:
        """Whether the token goes over a network that others can listen to."""
        here = re.match(r"http://(localhost|127\.[\d.]+|\[::1\])(?![^:/])", self.host)
        return self.host.startswith("http://") and not here and bool(self.token or self.token_file)


class Kubeflow:
    """The services of an endpoint; each operation goes through `ask`."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Check the address and ask once whether Kubeflow Pipelines is there and lets us in."""
        _check_host(endpoint.host)
        self.endpoint = endpoint
        self._client = kfp_server_api.ApiClient(_configuration(endpoint))
        self.runs = kfp_server_api.RunServiceApi(self._client)
        self.experiments = kfp_server_api.ExperimentServiceApi(self._client)
        self.recurring_runs = kfp_server_api.RecurringRunServiceApi(self._client)
        health = self._reach()
        if health.multi_user and not endpoint.namespace:
            raise InputError(f"{endpoint.host} has several users; type --namespace and the name of yours")

    def ask(self, operation: Callable[..., Any], *given: object, **named: object) -> Any:  # noqa: ANN401 (a model)
        """Carry out an operation of the API, and give its answer.

        Raises:
            Refused: The answer was a refusal.
            LostContact: There was none; for a question that changes nothing, after repeats.
        """
        host = self.endpoint.host
        try:
            answer = operation(*given, _request_timeout=(CONNECT_SECONDS, self.endpoint.answer_seconds), **named)
        except kfp_server_api.ApiException as error:
            raise self._said(error) from None
        except urllib3.exceptions.HTTPError as error:
            # A repeated question ends in a MaxRetryError, with the last reason inside.
            reason = getattr(error, "reason", None) or error
            silent = isinstance(reason, urllib3.exceptions.ReadTimeoutError)
            kind = TimedOut if silent else LostContact
            raise kind(f"{host}: {type(reason).__name__}: {self._clean(str(reason))}{_advice(reason)}") from None
        except ValueError as error:
            raise LostContact(f"{host} gave an answer outside its API: {self._clean(str(error))}") from None
        kind = self._client.last_response.getheader("content-type") or ""
        if "json" not in kind:
            raise Refused(f"{host} answered with a page ({kind or 'of no type'}), maybe a login; {HOW_TO_LOG_IN}", 200)
        return answer

    def _reach(self) -> kfp_server_api.V2beta1GetHealthzResponse:
        host = self.endpoint.host
        try:
            return self.ask(kfp_server_api.HealthzServiceApi(self._client).healthz_service_get_healthz)
        except LostContact as error:
            raise LostContact(
                f"--host {host} does not answer: {error}; check the address, or open a way in with "
                '"kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80" and type --host http://localhost:8080'
            ) from None
        except Refused as error:
            if error.status == 404:
                raise InputError(f"--host {host}: {error}; is this Kubeflow Pipelines 2?") from None
            raise

    def _said(self, error: kfp_server_api.ApiException) -> Exception:
        """A refusal or a failure in words, without the headers that carry the token."""
        host, status = self.endpoint.host, error.status or 0
        reason = f"status {status} {error.reason}: {self._clean(_message(error.body))}"
        if status in LOGIN:
            return Refused(f"{host} wants a login (status {status}); {HOW_TO_LOG_IN}", status)
        if status == 403:
            return Refused(f"{host}: {reason}; the token's user may not do this, or not in this --namespace", status)
        if status in UNAVAILABLE or status == 0:
            return LostContact(f"{host}: {reason}")
        return Refused(f"{host}: {reason}", status)

    def _clean(self, text: str) -> str:
        """Words of the endpoint, cut to a line or two, and never with the token in them."""
        for secret in (self.endpoint.token, self._client.configuration.api_key.get("authorization")):
            text = text.replace(secret, "(token)") if secret else text
        return text if len(text) <= 600 else f"{text[:600]}..."


HOW_TO_LOG_IN = "put a valid token in the variable KFP_TOKEN, or into a file and type --token-file FILE"


def _check_host(host: str) -> None:
    if not re.match(r"https?://[^/]", host):
        raise InputError(f"--host {host}: the address must begin with http:// or https://; type https://{host}")
    if "@" in host.split("/")[2]:
        # Not repeated, here or in any other message.
        raise InputError(
            f"--host has a user or a password in it, which logs would keep; leave it out, and {HOW_TO_LOG_IN}"
        )
    try:
        parts = parse_url(host)
    except urllib3.exceptions.LocationParseError:
        parts = None
    if parts is None or re.search(r"\s", host):
        raise InputError(f"--host {host} is no address; type it like http://localhost:8080")
    if parts.query or parts.fragment:
        raise InputError(f"--host {host} is the address of a page; type {host.partition('#')[0].partition('?')[0]}")


def _configuration(endpoint: Endpoint) -> kfp_server_api.Configuration:
    # Its fields have no types beyond those of their defaults.
    configuration: Any = kfp_server_api.Configuration(host=endpoint.host.rstrip("/"))
    # A GET may be put again whatever happened; anything else only if the connection was never made.
    configuration.retries = urllib3.Retry(
        total=endpoint.repeats,
        connect=min(endpoint.repeats, 1),
        redirect=False,
        status_forcelist=UNAVAILABLE,
        allowed_methods=["GET"],
        backoff_factor=endpoint.pause / 2,
        raise_on_status=False,
    )
    if endpoint.ca is not None:
        try:
            ssl.create_default_context(cafile=str(endpoint.ca))
        except ssl.SSLError:
            raise InputError(f"--ca {endpoint.ca} holds no certificates; give a file in the form PEM") from None
        except OSError as error:
            raise InputError(f"--ca {endpoint.ca}: {error.strerror}; give the name of a file in the form PEM") from None
        configuration.ssl_ca_cert = str(endpoint.ca)
    configuration.api_key_prefix["authorization"] = "Bearer"
    if endpoint.token_file is not None:
        token = tokens.reader(endpoint.token_file)

        def renew(current: kfp_server_api.Configuration) -> None:
            current.api_key["authorization"] = token()

        renew(configuration)
        configuration.refresh_api_key_hook = renew
    elif endpoint.token is not None:
        configuration.api_key["authorization"] = tokens.check(endpoint.token, where="the variable KFP_TOKEN")
    return configuration


def _message(body: str | None) -> str:
    """What a body of an error says; Kubeflow's are JSON."""
    try:
        document = json.loads(body or "")
    except json.JSONDecodeError:
        return (body or "no reason given").strip()
    if not isinstance(document, dict):
        return str(document)
    return str(document.get("message") or document.get("error") or document)


def _advice(reason: object) -> str:
    if isinstance(reason, urllib3.exceptions.SSLError):
        return "; if the cluster has an authority of its own, type --ca FILE with its certificate"
    return ""
