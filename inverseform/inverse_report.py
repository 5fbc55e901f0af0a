"""The report on an inverse network: one HTML file that needs no other and no network to be read.

The paper's figure 2 for this network: how losses answer when a real boundary slides, turns, grows, shears, and is
swapped for another. With it the gate, and pictures in which a person sees whether the network works. The same contents
give the same bytes.
"""

import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from inverseform import exhibits, figure_two, plots, tile_plots, tile_strips
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.exhibits import Aligned, Push, Sensitivity
from inverseform.inverse_net import InverseNet
from inverseform.metrics.gate import Check
from inverseform.plots import Points, bars, chart, percent
from inverseform.transform import ENTRIES, offsets

_PARAMETERS = (
    "width", "slant of columns", "shift right", "slant of rows", "height", "shift down", "perspective right",
    "perspective down",
)  # fmt: skip
"""What the entries of theta are, row by row."""
_ASKED = {
    "r2": "Share of the variance of the transforms that it explains: sharp maps",
    "r2_degraded": "The same: maps as a network might predict them",
    "identity_ratio": "What it says of two equal tiles, over what it says at the largest shift",
    "spearman": "Rank correlation of the distance with the amount of this move alone",
    "points_back": "Share of shifts of 1 to 6 pixels whose gradient points back: sharp maps",
    "points_back_degraded": "The same: maps as a network might predict them",
    "normal_error_pixels": "Error of the displacement across the boundary at a shift of 3 pixels, in pixels",
}


@dataclass(frozen=True)
class Contents:
    """What the report tells."""

    title: str
    facts: Mapping[str, str]
    """What was run, by heading."""
    params: Mapping[str, Any]
    """Settings, as JSON has them."""
    figures: Mapping[str, Any]
    """Those of train_inverse."""
    checks: Sequence[Check]
    sensitivity: Sensitivity
    offsets: Float[Tensor, "pairs numbers"]
    """Of the transforms of held-out pairs, from the identity's."""
    aligned: Sequence[Aligned]
    pushes: Sequence[Push]
    curves: Mapping[str, Points]
    """Training curves by term."""


def gather(
    net: InverseNet,
    stores: Mapping[str, PairStore],
    predicted: Callable[[Pairs], Tensor],
    *,
    figures: Mapping[str, Any],
    checks: Sequence[Check],
    params: Mapping[str, Any],
    curves: Mapping[str, Points],
) -> Contents:
    """Ask a network all that the report tells of it.

    Args:
        net: In evaluation mode, on the CPU.
        stores: The pairs of `train`, `val` and `probe`.
        predicted: Gives the predicted maps of pairs, in [0, 1].
        figures: Of train_inverse.
        checks: Those figures against the gate.
        params: Settings of the stage, as JSON has them.
        curves: Training curves by term.
    """
    known, answers = net.settings, exhibits.sensitivity(net, stores["probe"])
    return Contents(
        title=f"{known.network.name} at tile {known.tile}",
        facts={
            "Network": f"{known.network.name}, {sum(p.numel() for p in net.parameters()):,} parameters",
            "Answers": f"{known.degrees_of_freedom} numbers: {', '.join(_names(known.degrees_of_freedom))}",
            "Tile": f"{known.tile} pixels; counted from {percent(known.occupancy)} of boundary on",
            "Boundaries": f"{known.boundary.operator}, radius {known.boundary.radius}",
            "Pairs": ", ".join(f"{len(store):,} {split}" for split, store in stores.items()),
        },
        params={"train_inverse": params, "inverse_net": known.model_dump(mode="json")},
        figures=figures,
        checks=checks,
        sensitivity=answers,
        offsets=offsets(stores["val"].theta(), known.degrees_of_freedom),
        aligned=exhibits.aligned(net, stores["val"], predicted),
        pushes=exhibits.pushes(net, answers),
        curves=curves,
    )


def render(contents: Contents) -> str:
    """The page."""
    title = html.escape(contents.title)
    # The verdict first, what it rests on next, how it came about last.
    sections = [_head, _gate, _pictures, _explained, _transforms, _run]
    body = "\n".join(section(contents) for section in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}: inverse network report</title><style>{plots.STYLE}{tile_plots.STYLE}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(contents: Contents) -> str:
    """Title, verdict, headline figures."""
    missed = [check for check in contents.checks if not check.passed]
    verdict = "The gate is not passed:" if missed else "The gate is passed:"
    outcome = "no segmentation should be trained with this network." if missed else "this network may serve as a loss."
    figures = contents.figures
    cards = (
        (_number(figures["r2"]), "R2", "Share of the variance of unseen transforms that it explains; 1 is all."),
        (percent(figures["points_back"]), "Gradients that point back", "Of boundaries shifted by 1 to 6 pixels."),
        (
            f"{_number(figures['normal_error_pixels'])} px", "Error across the boundary",
            "At a shift of 3 pixels; median over pixels and tiles.",
        ),
    )  # fmt: skip
    shown = "".join(f"<div><strong>{value}</strong><b>{name}</b><p>{text}</p></div>" for value, name, text in cards)
    return (
        f'<header><p class="over">Inverse network report</p><h1>{html.escape(contents.title)}</h1></header>'
        f'<div class="gate {"failed" if missed else "passed"}"><p><b>{verdict}</b> {outcome}</p></div>'
        f'<div class="cards">{shown}</div>'
    )


def _gate(contents: Contents) -> str:
    """Each figure that is asked."""
    rows = []
    for check in contents.checks:
        value = _number(check.value)
        found = value if check.passed else f'<span class="missed">{value}, missed</span>'
        bound = f"at {'most' if check.at_most else 'least'} {check.threshold:g}"
        name = f'<th scope="row" class="wrap">{html.escape(check.name)}<small>{_ASKED[check.metric]}</small></th>'
        rows.append(f"<tr>{name}<td>{found}<small>{bound}</small></td></tr>")
    return (
        '<h2>The gate</h2><p class="soft">On held-out images.</p><div class="scroll"><table class="table"><tbody>'
        f"{''.join(rows)}</tbody></table></div>"
    )


def _pictures(contents: Contents) -> str:
    """How losses answer to moves, what becomes of pairs, and where gradients push."""
    answers = contents.sensitivity
    moved = figure_two.one_boundary(answers) + figure_two.all_boundaries(answers)
    return moved + tile_strips.pairs(contents.aligned) + tile_strips.gradients(contents.pushes)


def _explained(contents: Contents) -> str:
    """R2 of each number."""
    figures = contents.figures
    numbers = contents.offsets.shape[1]
    rows = [
        (html.escape(name), sharp, f"degraded {percent(degraded)}")
        for name, sharp, degraded in zip(_names(numbers), figures["r2_each"], figures["r2_degraded_each"], strict=True)
    ]
    return (
        '<h2>What it explains</h2><p class="soft">R2 of each number of the transform on unseen pairs: the share of its '
        "variance that the network explains; of sharp maps as bars, of degraded ones beside them. An edge alone does "
        f"not show a shift along itself, so that 100 % is out of reach.</p>{bars(rows)}"
    )


def _transforms(contents: Contents) -> str:
    """What transforms the pairs have."""
    names = _names(contents.offsets.shape[1])
    units = ["half tiles" if "shift" in name else "" for name in names]
    columns = zip(contents.offsets.T, names, units, strict=True)
    shown = "".join(tile_plots.histogram(values, name=name, unit=unit) for values, name, unit in columns)
    return (
        '<h2>The transforms of the pairs</h2><p class="soft">How far each entry of theta is from that of the identity, '
        f"over the {len(contents.offsets):,} pairs of split val, which are made as those of train are. "
        "A peak at 0 is that of the identity pairs.</p>"
        f'<div class="charts">{shown}</div>'
    )


def _run(contents: Contents) -> str:
    """Training, facts and settings."""
    charts = "".join(chart(points, name=name) for name, points in contents.curves.items())
    rows = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
        for name, value in contents.facts.items()
    )
    settings, figures = (
        html.escape(json.dumps(document, indent=2, ensure_ascii=False))
        for document in (contents.params, contents.figures)
    )
    return (
        f'<h2>What was run</h2><div class="charts">{charts or "<p>No curve was recorded.</p>"}</div>'
        f'<table class="facts"><tbody>{rows}</tbody></table>'
        f"<details><summary>All figures</summary><pre>{figures}</pre></details>"
        f"<details><summary>Settings</summary><pre>{settings}</pre></details>"
    )


def _names(numbers: int) -> list[str]:
    """What the numbers of a network mean."""
    return [_PARAMETERS[entry] for entry in ENTRIES[numbers]]


def _number(value: float | None) -> str:
    return "undefined" if value is None or math.isnan(value) else f"{value:.3f}"
