"""Arguments of the pipeline: read from params.yaml, changed by overrides, checked against the compiled graph."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import InputError, nearest
from pipeline.site import STAGES

TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}

CRON = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 6),
}
"""Fields of a time in Kubeflow's schedules, each with its lowest and highest value."""
EVERY_MONDAY = 'type --every "0 0 3 * * 1" for Mondays at three'


def sections(file: Path, overrides: str = "{}") -> dict[str, dict[str, Any]]:
    """The stages' sections of params.yaml with some settings replaced.

    Args:
        file: params.yaml.
        overrides: JSON, by stage: `{"train_inverse": {"seed": 1}}`. What a section holds is judged by the stage.
    """
    try:
        document = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{file} holds no sections; it needs {', '.join(STAGES)}")
    # All of them are sent, also those of stages that the cache will skip.
    if missing := [stage for stage in STAGES if stage not in document]:
        raise InputError(f"{file}: no section {', '.join(missing)}; the stages are {', '.join(STAGES)}")
    try:
        replaced = json.loads(overrides)
    except json.JSONDecodeError as error:
        raise InputError(f"--overrides {overrides} is not JSON: {error}; see --help for an example") from None
    if not isinstance(replaced, dict):
        raise InputError(f'--overrides {overrides} is not by stage; write {{"train_inverse": {{...}}}}')
    for stage in replaced:
        if stage not in STAGES:
            raise InputError(f"--overrides: {stage} is not a stage; did you mean {nearest(stage, STAGES)}?")
    return {stage: _merged(document[stage], replaced.get(stage, {}), where=stage) for stage in STAGES}


def as_json(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Arguments of the pipeline, one string of JSON a stage."""
    return {f"{stage}_params": json.dumps(section) for stage, section in settings.items()}


def documents(package: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A compiled graph: the pipeline, and what it asks of the cluster, if anything."""
    # The loader in C is ten times as fast as the other, and not in every build of PyYAML.
    graph, *platform = yaml.load_all(package.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
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
    """Refuse a data set that only this machine could find."""
    if not re.match(r"[a-z][a-z0-9+.-]*://[^\s/]", raw):
        raise InputError(f"--raw {raw} is no address that a cluster could read from; type s3://BUCKET/FOLDER, say")


def check_cron(text: str) -> None:
    """Refuse times that Kubeflow would not take, or take for others: it begins with the second, as few others do."""
    fields = text.split()
    if len(fields) == len(CRON) - 1:
        raise InputError(f'--every "{text}" has no seconds, with which Kubeflow begins; type --every "0 {text}"')
    if len(fields) != len(CRON):
        raise InputError(f'--every "{text}" has {len(fields)} fields of {len(CRON)}: {", ".join(CRON)}; {EVERY_MONDAY}')
    for (name, (low, high)), written in zip(CRON.items(), fields, strict=True):
        shape = re.fullmatch(r"[0-9*/,\-]+|\?", written) or (high in (6, 12) and re.fullmatch(r"[A-Z,\-]+", written))
        if not shape or any(not low <= int(number) <= high for number in re.findall(r"\d+", written)):
            raise InputError(f'--every "{text}": {written} is no {name}, which goes from {low} to {high}')


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
