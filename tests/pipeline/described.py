"""The published description of Kubeflow's API, to hold requests against.

Nothing of it is typed here: the package kfp_server_api is generated from the description (OpenAPI), so each operation
is asked where it would send its arguments, and each model what fields it has and of what type. Fields, queries and
paths that are not described are faults, as are values of another type. Graphs are held against their protobuf messages.
"""

import json
import re
from datetime import datetime
from types import SimpleNamespace
from typing import NamedTuple

import kfp_server_api
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

SERVICES = ("Healthz", "Experiment", "Run", "RecurringRun")
PRIMITIVES = {"str": str, "int": int, "bool": bool, "float": (int, float)}
OWN = {"async_req", "_return_http_data_only", "_preload_content", "_request_timeout"}


class Operation(NamedTuple):
    """One operation of the API."""

    method: str
    path: re.Pattern
    query: dict[str, str]
    """Types by name on the wire."""
    body: str | None
    answer: str


def operation(service, name):
    """Read an operation out of the generated client: called with names in place of values, it shows where each goes."""
    types = dict(re.findall(r":type (\w+): (\S+)", getattr(service, f"{name}_with_http_info").__doc__))
    names = [key for key in types if key not in OWN]
    calls = []
    client = SimpleNamespace(
        client_side_validation=False,
        select_header_accept=lambda kinds: kinds[0],
        select_header_content_type=lambda kinds: kinds[0],
        call_api=lambda *given, **named: calls.append((given, named)),
    )
    getattr(service(client), name)(**{key: key for key in names})
    (((path, method, _, query, _), rest),) = calls
    pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/:?]+", re.escape(path)))
    body = types[rest["body"]] if rest["body"] else None
    return Operation(method, pattern, {wire: types[name] for wire, name in query}, body, rest["response_type"])


def operations():
    found = []
    for title in SERVICES:
        service = getattr(kfp_server_api, f"{title}ServiceApi")
        names = [name for name in dir(service) if "_service_" in name and not name.endswith("_with_http_info")]
        found += [operation(service, name) for name in names]
    return found


def faults(value, kind, where):
    """What is wrong with a value of JSON that should be of a described type."""
    if kind.startswith("list["):
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [fault for n, item in enumerate(value) for fault in faults(item, kind[5:-1], f"{where}[{n}]")]
    if kind.startswith("dict("):
        inner = kind[5:-1].split(", ", 1)[1]
        return [fault for key, item in value.items() for fault in faults(item, inner, f"{where}.{key}")]
    if kind in PRIMITIVES:
        right = isinstance(value, PRIMITIVES[kind]) and (kind == "bool") == isinstance(value, bool)
        return [] if right else [f"{where}: {value!r} is no {kind}"]
    if kind == "datetime":
        datetime.fromisoformat(value)
        return []
    if kind == "object":
        return graph_faults(value, where) if where.endswith("pipeline_spec") else []
    model = getattr(kfp_server_api, kind)
    if values := getattr(model, "allowable_values", None):
        return [] if value in values else [f"{where}: {value!r} is none of {values}"]
    fields = {wire: model.openapi_types[name] for name, wire in model.attribute_map.items()}
    found = [f"{where}.{key} is not described" for key in value if key not in fields]
    return found + [f for key in value if key in fields for f in faults(value[key], fields[key], f"{where}.{key}")]


def graph_faults(document, where):
    """A graph alone, or with what it asks of the platform."""
    parts = document if "pipeline_spec" in document else {"pipeline_spec": document}
    found = [f"{where}.{key} is not described" for key in parts if key not in ("pipeline_spec", "platform_spec")]
    messages = {"pipeline_spec": pipeline_spec_pb2.PipelineSpec, "platform_spec": pipeline_spec_pb2.PlatformSpec}
    for key, message in messages.items():
        try:
            json_format.ParseDict(parts.get(key, {}), message())
        except json_format.ParseError as error:
            found.append(f"{where}.{key}: {error}")
    return found


def filter_faults(text):
    """A filter is a message in JSON, whose names may also be in camel case and whose choices may be numbers."""
    predicates = json.loads(text)["predicates"]
    operation = kfp_server_api.V2beta1PredicateOperation.allowable_values
    found = []
    for predicate in predicates:
        named = {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", key): value for key, value in predicate.items()}
        if isinstance(named["operation"], int):
            named["operation"] = operation[named["operation"]]
        found += faults(named, "V2beta1Predicate", "filter")
    return found


def request_faults(described, query, body):
    """What is wrong with a request to an operation.

    Args:
        described: The operation.
        query: Names and values, as they are in the address.
        body: JSON, or None.
    """
    found = [f"?{key} is not described" for key in query if key not in described.query]
    for key, value in query.items():
        if described.query.get(key) == "int" and not re.fullmatch(r"-?\d+", value):
            found.append(f"?{key}={value} is no int")
        if key == "filter":
            found += filter_faults(value)
    if (body is None) != (described.body is None):
        return [*found, f"the body should be {described.body}"]
    return found if body is None else found + faults(body, described.body, described.body)
