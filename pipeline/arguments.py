"""Arguments of the pipeline: read from params.yaml, changed by overrides, checked against the compiled graph."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import InputError, nearest, yaml_file
from pipeline.site import STAGES

TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}

SCHEMES = ("gs", "s3", "minio", "oci")
"""Of the stores that Kubeflow's launcher fetches a data set from; components/executor.py knows where it puts them."""


def sections(file: Path, overrides: str = "{}") -> dict[str, dict[str, Any]]:
    """The stages' sections of params.yaml with some settings replaced.

    Args:
        file: params.yaml.
        overrides: JSON, by stage: `{"train_inverse": {"seed": 1}}`. What a section holds is judged by the stage.
    """
    document = yaml_file.read(file, flag="--params")
    if not isinstance(document, dict):
        raise InputError(f"{file} holds no sections; it needs {', '.join(STAGES)}")
    # All of them are sent, also those of stages that the cache will skip.
    if missing := [stage for stage in STAGES if stage not in document]:
        raise InputError(f"{file}: no section {', '.join(missing)}; the stages are {', '.join(STAGES)}")
    if unknown := [str(name) for name in document if name not in STAGES]:
        raise InputError(f"{file}: {unknown[0]} is not a section; did you mean {nearest(unknown[0], STAGES)}?")
    try:
        replaced = json.loads(overrides)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"--overrides {overrides} is not JSON: {error}; see --help for an example") from None
    if not isinstance(replaced, dict):
        raise InputError(f'--overrides {overrides} is not by stage; write {{"train_inverse": {{...}}}}')
    for stage in replaced:
        if stage not in STAGES:
            raise InputError(f"--overrides: {stage} is not a stage; did you mean {nearest(stage, STAGES)}?")
    for source, given in ((str(file), document), ("--overrides", replaced)):
        for stage, section in given.items():
            if not isinstance(section, dict):
                raise InputError(
                    f"{source}: {stage} is {section!r}, and needs settings by name: {stage}: {{NAME: VALUE}}"
                )
    return {stage: _merged(document[stage], replaced.get(stage, {}), where=stage) for stage in STAGES}


def as_json(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Arguments of the pipeline, one string of JSON a stage."""
    arguments = {}
    for stage, section in settings.items():
        try:
            arguments[f"{stage}_params"] = json.dumps(section)
        # YAML has dates, sets, bytes and loops.
        except (TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"the section {stage} holds what JSON has no word for: {error}; write it as text"
            ) from None
    return arguments


def documents(package: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A compiled graph: the pipeline, and what it asks of the cluster, if anything."""
    # The loader in C is ten times as fast as the other, and not in every build of PyYAML.
    graph, *platform = yaml.load_all(package.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return graph, platform[0] if platform else None


def check_arguments(given: Mapping[str, Any], package: Path) -> None:
    """Refuse arguments which the compiled graph does not declare, of another type than it declares, or missing."""
    declared = documents(package)[0]["root"]["inputDefinitions"]["parameters"]
    for name, value in given.items():
        if name not in declared:
            raise InputError(f"{name} is not an argument of {package}; did you mean {nearest(name, declared)}?")
        kind = declared[name]["parameterType"]
        # A truth value is a whole number to Python.
        if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "BOOLEAN"):
            raise InputError(
                f"argument {name} of {package} is a {kind}, not {value!r}; give it a {TYPES[kind].__name__}"
            )
    for name, declaration in declared.items():
        if name not in given and "defaultValue" not in declaration:
            raise InputError(f"argument {name} of {package} is missing and has no default; give it a value")


def check_address(raw: str) -> None:
    """Refuse a data set that only this machine could find, or a stage not read, and a password in its address."""
    scheme, separator, rest = raw.partition("://")
    if not separator or rest[:1] in ("", "/") or rest[0].isspace() or not raw.isprintable():
        raise InputError(f"--raw {raw!r} is no address that a cluster could read from; type s3://BUCKET/FOLDER, say")
    if "@" in rest.split("/")[0]:
        # Not repeated.
        raise InputError(
            f"--raw has a user or a password in its {scheme}:// address, which the page of the run would show; "
            "leave it out, and name its secret in the ConfigMap kfp-launcher, see docs/kubeflow.md"
        )
    if scheme not in SCHEMES:
        raise InputError(
            f"--raw {raw}: Kubeflow fetches nothing by {scheme}://; copy it to a store of {', '.join(SCHEMES)}"
        )


def differences(before: Any, after: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 (as above)
    """The leaves that differ between two trees of settings: where, what it was, what it is."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key), after.get(key), f"{where}.{key}" if where else str(key))
    elif before != after:
        yield where, before, after


def _merged(section: Any, replaced: Any, *, where: str) -> Any:  # noqa: ANN401 (a tree of YAML)
    """A section with some of its leaves replaced; a mapping of another `name` takes the place of a whole one."""
    if not (isinstance(section, dict) and isinstance(replaced, dict)):
        return replaced
    # Settings that go by name (a data set, a network) have other keys under another name.
    if replaced.get("name", section.get("name")) != section.get("name"):
        return replaced
    for key in replaced:
        if key not in section:
            near = f"did you mean {nearest(key, section)}?" if section else "remove it"
            raise InputError(f"--overrides: {where}.{key} is not a setting of params.yaml; {near}")
    return section | {key: _merged(section[key], value, where=f"{where}.{key}") for key, value in replaced.items()}
