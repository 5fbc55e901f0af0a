"""The comparison as a picture: how far each loss is above cross entropy, with its interval."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.losses.paired import Difference

OURS, OTHERS = "tab:orange", "tab:blue"


class Line(NamedTuple):
    """One line of the picture."""

    words: str
    ours: bool
    mba: Difference
    miou: Difference


def draw(lines: Sequence[Line], path: Path, *, title: str) -> None:
    """Write the picture, the best above; as PNG or SVG, as the name ends."""
    import matplotlib

    # Text stays text, and the same rows give the same file.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "losses", "font.size": 8}):
        _draw(lines, path, title)


def _draw(lines: Sequence[Line], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.24 * len(lines)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, name in zip(axes, ("mba", "miou"), strict=True):
        axis.axvline(0, color="black", linewidth=0.8)
        for place, line in enumerate(lines):
            _dot(axis, place, getattr(line, name), OURS if line.ours else OTHERS)
        axis.set_xlabel(f"{'mBA' if name == 'mba' else 'mIoU'}, points above cross entropy")
        axis.grid(axis="x", linewidth=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(lines)), [line.words for line in lines])
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    for label, line in zip(axes[0].get_yticklabels(), lines, strict=True):
        label.set_color(OURS if line.ours else "black")
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    svg = path.suffix == ".svg"
    figure.savefig(path, dpi=110, metadata={"Date": None} if svg else None)


def _dot(axis, place: int, found: Difference, colour: str) -> None:  # noqa: ANN001 (matplotlib's axes)
    """A dot with its interval; hollow where that is not known, none where nothing is."""
    if found.mean is None:
        return
    if found.low is None or found.high is None:
        axis.plot(found.mean, place, "o", markersize=4, color=colour, markerfacecolor="white")
        return
    axis.plot([found.low, found.high], [place, place], color=colour, linewidth=1.2)
    axis.plot(found.mean, place, "o", markersize=4, color=colour)
