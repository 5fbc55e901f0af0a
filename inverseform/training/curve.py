"""The training curve: means of the terms over so many steps each."""

from typing import Any

History = list[dict[str, float]]
"""Rows of a training curve: the step, and each term's mean since the row before."""
ROWS = 100
"""How many rows a training curve has at least, and less than twice as many; a shorter training has one a step."""


def ends_a_row(step: int, steps: int) -> bool:
    """Whether a row of the curve ends with a step, counted from 0: when to ask for what is too dear for each step."""
    return (step + 1) % max(1, steps // ROWS) == 0 or step + 1 == steps


class Curve:
    """Means of the terms over the steps since the row before; of those that only some steps have, over these.

    Args:
        steps: Of the whole training.
        rows: Those that are there already, as `state` gave them.
        sums: Of each term since the last row its total and its number of steps.
    """

    def __init__(self, steps: int, *, rows: History | None = None, sums: dict[str, list[float]] | None = None) -> None:
        self.steps = steps
        self.rows: History = rows or []
        self.sums: dict[str, list[float]] = sums or {}

    def add(self, step: int, figures: dict[str, float]) -> None:
        """Count a step, by its number from 1; ends a row when it is time."""
        for name, value in figures.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = [total + value, count + 1]
        if ends_a_row(step - 1, self.steps):
            self.rows.append({"step": step, **{name: total / count for name, (total, count) in self.sums.items()}})
            self.sums = {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it; JSON gives every float back to the last bit."""
        return {"rows": self.rows, "sums": self.sums}
