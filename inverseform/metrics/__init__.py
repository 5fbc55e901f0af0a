"""How good a segmentation is: over whole pictures (`segmentation`), beside boundaries (`boundary`), enough (`gate`).

Each room of scores has a functional half, tensors in and counts out, and a class that holds the counts between calls.
Counts are tensors that add, so two processes that saw half of a set each have seen all of it when theirs are summed.
"""

from inverseform.metrics.gate import GateParams

__all__ = ["GateParams"]
