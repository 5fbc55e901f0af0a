"""The report on a trained segmenter: what it tells, and in which order."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float64, Int64
from torch import Tensor

from inverseform.evaluation.comparison import Comparison
from inverseform.evaluation.figures import Estimate
from inverseform.overlay import Colour, Drawn
from inverseform.plots import Points
from inverseform.report import boundaries, calibration, classes, comparison, numbers, run, samples
from inverseform.report.style import SCRIPT, STYLE, policy

_PLACES = {
    "comparison": "Comparison", "boundaries": "Boundaries", "classes": "Classes", "confusion": "Confusion",
    "calibration": "Calibration", "samples": "Samples", "training": "Training", "run": "What was run",
}  # fmt: skip


@dataclass(frozen=True)
class Contents:
    """What the report tells."""

    title: str
    """Data set and split."""
    facts: Mapping[str, str]
    """What was run: counts, hashes, the network, versions; by heading."""
    params: Mapping[str, Any]
    """Settings, as JSON has them."""
    classes: Sequence[str]
    colours: Sequence[Colour]
    counts: Int64[Tensor, "classes classes"]
    """Confusion counts, (actual, predicted)."""
    bins: Float64[Tensor, "3 bins"]
    """Pixels, sum of confidences and right pixels of each bin of the confidence."""
    figures: Mapping[str, Estimate]
    """By the names of `evaluation.figures`."""
    images: int
    without_boundary: int
    """Images that have none."""
    gate: Mapping[str, Any]
    """What gate.json holds."""
    curves: Mapping[str, Points]
    """Training curves by term."""
    worst: Sequence[Drawn]
    """Samples, the worst first."""
    median: Sequence[Drawn]
    """Samples in the middle."""
    comparison: Comparison | None
    """With an earlier evaluation, if there is one."""


def render(contents: Contents) -> str:
    """The page."""
    title = html.escape(contents.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy()}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: segmentation report</title><style>{STYLE}</style></head>\n"
        f"<body><script>{SCRIPT}</script><main>\n{_body(contents)}\n</main></body></html>\n"
    )


def _body(contents: Contents) -> str:
    """The verdict first, what it rests on next, how it came about last."""
    told, legend = contents, {"classes": contents.classes, "colours": contents.colours}
    absent = sum(told.figures[f"iou {name}"].value is None for name in told.classes)
    earlier = told.comparison
    sections = [
        numbers.headline(told.figures, images=told.images, without_boundary=told.without_boundary, absent=absent),
        comparison.section(earlier, **legend) if earlier else "",
        boundaries.section(told.figures, earlier.differences if earlier else None),
        classes.section(told.classes, told.colours, told.counts, told.figures),
        calibration.section(told.figures["calibration_error"], told.bins),
        samples.section(told.worst, told.median, **legend),
        run.training(told.curves),
        run.run(told.facts, told.params),
    ]
    body = "\n".join(section for section in sections if section)
    links = "".join(f'<a href="#{place}">{name}</a>' for place, name in _PLACES.items() if f'id="{place}"' in body)
    head = numbers.head(told.title, told.gate, images=told.images, classes=len(told.classes))
    return f"{head}<nav>{links}</nav>\n{body}"
