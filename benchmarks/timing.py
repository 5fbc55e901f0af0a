"""How long a call takes, for the tables of the benchmarks."""

import statistics
import time
from collections.abc import Callable


def median_ms(function: Callable[[], object], *, repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Median milliseconds of a call by a clock in seconds, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(1000 * (clock() - start))
    return statistics.median(times)
