"""Differences of two losses, seed by seed: both saw the same batches from the same weights."""

import math
import statistics
from collections.abc import Mapping
from typing import NamedTuple

LEVEL = 0.95


class Difference(NamedTuple):
    """A mean difference and its interval."""

    mean: float | None
    """None without a seed that both have."""
    low: float | None
    """None with fewer than two: their spread is not known."""
    high: float | None
    seeds: int
    """How many both have."""

    @property
    def width(self) -> float:
        """From end to end; infinite where it is not known."""
        return math.inf if self.low is None or self.high is None else self.high - self.low


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """How much `one` is above `other`, by seed: Student's 95% interval of the mean of the differences."""
    both = sorted(one.keys() & other.keys())
    apart = [one[seed] - other[seed] for seed in both]
    if len(apart) < 2:
        return Difference(apart[0] if apart else None, None, None, len(apart))
    from scipy.stats import t

    mean, error = statistics.fmean(apart), statistics.stdev(apart) / math.sqrt(len(apart))
    reach = float(t.ppf((1 + LEVEL) / 2, len(apart) - 1)) * error
    return Difference(mean, mean - reach, mean + reach, len(apart))
