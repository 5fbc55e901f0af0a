"""The sections on the classes: how well each is found, and which is taken for which."""

import html
from collections.abc import Mapping, Sequence

from jaxtyping import Int64
from torch import Tensor

from inverseform.evaluation.figures import Estimate
from inverseform.overlay import Colour
from inverseform.plots import chip, heat
from inverseform.report.charts import bars


def section(
    classes: Sequence[str],
    colours: Sequence[Colour],
    counts: Int64[Tensor, "classes classes"],
    figures: Mapping[str, Estimate],
) -> str:
    """IoU and Boundary IoU of each class, with its share of the pixels, and the confusion table."""
    actual = counts.sum(1).tolist()
    # Nothing is known of an empty set; its shares are 0 rather than an error.
    whole = sum(actual) or 1
    shares = [f"<small>{100 * pixels / whole:.1f} % of pixels</small>" for pixels in actual]
    names = [f"{chip(colour)}{html.escape(name)}" for name, colour in zip(classes, colours, strict=True)]
    regions = [(f"{name}{share}", figures[f"iou {of}"]) for name, share, of in zip(names, shares, classes, strict=True)]
    rims = [(name, figures[f"boundary_iou {of}"]) for name, of in zip(names, classes, strict=True)]
    return (
        '<h2 id="classes">Classes</h2><p class="soft">Intersection over union of each class, with its interval, and '
        "how common it is. A class that occurs neither in the labels nor in the predictions has none.</p>"
        f"{bars(regions)}<h3>The rims of the classes</h3>"
        '<p class="soft">Boundary IoU: the same of the pixels of a class that are near another one.</p>'
        f"{bars(rims)}"
        '<h2 id="confusion">What was taken for what</h2><p class="soft">Each row is a true class; its cells say what '
        "its pixels were predicted as, in per cent of the row. A perfect network fills the diagonal.</p>"
        f"{heat(counts, classes=classes)}"
    )
