"""A profile: a YAML file with the fields of `Site`; pipeline/profiles holds some to begin from.

What it does not name has its default, and what it names wrongly is refused.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline import InputError, nearest, yaml_file
from pipeline.site import STAGES, Accelerator, FanOut, Fields, Needs, Secret, Site, Toleration, Volume


def load_profile(profile: Path, **changes: str | None) -> Site:
    """The site of a profile, with some of its fields replaced, those that are not None.

    Raises:
        InputError: It is no profile; the message names each field that is wrong, or the flag that stood for it.
    """
    flags = {name: value for name, value in changes.items() if value is not None}
    document = yaml_file.read(profile, flag="--profile")
    if not isinstance(document, dict):
        raise InputError(f"{profile} holds no fields; begin from one of pipeline/profiles")
    try:
        return Site.model_validate(document | flags)
    except ValidationError as error:
        for one in error.errors():
            if one["loc"] and (name := str(one["loc"][0])) in flags:
                raise InputError(f"--{name.replace('_', '-')} {flags[name]}: {_said(one)}") from None
        lines = "".join(f"\n- {_told(one)}" for one in error.errors())
        raise InputError(f"{profile} is not a profile:{lines}") from None


def _told(error: Any) -> str:  # noqa: ANN401 (pydantic's)
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *outer, wrong = error["loc"]
        known = list(_fields(outer))
        return f"{place} is not a setting; " + (f"did you mean {nearest(str(wrong), known)}?" if known else "remove it")
    if error["type"] == "literal_error" and error["loc"][-1] == "[key]":
        return f"{place.removesuffix('.[key]')} is not a stage; did you mean {nearest(str(error['input']), STAGES)}?"
    return f"{place.removesuffix('.[key]')}: {_said(error)} (it is {error['input']!r})" if place else _said(error)


def _said(error: Any) -> str:  # noqa: ANN401 (pydantic's)
    return error["msg"].removeprefix("Value error, ")


def _fields(place: list[Any]) -> list[str]:
    """Names of the fields at a place of the profile."""
    # The innermost comes first: what holds it is named like fields that are elsewhere.
    kinds: dict[str, type[Fields]] = {
        "tolerations": Toleration,
        "stages": Needs,
        "secrets": Secret,
        "volumes": Volume,
        "accelerator": Accelerator,
        "ingest": FanOut,
        "synthesize": FanOut,
    }
    kind = next((kind for name, kind in kinds.items() if name in place), Site)
    return list(kind.model_fields)
