"""Delta_m: by how many per cent several tasks got better together, relative to single-task networks.

Delta_m = 100 / T sum_i (-1)^l_i (M_i - B_i) / B_i (Maninis et al. 2019), with M the scores, B those of the
baseline, and l_i = 1 where lower is better, as for an angular error: a gain is positive for each task. The InverseForm
paper says l_i = 1 "when the metric is positive", which turns the sign of every task; its own numbers do not.
"""

import math
from collections.abc import Collection, Mapping

from inverseform.metrics.score import Score
from inverseform.settings import InputError


def delta_m(
    scores: Mapping[str, float | None],
    baseline: Mapping[str, float | None],
    *,
    lower_is_better: Collection[str] = (),
) -> Score:
    """Mean relative gain over the tasks, in per cent; undefined where a task has no score.

    Raises:
        InputError: The tasks of the two are not the same, one whose lower score is better is none of them, or a
            score of the baseline is not above 0, so that nothing is relative to it.

    >>> delta_m({"miou": 44.0, "rmse": 0.5}, {"miou": 40.0, "rmse": 0.5}, lower_is_better={"rmse"}).value
    5.0
    """
    _check(scores, baseline, lower_is_better)
    gains = []
    for task, base in baseline.items():
        score = scores[task]
        if score is None or base is None:
            return Score(None, f"{task} has no score{' in the baseline' if base is None else ''}")
        gains.append((base - score if task in lower_is_better else score - base) / base)
    return Score(100 * sum(gains) / len(gains))


def _check(
    scores: Mapping[str, float | None], baseline: Mapping[str, float | None], lower_is_better: Collection[str]
) -> None:
    if set(scores) != set(baseline) or not baseline:
        raise InputError(
            f"scores are of {', '.join(sorted(scores)) or 'no task'}, the baseline of "
            f"{', '.join(sorted(baseline)) or 'no task'}: give both for the same tasks"
        )
    if unknown := sorted(set(lower_is_better) - set(baseline)):
        raise InputError(
            f"lower_is_better names {', '.join(unknown)}, which is no task: write of {', '.join(sorted(baseline))}"
        )
    for task, base in baseline.items():
        if base is not None and not 0 < base < math.inf:
            raise InputError(f"the baseline of {task} is {base}: a relative gain needs one above 0; leave the task out")
        score = scores[task]
        if score is not None and not math.isfinite(score):
            raise InputError(f"the score of {task} is {score}: where it is undefined it must be None")
