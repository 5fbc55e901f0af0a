"""Figures with their intervals, as text, as bars and as lines; all HTML and SVG."""

import html
from collections.abc import Sequence
from typing import NamedTuple

from inverseform.evaluation.figures import Estimate
from inverseform.plots import percent

_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 348.0, 12.0, 200.0


class Line(NamedTuple):
    """Points (x, share) of a line, by its name."""

    name: str
    points: Sequence[tuple[float, Estimate]]
    dashed: bool = False
    """Told from another by more than its colour."""


def interval(estimate: Estimate) -> str:
    """The interval of a share in words; nothing where there is none.

    >>> interval(Estimate(0.5, 0.45, 0.55)), interval(Estimate(0.5))
    ('45.0 to 55.0 %', '')
    """
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f} %"


def bars(rows: Sequence[tuple[str, Estimate]]) -> str:
    """A list of bars with their intervals on them: of each its heading (HTML) and its share."""
    lines = []
    for heading, estimate in rows:
        bar = "" if estimate.value is None else f'<i style="width:{100 * estimate.value:.1f}%"></i>'
        if estimate.low is not None and estimate.high is not None:
            bar += f'<u style="left:{100 * estimate.low:.1f}%;width:{100 * (estimate.high - estimate.low):.1f}%"></u>'
        lines.append(
            f'<li><span class="name">{heading}</span><span class="bar">{bar}</span>'
            f'<span class="num">{percent(estimate.value)}</span>'
            f'<span class="num soft remark">{interval(estimate)}</span></li>'
        )
    return f'<ul class="bars">{"".join(lines)}</ul>'


def lines(shown: Sequence[Line], *, label: str, ticks: Sequence[tuple[float, str]], low: float, below: str = "") -> str:
    """Shares over a number, each line with the band of its intervals; the first is drawn strongest.

    Args:
        shown: Lines over the same numbers.
        label: What it shows, for those who do not see it; also stands below.
        ticks: Places on the axis from left to right, and what is written there.
        low: Share at the lower edge; the upper one is 1.
        below: SVG that lies under the lines, in the same coordinates.
    """
    first, last = ticks[0][0], ticks[-1][0]
    steps = [low + (1 - low) * part / 4 for part in range(5)]
    axis = "".join(
        f'<path d="M{_LEFT:g} {_y(step, low):.1f}H{_RIGHT:g}" stroke="#e3e5e9"/>'
        f'<text x="{_LEFT - 6:g}" y="{_y(step, low) + 4:.1f}" text-anchor="end">{100 * step:.0f} %</text>'
        for step in steps
    ) + "".join(
        f'<text x="{_x(at, first, last):.1f}" y="{_BOTTOM + 17:g}" text-anchor="middle">{text}</text>'
        for at, text in ticks
    )
    drawn = "".join(_line(line, first, last, low) for line in reversed(shown))
    names = "; ".join(
        f"{html.escape(line.name)}{' (dashed)' if line.dashed else ''}" for line in shown if len(shown) > 1
    )
    caption = f"<figcaption>{html.escape(label)}{': ' if names else ''}{names}</figcaption>"
    return (
        f'<figure><svg viewBox="0 0 372 224" role="img" aria-label="{html.escape(label)}">{below}{axis}{drawn}</svg>'
        f"{caption}</figure>"
    )


def diagonal() -> str:
    """From the lower left to the upper right corner, under the lines."""
    return f'<path d="M{_LEFT:g} {_BOTTOM:g}L{_RIGHT:g} {_TOP:g}" stroke="#9aa0a8" stroke-dasharray="3 4"/>'


def columns(shares: Sequence[float]) -> str:
    """Shares as columns over the whole width, under the lines."""
    width = (_RIGHT - _LEFT) / max(1, len(shares))
    return "".join(
        f'<rect x="{_LEFT + width * index + 1:.1f}" y="{_y(share, 0.0):.1f}" width="{width - 2:.1f}" '
        f'height="{_BOTTOM - _y(share, 0.0):.1f}" fill="#dde2ea"/>'
        for index, share in enumerate(shares)
    )


def change(estimate: Estimate, *, widest: float, lower_is_better: bool = False) -> str:
    """A difference as a point with its interval beside a line at 0; `widest` is at either edge."""
    if estimate.value is None:
        return ""

    def place(value: float) -> float:
        return 50 + 46 * max(-1.0, min(1.0, value / widest if widest else 0.0))

    colour = {"better": "var(--accent)", "worse": "var(--warn)"}.get(verdict(estimate, lower_is_better), "#767c86")
    ends = ""
    if estimate.low is not None and estimate.high is not None:
        ends = f'<path d="M{place(estimate.low):.1f} 7H{place(estimate.high):.1f}" stroke="{colour}" stroke-width="2"/>'
    return (
        f'<svg viewBox="0 0 100 14" aria-hidden="true"><path d="M50 0V14" stroke="#9aa0a8"/>{ends}'
        f'<circle cx="{place(estimate.value):.1f}" cy="7" r="3.5" fill="{colour}"/></svg>'
    )


def verdict(estimate: Estimate, lower_is_better: bool = False) -> str:
    """Whether a difference is one: its interval lies on one side of 0.

    >>> verdict(Estimate(0.02, 0.01, 0.03)), verdict(Estimate(0.02, -0.01, 0.03))
    ('better', 'not clear')
    """
    if estimate.low is None or estimate.high is None or estimate.low <= 0 <= estimate.high:
        return "not clear"
    return "better" if (estimate.low > 0) != lower_is_better else "worse"


def _line(line: Line, first: float, last: float, low: float) -> str:
    """One line and the band around it; where a share has no value there is a gap, and no point."""
    found = [(at, estimate) for at, estimate in line.points if estimate.value is not None]
    if not found:
        return ""
    colour = "#767c86" if line.dashed else "rgb(31,79,143)"
    ends = [(_x(at, first, last), each.low, each.high) for at, each in found if None not in (each.low, each.high)]
    upper = [f"{x:.1f},{_y(high or 0.0, low):.1f}" for x, _, high in ends]
    lower = [f"{x:.1f},{_y(least or 0.0, low):.1f}" for x, least, _ in reversed(ends)]
    band = f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" fill-opacity=".14"/>' if ends else ""
    places = [(_x(at, first, last), _y(each.value or 0.0, low)) for at, each in found]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in places)
    return f'{band}<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>{dots}'


def _x(value: float, first: float, last: float) -> float:
    return _LEFT + (value - first) / (last - first) * (_RIGHT - _LEFT)


def _y(share: float, low: float) -> float:
    return _BOTTOM - max(0.0, min(1.0, (share - low) / (1 - low))) * (_BOTTOM - _TOP)
