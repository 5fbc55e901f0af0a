"""How good a prediction is: over whole pictures, beside boundaries, on other tasks; and whether it is enough (`gate`).

Each room of scores has a functional half, tensors in and counts out, and a class that holds the counts between calls.
Counts are tensors that add, so two processes that saw half of a set each have seen all of it when theirs are summed.
docs/metrics.md has every definition, and where other programs give another number.
"""

from inverseform.metrics.gate import GateParams

__all__ = ["GateParams"]
