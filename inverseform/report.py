"""The report on a trained segmenter: one HTML file that needs no other and no network to be read.

Every string that came from outside (class names, sample names, settings) is escaped; every number stands beside a
sentence that says what it means. The same contents give the same bytes.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from inverseform import overlay, plots
from inverseform.metrics import segmentation
from inverseform.metrics.boundary import DISTANCES, BoundaryScores
from inverseform.overlay import BAND, RIGHT, WRONG, WRONG_INSIDE, Colour, Drawn
from inverseform.plots import Points, bars, chart, chip, heat, percent

_MIOU = (
    "For each class, the pixels it was found in, of all where it is or was said to be; pooled over all images, then "
    "averaged over the classes."
)
_MBA = (
    "Of the pixels close to a true boundary, the share with the right class; averaged over five widths of "
    "\u201cclose\u201d that grow with the image, then over the images."
)
_PIXEL_ACCURACY = "Of all pixels whose class is known, the share with the right class. Large classes count most."


@dataclass(frozen=True)
class Contents:
    """What the report tells."""

    title: str
    """Data set and split."""
    facts: Mapping[str, str]
    """What was run: counts, hashes, the network; by heading."""
    params: Mapping[str, Any]
    """Settings, as JSON has them."""
    classes: Sequence[str]
    colours: Sequence[Colour]
    counts: Int64[Tensor, "classes classes"]
    """Confusion counts, (actual, predicted)."""
    boundary: BoundaryScores
    gate: Mapping[str, Any]
    """What gate.json holds."""
    curves: Mapping[str, Points]
    """Training curves by term."""
    drawn: Sequence[Drawn]
    """Samples, the worst first."""


def render(contents: Contents) -> str:
    """The page."""
    title = html.escape(contents.title)
    # The verdict first, what it rests on next, how it came about last.
    sections = [_head, _numbers, _classes, _confusion, _curves, _samples, _run]
    body = "\n".join(section(contents) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: segmentation report</title><style>{plots.STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(contents: Contents) -> str:
    """Title and the gate's verdict."""
    passed = contents.gate["passed"]
    verdict = "The gate is passed" if passed else "The gate is not passed"
    outcome = "this network may be exported." if passed else "export will refuse this network."
    rows = "; ".join(_check(check) for check in contents.gate["checks"])
    images = contents.boundary.images + contents.boundary.undefined
    return (
        f'<header><p class="over">Segmentation report</p><h1>{html.escape(contents.title)}</h1>'
        f'<p class="soft">{images} images, {len(contents.classes)} classes</p></header>'
        f'<div class="gate {"passed" if passed else "failed"}"><p><b>{verdict}:</b> {outcome}</p>'
        f'<p class="soft">{rows}</p></div>'
    )


def _check(check: Mapping[str, Any]) -> str:
    """One check of the gate in words."""
    name = {"miou": "mean IoU", "mba": "mean boundary accuracy"}.get(check["metric"], check["metric"])
    text = f"{name} {percent(check['value'])}, at least {percent(check['threshold'])} asked"
    if reason := check.get("reason"):
        text = f"{text} ({reason})"
    return html.escape(text) if check["passed"] else f'<span class="missed">{html.escape(text)}</span>'


def _numbers(contents: Contents) -> str:
    """Headline figures, and accuracy by distance from a boundary."""
    scores, boundary = segmentation.scores(contents.counts), contents.boundary
    absent = sum(value is None for value in scores.iou)
    left_out = f" {absent} of the classes occur in neither and are left out." if absent else ""
    flat = f" {boundary.undefined} images have no boundary and are left out." if boundary.undefined else ""
    cards = (
        (scores.miou, "Mean IoU", f"{_MIOU}{left_out}"),
        (boundary.mba, "Mean boundary accuracy", f"{_MBA}{flat}"),
        (scores.pixel_accuracy, "Pixel accuracy", _PIXEL_ACCURACY),
    )
    figures = "".join(
        f"<div><strong>{percent(value)}</strong><b>{name}</b><p>{text}</p></div>" for value, name, text in cards
    )
    steps = [(f"within {d} px", share, "") for d, share in zip(DISTANCES, boundary.within, strict=True)]
    return (
        f'<div class="cards">{figures}</div><h2>Accuracy beside the boundaries</h2><p class="soft">Of the pixels at '
        "most so many pixels from a boundary between two true classes, pooled over all images, the share with the "
        "right class. Crisp boundaries keep the upper bars close to the lowest one.</p>"
        f"{bars([*steps, ('all pixels', scores.pixel_accuracy, '')])}"
    )


def _classes(contents: Contents) -> str:
    """IoU of each class, with its share of the pixels."""
    iou = segmentation.scores(contents.counts).iou
    actual = contents.counts.sum(1).tolist()
    # Nothing is known of an empty set; its shares are 0 rather than an error.
    whole = sum(actual) or 1
    rows = [
        (f"{chip(colour)}{html.escape(name)}", value, f"{100 * pixels / whole:.1f} % of pixels")
        for name, colour, value, pixels in zip(contents.classes, contents.colours, iou, actual, strict=True)
    ]
    return (
        '<h2>Classes</h2><p class="soft">Intersection over union of each class, and how common it is. A class that '
        f"occurs neither in the labels nor in the predictions has none.</p>{bars(rows)}"
    )


def _confusion(contents: Contents) -> str:
    """Which class was taken for which."""
    return (
        '<h2>What was taken for what</h2><p class="soft">Each row is a true class; its cells say what its pixels were '
        "predicted as, in per cent of the row. A perfect network fills the diagonal.</p>"
        f"{heat(contents.counts, classes=contents.classes)}"
    )


def _curves(contents: Contents) -> str:
    """Training curves, one small chart a term."""
    silent = [name for name, points in contents.curves.items() if not any(value for _, value in points)]
    charts = "".join(chart(points, name=name) for name, points in contents.curves.items() if name not in silent)
    body = f'<div class="charts">{charts}</div>' if charts else "<p>No curve was recorded.</p>"
    # In words: a flat line among curves is passed over, and a term that does nothing should not be.
    told = f"<p>0 at every step: {html.escape(', '.join(silent))}.</p>" if silent else ""
    return f'<h2>Training</h2><p class="soft">Each term over the steps, on a scale of its own.</p>{body}{told}'


def _samples(contents: Contents) -> str:
    """Overlays, the worst first."""
    if not contents.drawn:
        return ""
    classes = "".join(
        f"<li>{chip(colour)}{html.escape(name)}</li>"
        for name, colour in zip(contents.classes, contents.colours, strict=True)
    )
    errors = "".join(
        f"<li>{chip(colour)}{text}</li>"
        for colour, text in (
            (RIGHT, f"right, within {BAND} px of a boundary"),
            (WRONG, f"wrong, within {BAND} px of a boundary"),
            (WRONG_INSIDE, "wrong elsewhere"),
        )
    )
    return (
        '<h2>Samples, the worst first</h2><p class="soft">In the order of their mean boundary accuracy. Hatched '
        f'pixels have no known class and are not judged.</p><ul class="legend">{classes}</ul>'
        f'<ul class="legend">{errors}</ul>{"".join(map(_sample, contents.drawn))}'
    )


def _sample(drawn: Drawn) -> str:
    """Four panels and their caption."""
    image, truth, prediction, error = drawn.panels
    # JPEG would smear the flat colours of the maps, and takes more room for them than PNG does.
    parts = (
        ("Image", overlay.jpeg(image), "jpeg"),
        ("Truth", overlay.png(truth), "png"),
        ("Prediction", overlay.png(prediction), "png"),
        ("Error at the boundary", overlay.png(error), "png"),
    )
    name = html.escape(drawn.name)
    cells = "".join(
        f'<div><img alt="{what} of {name}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
        f"{what}</div>"
        for what, data, kind in parts
    )
    score = f"boundary accuracy {percent(drawn.mba)}" if drawn.mba is not None else "no boundary"
    return (
        f'<figure class="sample" style="margin-inline:0"><div class="strip">{cells}</div><figcaption><b>{name}</b>, '
        f"{score}, {percent(drawn.accuracy)} of its pixels right</figcaption></figure>"
    )


def _run(contents: Contents) -> str:
    """What was run, and with which settings."""
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in contents.facts.items()
    )
    # Names of classes may be of any script: readable here rather than as numbers.
    text = html.escape(json.dumps(contents.params, indent=2, ensure_ascii=False))
    return (
        f'<h2>What was run</h2><table class="facts"><tbody>{rows}</tbody></table>'
        f"<details><summary>Settings of this evaluation and of the network</summary><pre>{text}</pre></details>"
    )
