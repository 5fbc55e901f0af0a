"""The drawings of the report: HTML and SVG that need no script, no font and no picture from elsewhere."""

import csv
import html
import math
from collections.abc import Sequence
from pathlib import Path

from jaxtyping import Int64
from torch import Tensor

from inverseform.settings import InputError

ACCENT = (31, 79, 143)
"""The one colour of the page beside black, grey and the classes' own."""
MOST_CLASSES = 30
"""Rows of a confusion table that can still be read."""

Points = list[tuple[float, float]]
"""Step and value of a curve."""

STYLE = """
:root { --ink: #1b1d21; --soft: #5c626b; --line: #e3e5e9; --paper: #fff; --wash: #f6f7f9; --accent: rgb(31 79 143);
  --warn: #b3361a; color-scheme: light; }
* { box-sizing: border-box; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
body { margin: 0; background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 48px 32px 72px; }
h1 { font-size: 30px; line-height: 1.2; margin: 4px 0 6px; letter-spacing: -.01em; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 56px 0 4px; padding-top: 18px; border-top: 1px solid var(--line); }
p { margin: 0 0 14px; max-width: 70ch; } .soft, figcaption { color: var(--soft); font-size: 14px; }
.over { color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .04em; margin: 0; }
.num { font-variant-numeric: tabular-nums; white-space: nowrap; } .scroll { overflow-x: auto; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 32px; margin: 28px 0 8px; }
.cards strong { display: block; font-size: 42px; line-height: 1.1; font-weight: 600; letter-spacing: -.02em; }
.cards b { display: block; margin: 2px 0 4px; } .cards p { color: var(--soft); font-size: 14px; margin: 0; }
.gate { border-left: 4px solid var(--accent); background: var(--wash); padding: 14px 18px; margin: 28px 0 0; }
.gate.failed { border-color: var(--warn); } .gate p { margin: 0; } .gate.failed b, .missed { color: var(--warn); }
table { border-collapse: collapse; font-size: 14px; } th { font-weight: 500; text-align: left; }
.bars { list-style: none; padding: 0; margin: 12px 0 0; font-size: 14px; }
.bars li { display: grid; grid-template: "name bar share remark" auto / 11em 1fr 4.2em 9.5em; gap: 0 16px;
  align-items: center; padding: 5px 0; border-bottom: 1px solid var(--line); }
.bars .name { grid-area: name; overflow-wrap: anywhere; min-width: 0; } .bars .num { text-align: right; }
.bars .num { grid-area: share; } .bars .remark { grid-area: remark; }
.bar { grid-area: bar; background: var(--wash); } .bar i { display: block; height: 12px; background: var(--accent); }
.chip { display: inline-block; width: 12px; height: 12px; margin-right: 8px; border: 1px solid rgb(0 0 0 / .25);
  vertical-align: -1px; flex: none; }
.heat { margin-top: 12px; } .heat td { width: 52px; min-width: 40px; height: 34px; text-align: center;
  border: 1px solid var(--paper); font-size: 13px; } .heat tbody th { padding-right: 12px; white-space: nowrap;
  position: sticky; left: 0; background: var(--paper); max-width: 12em; overflow: hidden; text-overflow: ellipsis; }
.heat thead th { font-size: 12px; vertical-align: bottom; padding: 0 2px 4px; text-align: center; }
.heat thead th span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 110px; overflow: hidden;
  white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 24px; margin-top: 14px; }
.charts figure { margin: 0; } .charts svg { display: block; width: 100%; height: auto; }
.charts text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 14px; list-style: none; padding: 0;
  margin: 0 0 10px; }
.legend li { display: flex; align-items: center; overflow-wrap: anywhere; }
.sample { margin: 26px 0 0; break-inside: avoid; }
.strip { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; }
.strip div { font-size: 12px; color: var(--soft); } .strip img { width: 100%; display: block; }
figcaption { margin-top: 6px; overflow-wrap: anywhere; }
.facts th { padding: 5px 24px 5px 0; vertical-align: top; color: var(--soft); white-space: nowrap; }
.facts td { padding: 5px 0; overflow-wrap: anywhere; } code, pre { font: 13px/1.5 ui-monospace, Menlo, monospace; }
pre { background: var(--wash); padding: 14px 16px; overflow-x: auto; } summary { cursor: pointer; margin-top: 14px; }
@media (max-width: 640px) { main { padding: 28px 16px 48px; } .strip { grid-template-columns: repeat(2, 1fr); }
  h1 { font-size: 24px; } h2 { margin-top: 40px; } .facts tr { display: block; padding: 4px 0; }
  .facts th, .facts td { display: block; padding: 0; }
  .heat tbody th { max-width: 7em; }
  .bars li { grid-template: "name share remark" auto "bar bar bar" auto / 1fr auto auto; gap: 3px 12px; } }
@media print { main { padding: 0; max-width: none; } body { font-size: 11pt; } h2 { break-after: avoid; }
  pre { white-space: pre-wrap; } .charts figure, .bars li, .heat, .facts tr { break-inside: avoid; }
  .scroll { overflow: visible; } }
"""


def read_curves(path: Path) -> dict[str, Points]:
    """The training curves by term: a column `step`, and one for each term, whose cells may be empty.

    Raises:
        InputError: The file is not such a table.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, strict=True):
                step = float(row.pop("step"))
                # A term that is not measured at every step has empty cells; a curve has only what was measured.
                for name, cell in row.items():
                    if cell:
                        curves.setdefault(name, []).append((step, float(cell)))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: not a table with a column step and numbers in it ({error!r}); run `dvc repro train_segmentation`"
        ) from error
    return curves


def percent(value: float | None) -> str:
    """A share as a reader takes it in; what has no value says so.

    >>> percent(0.5), percent(None)
    ('50.0 %', 'undefined')
    """
    return "undefined" if value is None else f"{100 * value:.1f} %"


def chip(colour: tuple[int, int, int]) -> str:
    """A small square of a class's colour."""
    red, green, blue = colour
    return f'<span class="chip" style="background:rgb({red} {green} {blue})"></span>'


def bars(rows: Sequence[tuple[str, float | None, str]]) -> str:
    """A list of bars: for each row its heading (HTML), a share up to 1, and a remark (text).

    A share below 0 has no bar.
    """
    lines = []
    for heading, share, remark in rows:
        bar = "" if share is None else f'<i style="width:{100 * max(share, 0.0):.1f}%"></i>'
        lines.append(
            f'<li><span class="name">{heading}</span><span class="bar">{bar}</span><span class="num">{percent(share)}'
            f'</span><span class="num soft remark">{html.escape(remark)}</span></li>'
        )
    return f'<ul class="bars">{"".join(lines)}</ul>'


def heat(counts: Int64[Tensor, "classes classes"], *, classes: Sequence[str]) -> str:
    """The confusion table: each row says what became of the pixels of one class, in per cent of them.

    Of more than MOST_CLASSES classes, those with the most pixels are shown.
    """
    # The commonest are chosen, and then shown in the order of their ids, as everywhere else.
    shown = sorted(counts.sum(1).argsort(descending=True, stable=True)[:MOST_CLASSES].tolist())
    names = [html.escape(classes[int(index)]) for index in shown]
    head = "".join(f'<th scope="col"><span>{name}</span></th>' for name in names)
    rows = "".join(
        f'<tr><th scope="row">{name}</th>{_cells(counts[index], shown)}</tr>'
        for name, index in zip(names, shown, strict=True)
    )
    table = f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    left_out = len(counts) - len(shown)
    note = f'<p class="soft">{left_out} rarer classes are left out here.</p>' if left_out else ""
    return f'<div class="scroll">{table}</div>{note}'


def chart(points: Points, *, name: str) -> str:
    """A curve over training steps, as an SVG figure; values that are not finite are left out."""
    points = thinned([point for point in points if all(map(math.isfinite, point))])
    if not points:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    # Each curve has a scale of its own: terms of a loss differ by orders of magnitude.
    low, high = min(values), max(values)
    places = [
        f"{_place(step, steps[0], steps[-1], 44.0, 312.0):.1f},{_place(value, high, low, 12.0, 118.0):.1f}"
        for step, value in points
    ]
    x, y = places[-1].split(",")
    colour = "rgb({},{},{})".format(*ACCENT)
    label = html.escape(name)
    return (
        f"<figure><figcaption><b>{label}</b>, {values[-1]:.4g} at the end</figcaption>"
        f'<svg viewBox="0 0 320 140" role="img" aria-label="{label} over training steps">'
        '<path d="M44 12H312M44 65H312M44 118H312" stroke="#e3e5e9"/>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.6"'
        f' stroke-linejoin="round"/><circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
        f'<text x="38" y="16" text-anchor="end">{high:.3g}</text>'
        f'<text x="38" y="122" text-anchor="end">{low:.3g}</text><text x="44" y="135">step {steps[0]:g}</text>'
        f'<text x="312" y="135" text-anchor="end">{steps[-1]:g}</text></svg></figure>'
    )


def thinned(points: Points, *, most: int = 300) -> list[tuple[float, float]]:
    """At most so many points: each the mean of its neighbours, so that a long curve keeps its course."""
    width = math.ceil(len(points) / most) or 1
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _place(value: float, first: float, last: float, start: float, end: float) -> float:
    """Map a value between `first` and `last` to a coordinate between `start` and `end`."""
    return (start + end) / 2 if first == last else start + (value - first) / (last - first) * (end - start)


def _cells(row: Int64[Tensor, " classes"], shown: Sequence[int]) -> str:
    """The cells of one actual class; a class without pixels has empty ones."""
    total = int(row.sum())
    if not total:
        return '<td class="soft">-</td>' * len(shown)
    red, green, blue = ACCENT
    cells = []
    for share in (row[shown] / total).tolist():
        # Dark letters cannot be read on the dark half of the scale.
        ink = "#fff" if share > 0.5 else "inherit"
        text = f"{100 * share:.0f}" if share >= 0.005 else "<1" if share else ""
        cells.append(
            f'<td class="num" style="background:rgb({red} {green} {blue} / {share:.3f});color:{ink}">'
            f"{html.escape(text)}</td>"
        )
    return "".join(cells)
