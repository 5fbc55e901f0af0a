"""The top of the page: what was judged, whether the gate is passed, and the figures that say most."""

import html
from collections.abc import Mapping
from typing import Any

from inverseform.evaluation.figures import Estimate
from inverseform.plots import percent
from inverseform.report.charts import interval

NAMES = {
    "miou": "Mean IoU",
    "mba": "Mean boundary accuracy",
    "pixel_accuracy": "Pixel accuracy",
    "boundary_iou": "Boundary IoU",
    "boundary_f_3_px": "Boundary F, 3 px",
    "calibration_error": "Calibration error",
}
"""Of the headline figures, in the order of the page."""
_MEANING = {
    "miou": "For each class, the pixels it was found in, of all where it is or was said to be; pooled over all images, "
    "then averaged over the classes.",
    "mba": "Of the pixels close to a true boundary, the share with the right class; averaged over five widths of "
    "\u201cclose\u201d that grow with the image, then over the images.",
    "pixel_accuracy": "Of all pixels whose class is known, the share with the right class. Large classes count most.",
    "boundary_iou": "As mean IoU, of the inner rims of the classes alone; a rim is 2 % of the image's diagonal wide.",
    "boundary_f_3_px": "How much of each class's contour lies within three pixels of that in the other map, both ways; "
    "averaged over the classes.",
    "calibration_error": "By how much the network is surer, or less sure, than it is right; 0 is best.",
}
_FIRST = ("miou", "mba", "pixel_accuracy")


def head(title: str, gate: Mapping[str, Any], *, images: int, classes: int) -> str:
    """Title and the gate's verdict."""
    passed = gate["passed"]
    verdict = "The gate is passed" if passed else "The gate is not passed"
    outcome = "this network may be exported." if passed else "export will refuse this network."
    rows = "; ".join(_check(check) for check in gate["checks"])
    return (
        f'<header><p class="over">Segmentation report</p><h1>{html.escape(title)}</h1>'
        f'<p class="soft">{images} images, {classes} classes</p></header>'
        f'<div class="gate {"passed" if passed else "failed"}"><p><b>{verdict}:</b> {outcome}</p>'
        f'<p class="soft">{rows}</p></div>'
    )


def headline(figures: Mapping[str, Estimate], *, images: int, without_boundary: int, absent: int) -> str:
    """The headline figures with their intervals, and of how much they tell."""
    first, rest = ([name for name in NAMES if name in figures and (name in _FIRST) == top] for top in (True, False))
    left_out = f"{without_boundary} of the {images} images have no boundary and are left out of what is said of them."
    classes = f"{absent} of the classes occur neither in the labels nor in the predictions and are left out."
    few = " Of so few images they are too narrow." if images < 20 else ""
    intervals = (
        f"The ranges are 95 % intervals by the bootstrap over images: where a figure would lie with others of their "
        f"kind. Another training of the network would differ in its own way.{few}"
        if images > 1
        else "Of one image no interval can be given."
    )
    return (
        f'<div class="cards">{"".join(_card(name, figures[name]) for name in first)}</div>'
        f'<div class="cards lesser">{"".join(_card(name, figures[name]) for name in rest)}</div>'
        f'<p class="soft">{intervals} {left_out} {classes}</p>'
    )


def _card(name: str, estimate: Estimate) -> str:
    return (
        f'<div><strong>{percent(estimate.value)}</strong><span class="num soft">{interval(estimate)}</span>'
        f"<b>{NAMES[name]}</b><p>{_MEANING[name]}</p></div>"
    )


def _check(check: Mapping[str, Any]) -> str:
    """One check of the gate in words."""
    name = {"miou": "mean IoU", "mba": "mean boundary accuracy"}.get(check["metric"], check["metric"])
    text = f"{name} {percent(check['value'])}, at least {percent(check['threshold'])} asked"
    if reason := check.get("reason"):
        text = f"{text} ({reason})"
    return html.escape(text) if check["passed"] else f'<span class="missed">{html.escape(text)}</span>'
