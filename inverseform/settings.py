"""What a user hands in: the base of every settings class, and the error that says what was wrong with it.

Each room keeps its settings beside the code they steer; `inverseform.params` assembles them into params.yaml.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of the settings classes: frozen, strict in its types, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class InputError(ValueError):
    """Something handed in from outside is wrong.

    The message has three parts: the file or argument and its value, the rule, and what to type.
    The command lines print it without a traceback and leave with status 2.
    """


def _is_a_range(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    if not 0 < low <= high:
        raise ValueError("a range of factors has 0 < smallest <= largest; write for instance [0.8, 1.25]")
    return scale


ScaleRange = Annotated[tuple[float, float], AfterValidator(_is_a_range)]
"""Smallest and largest factor of a size."""
