"""The paper's figure 2 for an inverse network, as HTML: how losses answer when a real boundary is moved or swapped."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform import plots, tile_plots
from inverseform.exhibits import LOSSES, Sensitivity
from inverseform.plots import Points, chip, percent
from inverseform.probes import Move
from inverseform.tile_plots import PREDICTED, TARGET, Curve

Colour = tuple[int, int, int]
_LOOKS: dict[str, tuple[str, Colour, str]] = {
    "cross_entropy": ("cross entropy, balanced", (90, 94, 102), "2 4"),
    "euclidean": ("InverseForm, Euclidean", plots.ACCENT, ""),
    "geodesic": ("InverseForm, geodesic", (204, 85, 0), "9 4"),
    "lie": ("InverseForm, Lie", (0, 128, 96), "9 3 2 3"),
}
"""Label, colour and dashes of each loss."""
_MOVES: dict[Move, tuple[str, str]] = {
    "shift": ("It slides", "pixels"),
    "rotation": ("It turns", "degrees"),
    "scale": ("It grows", "by this share of its size"),
    "shear": ("It shears", "tangent of the angle"),
}
"""What happens to the boundary, and what the amount is."""
_DRAWN = 5
"""Pictures of a move."""
EARLY = 3.0
"""Shift, in pixels, by which a loss should not have said all that it has to say."""


class Scaled(NamedTuple):
    """Losses of one tile or the mean of many, each divided by its largest value."""

    values: Float[Tensor, "moves losses"]
    swapped: Float[Tensor, " losses"]
    most: Float[Tensor, " losses"]
    """What they were divided by."""
    quartiles: Float[Tensor, "2 moves losses"] | None = None
    swapped_quartiles: Float[Tensor, "2 losses"] | None = None

    @property
    def top(self) -> float:
        """The largest number to be drawn, at least 1."""
        parts = [part.flatten() for part in (self.quartiles, self.swapped_quartiles) if part is not None]
        return max([1.0, *(float(part.nan_to_num(0).max()) for part in parts)])


def one_boundary(given: Sensitivity) -> str:
    """Losses of the drawn tile, and what it looks like, as it moves."""
    values, swapped = given.values[given.shown], given.swapped[given.shown].mean(dim=0)
    scaled = _scale(values, swapped)
    panels = "".join(_panel(given, move, scaled, _pictures(given, move)) for move in _MOVES)
    others = [
        tile_plots.picture(tile_plots.overlaid(given.moved[0], other), name="the tile and another one")
        for other in given.others
    ]
    swaps = f'<p style="margin:22px 0 0"><b>It is swapped for another one</b></p>{tile_plots.strip(others, wide=True)}'
    return (
        f"<h2>One boundary, moved</h2><p>The paper\u2019s figure 2 for this network. {chip(TARGET)}A real boundary and "
        f"{chip(PREDICTED)}the same moved, as a prediction that is sure of every pixel. Cross entropy counts pixels: "
        "once the lines no longer meet it has said all that it has to say. The distances tell how far they are apart."
        f'</p><p class="soft">Each loss is divided by its largest value for this tile: {_raw(scaled)}. The dots at the '
        f"right are the mean over the boundaries of other tiles that it is swapped for, drawn last.</p>{_legend()}"
        f'<div class="panels">{panels}</div>{swaps if others else ""}'
    )


def all_boundaries(given: Sensitivity) -> str:
    """The same over all tiles, and the raw values."""
    swapped = given.swapped.flatten(0, 1)
    scaled = _scale(given.values.mean(dim=0), swapped.mean(dim=0))
    scaled = scaled._replace(
        quartiles=_quartiles(given.values) / scaled.most, swapped_quartiles=_quartiles(swapped) / scaled.most
    )
    panels = "".join(_panel(given, move, scaled, "") for move in _MOVES)
    return (
        f"<h2>All boundaries, moved</h2><p>The mean over {len(given.values)} unseen tiles. Bands, and the bars of the "
        'swapped ones, reach from the lower to the upper quartile.</p><p class="soft">Each loss is divided by its '
        f"largest mean: {_raw(scaled)}. Between boundaries that have nothing to do with each other there is no "
        "transform to be found, and a network can but guess: the table tells whether they cost more than moved ones."
        f'</p>{_legend()}<div class="panels">{panels}</div>{_summary(given, scaled)}'
        f"<details><summary>Raw values of every move</summary>{_table(given)}</details>"
    )


def _scale(values: Float[Tensor, "moves losses"], swapped: Float[Tensor, " losses"]) -> Scaled:
    # One scale for all moves and the swap: what is dear and what is cheap can be compared from panel to panel.
    most = torch.cat([values, swapped.nan_to_num(0)[None]]).amax(dim=0).clamp(min=torch.finfo(values.dtype).tiny)
    return Scaled(values / most, swapped / most, most)


def _quartiles(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*_"]:
    """Lower and upper quartile over the first axis; nan where there are none."""
    if not len(values):
        return values.new_full((2, *values.shape[1:]), math.nan)
    return torch.quantile(values, torch.tensor([0.25, 0.75]), dim=0)


def _panel(given: Sensitivity, move: Move, scaled: Scaled, above: str) -> str:
    """One move."""
    (heading, unit), columns = _MOVES[move], given.columns(move)
    amounts = [given.moves[column].amount for column in columns]
    curves = []
    for k, name in enumerate(LOSSES):
        points: Points = list(zip(amounts, scaled.values[columns, k].tolist(), strict=True))
        band = spread = None
        if scaled.quartiles is not None and scaled.swapped_quartiles is not None:
            low, high = scaled.quartiles[:, columns, k].tolist()
            band, spread = list(zip(low, high, strict=True)), tuple(scaled.swapped_quartiles[:, k].tolist())
        curves.append(Curve(*_LOOKS[name], points, float(scaled.swapped[k]), band, spread))
    drawn = tile_plots.curves(curves, name=f"{heading}: losses by amount", unit=unit, top=scaled.top)
    return f"<figure><figcaption><b>{heading}</b></figcaption>{above}{drawn}</figure>"


def _pictures(given: Sensitivity, move: Move) -> str:
    """Some amounts of a move, the first and the last among them."""
    columns = given.columns(move)
    places = torch.linspace(0, len(columns) - 1, min(_DRAWN, len(columns))).ceil().long().tolist()
    return tile_plots.strip([
        tile_plots.picture(
            tile_plots.overlaid(given.moved[0], given.moved[columns[place]]), name=f"{_MOVES[move][0]}, amount {place}",
            caption=f"{given.moves[columns[place]].amount:.3g}",
        )
        for place in places
    ])  # fmt: skip


def _summary(given: Sensitivity, scaled: Scaled) -> str:
    """How early each loss has said all about a shift, and whether it knows another boundary from a moved one."""
    columns, rows = given.columns("shift"), []
    amounts = [given.moves[column].amount for column in columns]
    early, last, far = columns[amounts.index(EARLY)], columns[-1], amounts[-1]
    dearest = given.values.amax(dim=1, keepdim=True)
    for k, name in enumerate(LOSSES):
        course, swapped = scaled.values[:, k], scaled.swapped[k]
        dearer = (given.swapped > dearest)[..., k].float().mean().item() if given.swapped.numel() else None
        cells = (
            percent(float(course[early] / course[last])), _figure(float(swapped / course[last])),
            _figure(float(swapped / course.max())), percent(dearer),
        )  # fmt: skip
        rows.append(f'<tr><th scope="row">{_LOOKS[name][0]}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>')
    head = "".join(
        f'<th scope="col" class="wrap">{text}</th>'
        for text in (
            "", f"of its cost at {far:g} px it has at {EARLY:g} px; {percent(EARLY / far)} on a straight line",
            f"swapped, over shifted by {far:g} px", "swapped, over the dearest of all moves",
            "swaps that cost more than every move of their tile",
        )
    )  # fmt: skip
    return (
        f'<div class="scroll"><table class="table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        "</div>"
    )


def _table(given: Sensitivity) -> str:
    """Raw values: the drawn tile, and mean and quartiles of all."""
    swapped = given.swapped.flatten(0, 1)
    rows = [
        (f"{probe.move} {probe.amount:.3g}", given.values[given.shown, n], given.values[:, n])
        for n, probe in enumerate(given.moves)
    ]
    rows.append(("swapped", given.swapped[given.shown].mean(dim=0), swapped))
    lines = []
    for name, own, every in rows:
        low, high = _quartiles(every)
        cells = "".join(
            f"<td>{_figure(a)}</td><td>{_figure(b)}<small>{_figure(c)} to {_figure(d)}</small></td>"
            for a, b, c, d in zip(*(part.tolist() for part in (own, every.mean(dim=0), low, high)), strict=True)
        )
        lines.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    losses = "".join(f'<th scope="col" colspan="2">{_LOOKS[name][0]}</th>' for name in LOSSES)
    kinds = '<th scope="col">drawn tile</th><th scope="col">all, quartiles</th>' * len(LOSSES)
    return (
        f'<div class="scroll"><table class="table"><thead><tr><th></th>{losses}</tr><tr><th></th>{kinds}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _raw(scaled: Scaled) -> str:
    return ", ".join(f"{_LOOKS[name][0]} {value:.3g}" for name, value in zip(LOSSES, scaled.most.tolist(), strict=True))


def _legend() -> str:
    return tile_plots.legend([Curve(*look, [], math.nan) for look in _LOOKS.values()])


def _figure(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "undefined"
