"""Arguments of the pipeline: read from params.yaml, changed by overrides, checked against the compiled graph."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline import InputError, nearest
from pipeline.graph import STAGES

TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float, "BOOLEAN": bool, "LIST": list, "STRUCT": dict}


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


def check_arguments(given: Mapping[str, Any], package: Path) -> None:
    """Refuse arguments which the compiled graph does not declare, of another type than it declares, or missing."""
    # A compiled graph is two documents: the pipeline, then what it asks of the cluster.
    graph = next(yaml.safe_load_all(package.read_text()))
    declared = graph["root"]["inputDefinitions"]["parameters"]
    for name, value in given.items():
        if name not in declared:
            raise InputError(f"{name} is not an argument of {package}; did you mean {nearest(name, declared)}?")
        kind = declared[name]["parameterType"]
        if not isinstance(value, TYPES[kind]):
            raise InputError(
                f"argument {name} of {package} is a {kind}, not {value!r}; give it a {TYPES[kind].__name__}"
            )
    for name, declaration in declared.items():
        if name not in given and "defaultValue" not in declaration:
            raise InputError(f"argument {name} of {package} is missing and has no default; give it a value")


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
