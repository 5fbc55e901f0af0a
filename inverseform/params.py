"""params.yaml in, settings out: a section a stage, each number of a run in plain sight.

The sections are the stages' names; each stage keeps the class of its section beside its function, so that a stage does
not depend on the settings of another. There are no defaults: what a run used stands in the file. A key that is not
known, one that is missing, a value of the wrong type or out of range stops the run and is named.
"""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError

from inverseform.settings import InputError, Settings

STAGES = ("ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export")
"""The sections of params.yaml, in the order of the pipeline."""

Section = TypeVar("Section", bound=Settings)


def load_section(path: Path, stage: str, settings: type[Section], *, overrides: str = "{}") -> Section:
    """The settings of a stage.

    Args:
        path: The YAML file.
        stage: Name of the section; the others are looked at by their names alone.
        settings: The class of that section.
        overrides: A JSON object of settings to change.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: A section or a setting is unknown, missing or wrong.
    """
    document = _read(path)
    # The whole file, though one section is used: a mis-spelt section would otherwise be missed without a word.
    for name in document:
        if name not in STAGES:
            raise InputError(f"{path}: {name} is not a section{_nearest(name, STAGES) or '; take it out'}")
    if stage not in document:
        raise InputError(f"{path}: the section {stage} is missing; write it, as in the params.yaml of the repository")
    changes = _parse(overrides, "--overrides")
    # Only an error that may come of --overrides should name them.
    if changes == {}:
        return _validate(settings, document[stage], str(path), stage)
    return _validate(settings, _merge(document[stage], changes, settings), f"{path} with --overrides", stage)


def parse_section(text: str, stage: str, settings: type[Section]) -> Section:
    """The settings of a stage from the JSON of its section.

    Raises:
        InputError: It is not JSON, or a setting is unknown, missing or wrong.
    """
    return _validate(settings, _parse(text, f"params of {stage}"), "params", stage)


def _parse(text: str, source: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}: {text[:80]!r} is not JSON ({error}); write for instance '{{\"seed\": 2}}'"
        ) from error


class _EachKeyOnce(yaml.SafeLoader):
    """YAML without code in it, in which a key that is there twice is an error: else the last would count, silently."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401 (its stubs are wrong)
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ComposerError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return node


def _read(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _EachKeyOnce)
    # A date that no calendar has is a ValueError, as is what is no UTF-8.
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: is not YAML ({error}); mend it there") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: holds {type(document).__name__}, and needs the sections {', '.join(STAGES)}")
    return document


def _validate(settings: type[Section], values: object, file: str, stage: str) -> Section:
    """Settings from plain values, or an error that names the file, the key, the value, the rule and the nearest key."""
    try:
        # By way of JSON: there a list may become a tuple, while a word still does not become a number. YAML's dates
        # and sets, which JSON does not know, become words and are refused as such.
        return settings.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        errors = error.errors()
        keys = {id(e): ".".join([stage, *_key(e["loc"], values)]) for e in errors}
        lines = [_explain(e, errors, f"{file}: {keys[id(e)]}", values) for e in errors if not _is_twin(e, errors)]
        raise InputError("\n".join(lines)) from error


def _key(place: tuple[int | str, ...], values: object) -> list[str]:
    """The place of an error as it is written in the file: without the tags that pydantic adds for a choice."""
    key: list[str] = []
    for part in place:
        if isinstance(values, dict) and part not in values and values.get("name") == part:
            continue
        key.append(str(part))
        values = values.get(part) if isinstance(values, dict) else None
    return key


def _explain(error: ErrorDetails, errors: list[ErrorDetails], key: str, values: object) -> str:
    if error["type"] == "extra_forbidden":
        # A mis-spelt key is most likely one of those that are missing beside it.
        known = _siblings(error, errors, "missing") or _written(error, errors, values)
        nearest = _nearest(str(error["loc"][-1]), known)
        return f"{key} is not a setting{nearest or '; take it out'}"
    if error["type"] == "missing":
        return f"{key} is missing; write it, as in the params.yaml of the repository"
    return f"{key} is {json.dumps(error['input'])}: {error['msg'].lower()}; set it to what the rule allows"


def _siblings(error: ErrorDetails, errors: list[ErrorDetails], kind: str) -> list[str]:
    """Keys of the same part of the file that are wrong in another way."""
    return [str(e["loc"][-1]) for e in errors if e["type"] == kind and e["loc"][:-1] == error["loc"][:-1]]


def _written(error: ErrorDetails, errors: list[ErrorDetails], values: object) -> list[str]:
    """Keys beside a wrong one that are right: a mis-spelt override stands beside the key it was to change."""
    for part in error["loc"][:-1]:
        values = values.get(part, values) if isinstance(values, dict) else values
    extra = _siblings(error, errors, "extra_forbidden")
    return [key for key in values if key not in extra] if isinstance(values, dict) else []


def _is_twin(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    """Whether a missing key is one that another line already proposes for a mis-spelt one."""
    extra = _siblings(error, errors, "extra_forbidden")
    return error["type"] == "missing" and bool(difflib.get_close_matches(str(error["loc"][-1]), extra))


def _nearest(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _merge(values: object, changes: object, settings: object) -> object:
    """Values with changes, key by key; what is of another kind now is new as a whole."""
    if not (isinstance(values, dict) and isinstance(changes, dict)):
        return changes
    known = settings.model_fields if isinstance(settings, type) and issubclass(settings, Settings) else {}
    merged = dict(values)
    for key, change in changes.items():
        field, before = known.get(key), values.get(key)
        tag = field.discriminator if field is not None else None
        # The settings of one network mean nothing to another.
        other = (
            isinstance(tag, str)
            and isinstance(before, dict)
            and isinstance(change, dict)
            and (change.get(tag, before.get(tag)) != before.get(tag))
        )
        merged[key] = change if other else _merge(before, change, field and field.annotation)
    return merged
