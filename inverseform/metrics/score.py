"""A score, or the reason why there is none: never NaN, and never a 0 that would pull a mean down."""

from collections.abc import Iterable
from typing import NamedTuple


class Score(NamedTuple):
    """One figure."""

    value: float | None
    """None where it is undefined."""
    reason: str | None = None
    """Why it is undefined; None where it has a value."""


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
