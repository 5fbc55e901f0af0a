"""The section that holds this network against an earlier one, on the same images."""

import html
from collections.abc import Mapping, Sequence

from inverseform.evaluation.comparison import Change, Comparison
from inverseform.evaluation.figures import Difference, Estimate
from inverseform.overlay import Colour
from inverseform.plots import chip, percent
from inverseform.report.charts import change, verdict
from inverseform.report.numbers import NAMES

_LOWER = ("calibration_error",)
"""Figures of which less is better."""


def section(found: Comparison, *, classes: Sequence[str], colours: Sequence[Colour]) -> str:
    """Each figure and each class, then and now, and the images that changed most."""
    within = {name: _distance(name) for name in found.differences if name.startswith("accuracy_within_")}
    headline = {name: html.escape(text) for name, text in {**NAMES, **within}.items() if name in found.differences}
    chips = zip(classes, colours, strict=True)
    by_class = {f"iou {name}": f"{chip(colour)}{html.escape(name)}" for name, colour in chips}
    return (
        '<h2 id="comparison">Against the earlier evaluation</h2>'
        f'<p class="soft">Of {html.escape(found.path)}, on the same {found.images} images. Differences are in points '
        "of per cent, with 95 % intervals by the paired bootstrap: the same images are drawn for both networks. One "
        "is called better or worse if its interval leaves out 0; of twenty that are none, one will do so by "
        f"chance.</p>{_table(headline, found.differences)}<h3>IoU by class</h3>{_table(by_class, found.differences)}"
        f'<div class="wide">{_changes("Images that gained most", found.better)}'
        f"{_changes('Images that lost most', found.worse)}</div>"
    )


def _table(rows: Mapping[str, str], found: Mapping[str, Difference]) -> str:
    """A row for each figure; all points of a table are drawn on one scale."""
    ends = [end for name in rows for end in found[name].change if end is not None]
    widest = max(map(abs, ends), default=0.0)
    body = "".join(
        f'<tr><th scope="row">{text}</th>{_cells(found[name], widest, name in _LOWER)}</tr>'
        for name, text in rows.items()
    )
    return (
        '<div class="scroll"><table class="figures"><thead><tr><th></th><th>earlier</th><th>now</th><th>difference</th>'
        f'<th class="plot"></th><th></th></tr></thead><tbody>{body}</tbody></table></div>'
    )


def _cells(found: Difference, widest: float, lower_is_better: bool) -> str:
    told = verdict(found.change, lower_is_better)
    kind = {"better": "gain", "worse": "loss"}.get(told, "soft")
    return (
        f'<td class="num">{percent(found.earlier)}</td><td class="num">{percent(found.now)}</td>'
        f'<td class="num">{_points(found.change)}</td>'
        f'<td class="plot">{change(found.change, widest=widest, lower_is_better=lower_is_better)}</td>'
        f'<td class="{kind} told">{told}</td>'
    )


def _points(estimate: Estimate) -> str:
    """A difference in points of per cent, with its interval below."""
    if estimate.value is None:
        return "undefined"
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f' <span class="soft">({100 * estimate.low:+.2f} to {100 * estimate.high:+.2f})</span>'
    return f"{100 * estimate.value:+.2f}{ends}"


def _changes(title: str, changes: Sequence[Change]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{html.escape(each.name)}</th><td class="num">{percent(each.earlier)}</td>'
        f'<td class="num">{percent(each.now)}</td><td class="num">{100 * (each.now - each.earlier):+.2f}</td></tr>'
        for each in changes
    )
    body = (
        f'<table class="figures"><thead><tr><th></th><th>earlier</th><th>now</th><th>difference</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<p>None.</p>"
    )
    return f'<div><h3>{title}</h3><p class="soft">By their mean boundary accuracy.</p>{body}</div>'


def _distance(name: str) -> str:
    return f"Accuracy within {name.split('_')[2]} px"
