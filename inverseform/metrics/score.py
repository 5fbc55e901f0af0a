"""A score, or the reason why there is none: never NaN, and never a 0 that would pull a mean down."""

from collections.abc import Iterable
from typing import NamedTuple

from inverseform.settings import InputError


class Score(NamedTuple):
    """One figure."""

    value: float | None
    """None where it is undefined."""
    reason: str | None = None
    """Why it is undefined; None where it has a value."""


def check_alike(**shapes: tuple[int, ...]) -> None:
    """Refuse maps of several shapes, which torch would stretch over each other, and those of no pixel.

    Raises:
        InputError: They differ, or are empty.
    """
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"shapes differ: {told}; all maps of an image have its height and width")
    if any(0 in shape for shape in shapes.values()):
        name, shape = next(iter(shapes.items()))
        raise InputError(f"{name}: its shape is {tuple(shape)}; an image has pixels: leave this one out")


def ratio(part: float, whole: float, *, reason: str) -> Score:
    """A share or a mean; for the reason given it has no value where the whole is 0.

    >>> ratio(1, 4, reason="no pixel is known")
    Score(value=0.25, reason=None)
    >>> ratio(0, 0, reason="no pixel is known")
    Score(value=None, reason='no pixel is known')
    """
    return Score(part / whole) if whole else Score(None, reason)


def mean(scores: Iterable[Score], *, reason: str) -> Score:
    """The mean of those that have a value; for the reason given it has none where none has."""
    values = [score.value for score in scores if score.value is not None]
    return ratio(sum(values), len(values), reason=reason)
