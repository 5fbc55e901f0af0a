"""Two networks on the same images: each figure's difference, and the images that one of them does much better."""

from pathlib import Path
from typing import NamedTuple

from inverseform.evaluation import images
from inverseform.evaluation.figures import Difference, by_image, differences
from inverseform.evaluation.images import Images

MOST_CHANGED = 5
"""Images that are named on either side."""


class Change(NamedTuple):
    """An image whose mean boundary accuracy became another."""

    name: str
    now: float
    earlier: float


class Comparison(NamedTuple):
    """This evaluation beside an earlier one."""

    path: str
    """Where the earlier one lies."""
    images: int
    differences: dict[str, Difference]
    """By the figures' names."""
    better: list[Change]
    """Images that gained, the largest gain first."""
    worse: list[Change]
    """Images that lost, the largest loss first."""


def compare(now: Images, earlier: Images, *, path: Path) -> Comparison:
    """Compare with an earlier evaluation of the same images in the same order, as `images.read_earlier` gives it.

    Raises:
        InputError: The images have other labels.
    """
    images.check_labels(now, earlier, path=path)
    scores = zip(now.names, by_image(now, "mba"), by_image(earlier, "mba"), strict=True)
    # Labels are the same, so that an image has a boundary for both or for neither.
    changes = [Change(name, a, b) for name, a, b in scores if a is not None and b is not None]
    changes.sort(key=lambda change: (change.earlier - change.now, change.name))
    return Comparison(
        path=str(path),
        images=len(now.names),
        differences=differences(now, earlier),
        better=[change for change in changes[:MOST_CHANGED] if change.now > change.earlier],
        worse=[change for change in changes[: -MOST_CHANGED - 1 : -1] if change.now < change.earlier],
    )
