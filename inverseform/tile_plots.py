"""The drawings of the report on an inverse network: tiles laid over each other, gradients, curves, histograms."""

import base64
import html
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from inverseform import overlay
from inverseform.overlay import Colour
from inverseform.plots import ACCENT, Points

TARGET = ACCENT
"""Colour of a true boundary; where a prediction lies on it, the two multiply to nearly black."""
PREDICTED = (235, 120, 20)
"""Colour of the boundary that is compared with it."""
RISE, FALL = (196, 30, 40), (20, 90, 200)
"""Colours of what should become more and less likely."""

STYLE = """
.tiles { display: grid; grid-template-columns: repeat(var(--n), 1fr); gap: 8px; margin: 6px 0; max-width: 62em; }
.tiles div { font-size: 12px; color: var(--soft); min-width: 0; }
.tiles img { width: 100%; display: block; image-rendering: pixelated; border: 1px solid var(--line); }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 28px 40px;
  margin-top: 14px; } .panels figure { margin: 0; min-width: 0; break-inside: avoid; } .panels svg { display: block;
  width: 100%; height: auto; } .panels text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.panels figcaption { margin: 0 0 4px; color: var(--ink); }
.table { font-variant-numeric: tabular-nums; margin-top: 10px; } .table th, .table td { padding: 4px 18px 4px 0;
  border-bottom: 1px solid var(--line); white-space: nowrap; } .table td { text-align: right; }
.table small { display: block; color: var(--soft); font-size: 11px; }
.table .wrap { white-space: normal; min-width: 10em; } .table thead th { text-align: right; vertical-align: bottom; }
@media (max-width: 640px) { .tiles.wide { grid-template-columns: repeat(2, 1fr); } }
"""
_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 420.0, 34.0, 322.0, 10.0, 196.0
_APART = 352.0


class Curve(NamedTuple):
    """A curve over amounts of a move, and a value that stands apart from them, at the right."""

    label: str
    colour: Colour
    dash: str
    """Of its line, as SVG has it, so that curves differ in print as well."""
    points: Points
    apart: float
    band: list[tuple[float, float]] | None = None
    """Lower and upper quartile at each point."""
    spread: tuple[float, float] | None = None
    """The same of the value apart."""


def overlaid(
    target: Float[Tensor, "side side"], predicted: Float[Tensor, "side side"]
) -> UInt8[np.ndarray, "side side 3"]:
    """Two maps in [0, 1] on white, as two inks on one paper."""
    paper = torch.ones(*target.shape, 3)
    for ink, colour in ((_stepped(target), TARGET), (_stepped(predicted), PREDICTED)):
        paper = paper * (1 - ink[..., None] * (1 - torch.tensor(colour) / 255))
    return _bytes(paper)


def signed(force: Float[Tensor, "side side"], target: Float[Tensor, "side side"]) -> UInt8[np.ndarray, "side side 3"]:
    """A field on a map in pale grey: red above 0, blue below, each as dark as it is large."""
    paper = (1 - 0.22 * target)[..., None]
    # The few largest pixels would leave all the others white.
    most = torch.quantile(force.abs().flatten(), 0.995).clamp(min=torch.finfo(force.dtype).tiny)
    share = _stepped((force / most).clamp(-1, 1))[..., None]
    for part, colour in ((share.clamp(min=0), RISE), ((-share).clamp(min=0), FALL)):
        paper = paper * (1 - part) + part * torch.tensor(colour) / 255
    return _bytes(paper)


def picture(pixels: UInt8[np.ndarray, "rows columns 3"], *, name: str, caption: str = "") -> str:
    """A picture that is a part of the page; `caption` is HTML."""
    data = base64.b64encode(overlay.png(pixels)).decode()
    return f'<div><img alt="{html.escape(name)}" src="data:image/png;base64,{data}">{caption}</div>'


def strip(pictures: Sequence[str], *, wide: bool = False) -> str:
    """Pictures in one line; wide ones in several where the screen is narrow."""
    return f'<div class="tiles{" wide" if wide else ""}" style="--n:{len(pictures)}">{"".join(pictures)}</div>'


def curves(given: Sequence[Curve], *, name: str, unit: str, top: float) -> str:
    """Curves on a scale from 0 to `top`, as SVG; what stands apart has a place at the right."""
    last = given[0].points[-1][0]
    bands = "".join(_band(c, last, top) for c in given if c.band)
    lines = "".join(_line(c, last, top) for c in given)
    marks = "".join(_apart(c, place, top) for place, c in enumerate(given))
    amounts = [amount for amount, _ in given[0].points]
    shown = amounts if len(amounts) <= 6 else [*amounts[:-1:3], amounts[-1]]
    ticks = "".join(
        f'<text x="{_x(amount, last):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{amount:.3g}</text>'
        for amount in shown
    )
    rules = "".join(
        f'<path d="M{_LEFT} {_y(y, top):.1f}H{_WIDTH}" stroke="#e3e5e9"/><text x="{_LEFT - 6}" '
        f'y="{_y(y, top) + 4:.1f}" text-anchor="end">{y:g}</text>'
        for y in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {_BOTTOM + 34:g}" role="img" aria-label="{html.escape(name)}">{rules}{bands}'
        f'{lines}{marks}{ticks}<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 31}" text-anchor="middle">'
        f'{html.escape(unit)}</text><text x="{(_APART + _WIDTH) / 2}" y="{_BOTTOM + 16}" text-anchor="middle">'
        "swapped</text></svg>"
    )


def histogram(values: Float[Tensor, " count"], *, name: str, unit: str, bins: int = 41) -> str:
    """How often values occur, as an SVG figure; `name` and `unit` are text."""
    # The same distance to both sides of 0, so that what is not symmetric is seen to be so.
    reach = float(values.abs().max()) or 1.0
    counts = torch.histc(values.float(), bins, -reach, reach)
    width, tallest = 280 / bins, float(counts.max())
    columns = "".join(
        f"M{20 + place * width:.2f} 96v{-80 * count / tallest:.2f}h{width:.2f}V96"
        for place, count in enumerate(counts.tolist())
        if count
    )
    label = html.escape(name)
    return (
        f"<figure><figcaption><b>{label}</b>, mean {values.mean():.3f}, spread {values.std(correction=0):.3f}"
        f'</figcaption><svg viewBox="0 0 320 116" role="img" aria-label="{label}: how often each value occurs">'
        f'<path d="{columns}" fill="rgb{ACCENT}"/><path d="M20 96H300M160 96v5" stroke="#5c626b"/>'
        f'<text x="20" y="112">{-reach:.2f}</text><text x="160" y="112" text-anchor="middle">0 {html.escape(unit)}'
        f'</text><text x="300" y="112" text-anchor="end">{reach:.2f}</text></svg></figure>'
    )


def legend(entries: Sequence[Curve]) -> str:
    """What is which curve."""
    items = "".join(
        f'<li><svg width="34" height="12" style="margin-right:8px;flex:none"><path d="M0 6H34" {_stroke(entry)}/></svg>'
        f"{html.escape(entry.label)}</li>"
        for entry in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _line(curve: Curve, last: float, top: float) -> str:
    points = " ".join(f"{_x(x, last):.1f},{_y(y, top):.1f}" for x, y in curve.points if math.isfinite(y))
    return f'<polyline points="{points}" fill="none" stroke-linejoin="round" {_stroke(curve)}/>'


def _band(curve: Curve, last: float, top: float) -> str:
    """Between the quartiles."""
    sides = list(zip(curve.points, curve.band or [], strict=True))
    there = [f"{_x(x, last):.1f},{_y(low, top):.1f}" for (x, _), (low, _) in sides]
    back = [f"{_x(x, last):.1f},{_y(high, top):.1f}" for (x, _), (_, high) in reversed(sides)]
    return f'<polygon points="{" ".join([*there, *back])}" fill="rgb{curve.colour}" fill-opacity=".11"/>'


def _apart(curve: Curve, place: int, top: float) -> str:
    if not math.isfinite(curve.apart):
        return ""
    x, colour = _APART + 6 + 16 * place, f"rgb{curve.colour}"
    bar = ""
    if curve.spread:
        low, high = (_y(value, top) for value in curve.spread)
        bar = f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-opacity=".4" stroke-width="4"/>'
    return f'{bar}<circle cx="{x:.1f}" cy="{_y(curve.apart, top):.1f}" r="4" fill="{colour}"/>'


def _stroke(curve: Curve) -> str:
    return f'stroke="rgb{curve.colour}" stroke-width="2" stroke-dasharray="{curve.dash}"'


def _x(amount: float, last: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * amount / last


def _y(value: float, top: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value / top


def _stepped(values: Float[Tensor, "side side"]) -> Float[Tensor, "side side"]:
    """Rounded to steps of 1/12: no eye sees them, and a picture takes a third of the room."""
    return (values * 12).round() / 12


def _bytes(paper: Float[Tensor, "side side 3"]) -> UInt8[np.ndarray, "side side 3"]:
    return paper.mul(255).round().byte().numpy()
