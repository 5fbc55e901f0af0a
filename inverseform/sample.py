"""The two nouns that every room shares: what a data set gives, and what a network gives."""

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor

# The largest number of 8 bits, so that ids count up from 0 without a gap, and Cityscapes' own choice.
IGNORE_INDEX = 255
"""The label of a pixel whose class is not known, everywhere behind ingest."""


class Target(NamedTuple):
    """What a data set knows of an image for a task other than segmentation."""

    values: Float[Tensor, "channels height width"]
    """In the task's own unit (`inverseform.data.tasks`); 0 where nothing is known."""
    valid: Float[Tensor, "1 height width"]
    """1 where `values` are known, else 0."""


class Sample(NamedTuple):
    """One image of a data set, with its labels and the boundary map made from them."""

    name: str
    """Unique within its split."""
    image: UInt8[Tensor, "3 height width"]
    """RGB, 0 to 255."""
    labels: UInt8[Tensor, "height width"]
    """Class ids from 0, or IGNORE_INDEX."""
    boundary: Float[Tensor, "1 height width"]
    """1 on a boundary between two classes, else 0."""
    valid: Float[Tensor, "1 height width"]
    """1 where `boundary` is known, 0 where an ignored pixel hides it."""
    prediction: Float[Tensor, "1 height width"] | None = None
    """Boundary probabilities, 0 to 1, that some network gave for the image; None where none were handed in."""
    targets: Mapping[str, Target] = {}
    """By task; those that were asked for and that the data set has for this image."""


class Auxiliary(NamedTuple):
    """A side output that only training looks at."""

    logits: Float[Tensor, "batch classes rows columns"]
    """Class logits, at any stride."""
    weight: float
    """Of its loss, beside that of the segmentation itself."""


class Prediction(NamedTuple):
    """What a segmentation network gives for a batch of images."""

    segmentation: Float[Tensor, "batch classes height width"]
    """Logits at the size of the input."""
    boundary: Float[Tensor, "batch 1 rows columns"] | None
    """Boundary logits at the stride of the head, or None once the boundary head is removed."""
    auxiliary: tuple[Auxiliary, ...] = ()
    """Side outputs, while training; none in evaluation mode."""
    boundary_at_scales: tuple[Float[Tensor, "batch 1 _ _"], ...] = ()
    """Boundary logits of the same images at further scales, while training; none in evaluation mode."""
