"""The ledger as a table and a figure.

    python -m benchmarks.losses.report --ledger docs/losses.jsonl --into docs/losses.md --figure docs/losses.svg

prints the table, puts it between the two marks of a Markdown file, and draws the figure.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from benchmarks.losses.arms import BALANCED, CROSS_ENTROPY, WEIGHTED
from benchmarks.losses.figure import Line, draw
from benchmarks.losses.ledger import Ledger, Row
from benchmarks.losses.paired import Difference, difference
from inverseform.settings import InputError

BEGIN, END = "<!-- table of benchmarks.losses.report -->", "<!-- end of the table -->"
UNDEFINED = "undefined"
OTHERS = (
    "pixel_accuracy",
    "within_1",
    "within_2",
    "within_3",
    "within_5",
    "f_1",
    "f_2",
    "f_3",
    "apart_mba",
    "apart_miou",
)
HEADS = {
    "mba": "mBA", "miou": "mIoU", "pixel_accuracy": "pixels right", "apart_mba": "mBA, apart",
    "apart_miou": "mIoU, apart", **{f"within_{d}": f"right within {d} px" for d in (1, 2, 3, 5)},
    **{f"f_{d}": f"F at {d} px" for d in (1, 2, 3)},
}  # fmt: skip

FIRST = ("loss", "weight, start", "seeds", "mBA", "above cross entropy", "above boundary cross entropy",
         "above boundary-weighted", "mIoU", "above cross entropy", "s per step")  # fmt: skip


class Entry(NamedTuple):
    """The runs of one loss with its chosen trial."""

    rows: Sequence[Row]

    @property
    def last(self) -> Row:
        """One of them, for what they share."""
        return self.rows[-1]

    def scores(self, name: str) -> dict[int, float]:
        """A score in points, by seed; seeds of which it is undefined are left out."""
        return {row["seed"]: 100 * row[name] for row in self.rows if row[name] is not None}


def entries(rows: Sequence[Row], *, mode: str, split: str, setting: str | None) -> dict[str, Entry]:
    """The losses of one mode, split and setting, the largest mean mBA first.

    Raises:
        InputError: There is none, or several settings to choose from.
    """
    found = [row for row in rows if row["kind"] == "score" and row["mode"] == mode and row["split"] == split]
    known = list(dict.fromkeys(row["setting"] for row in found))
    chosen = [each for each in known if each.startswith(setting or "")]
    if len(chosen) != 1:
        told = f"of the settings {', '.join(known)}" if known else "at all"
        raise InputError(
            f"--setting {setting or 'not given'}: {len(chosen)} of the ledger's fit, which has rows of {mode} on "
            f"{split} {told}; name one of them, or run the comparison first"
        )
    last = {row["loss"]: row["trial"] for row in found if row["setting"] == chosen[0]}
    losses = {
        # A run that was done twice counts once; a trial that was chosen before does not.
        name: Entry(list({row["seed"]: row for row in found if row["loss"] == name and row["trial"] == trial
                          and row["setting"] == chosen[0]}.values()))
        for name, trial in last.items()
    }  # fmt: skip
    return dict(sorted(losses.items(), key=lambda each: -_mean(each[1].scores("mba"))))


def above(losses: Mapping[str, Entry], name: str, reference: str | None, score: str) -> Difference:
    """How much a loss is above another in a score, seed by seed."""
    if reference is None or reference not in losses:
        return Difference(None, None, None, 0)
    return difference(losses[name].scores(score), losses[reference].scores(score))


def balanced(losses: Mapping[str, Entry], name: str) -> str | None:
    """The loss with boundary cross entropy alone that one is held against: that beneath it, or the better one."""
    # `losses` begins with the largest mBA.
    return losses[name].last["beneath"] or next((each for each in losses if each in BALANCED.values()), None)


def table(losses: Mapping[str, Entry]) -> str:
    """Two tables in Markdown: differences in mBA and mIoU, and the means of all other scores."""
    first, second = [_head(*FIRST)], [_head("loss", *(HEADS[name] for name in OTHERS))]
    for name, entry in losses.items():
        references = (CROSS_ENTROPY, balanced(losses, name), WEIGHTED)
        cells = [
            entry.last["words"], _told(entry.last), str(len(entry.rows)), _points(entry, "mba"),
            *(_against(losses, name, other, "mba") for other in references),
            _points(entry, "miou"), _against(losses, name, CROSS_ENTROPY, "miou"),
            f"{fmean(row['seconds_per_step'] for row in entry.rows):.2f}",
        ]  # fmt: skip
        first.append(f"| {' | '.join(cells)} |")
        second.append(f"| {entry.last['words']} | {' | '.join(_points(entry, each) for each in OTHERS)} |")
    return "\n".join([*first, "", *second, "", _caption(losses)])


def trials(rows: Sequence[Row], setting: str) -> str:
    """A table in Markdown of what each weight and start gave on val, with the chosen one marked."""
    chosen = {row["loss"]: row["trial"] for row in rows if row["kind"] == "choice" and row["setting"] == setting}
    found = [row for row in rows if row["kind"] == "trial" and row["setting"] == setting]
    text = [_head("loss", "weight, start", "mBA", "mIoU", "seed")]
    for name in dict.fromkeys(row["loss"] for row in found):
        for row in (each for each in found if each["loss"] == name):
            mark = " (chosen)" if row["trial"] == chosen.get(name) else ""
            scores = (UNDEFINED if row[each] is None else f"{100 * row[each]:.2f}" for each in ("mba", "miou"))
            text.append(f"| {row['words']} | {_told(row)}{mark} | {' | '.join(scores)} | {row['seed']} |")
    return "\n".join(text)


def lines(losses: Mapping[str, Entry]) -> list[Line]:
    """What the figure shows: every loss but cross entropy."""
    return [
        Line(entry.last["words"], entry.last["inverse_net"] is not None,
             *(above(losses, name, CROSS_ENTROPY, score) for score in ("mba", "miou")))
        for name, entry in losses.items() if name != CROSS_ENTROPY
    ]  # fmt: skip


def _told(row: Row) -> str:
    """The trial of a row."""
    trial = row["trial"]
    beta = f", beta {trial['beta']:g}" if trial["beta"] else ""
    return "-" if row["loss"] == CROSS_ENTROPY else f"{trial['weight']:g}, {trial['start']:g}{beta}"


def _head(*columns: str) -> str:
    """The head of a table; the first column and a trial are text, the others numbers."""
    rule = ["---" if column in FIRST[:2] else "--:" for column in columns]
    return f"| {' | '.join(columns)} |\n|{'|'.join(rule)}|"


def _caption(losses: Mapping[str, Entry]) -> str:
    rows = [row for entry in losses.values() for row in entry.rows]
    settings = rows[0]["settings"]
    machines = "; ".join(sorted({f"{row['machine']}, torch {row['torch']}" for row in rows}))
    return (
        f"Points (hundredths); differences are means over seeds with Student's 95% interval, paired by seed. Above "
        f"boundary cross entropy: with InverseForm, above the same without it; else above the better of the two. "
        f"Apart: images whose names begin with {settings['apart']}. Mode {rows[0]['mode']}, {rows[0]['split']}, "
        f"setting {rows[0]['setting']}. {machines}."
    )


def _points(entry: Entry, name: str) -> str:
    found = entry.scores(name)
    if not found:
        return UNDEFINED
    lacking = len(entry.rows) - len(found)
    return f"{fmean(found.values()):.2f}" + (f" ({UNDEFINED} for {lacking} seeds)" if lacking else "")


def _against(losses: Mapping[str, Entry], name: str, reference: str | None, score: str) -> str:
    if name == reference:
        return "-"
    found = above(losses, name, reference, score)
    if found.mean is None:
        return UNDEFINED
    if found.low is None or found.high is None:
        return f"{found.mean:+.2f} (interval {UNDEFINED}: 1 seed)"
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _mean(scores: Mapping[int, float]) -> float:
    """The mean; below all others where it is undefined."""
    return fmean(scores.values()) if scores else -1.0


def put(text: str, path: Path) -> None:
    """Replace what stands between the marks of a file.

    Raises:
        InputError: It has not both.
    """
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{path}: has not the lines {BEGIN!r} and {END!r}; write both where the table is to be")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--mode", default="finetune")
    parser.add_argument("--split", default="test")
    parser.add_argument("--setting", help="the beginning of its fingerprint, where the ledger has rows of several")
    parser.add_argument("--into", type=Path, help="a Markdown file with the marks")
    parser.add_argument("--figure", type=Path, help="a PNG or SVG")
    given = parser.parse_args()
    try:
        rows = Ledger(given.ledger).rows()
        found = entries(rows, mode=given.mode, split=given.split, setting=given.setting)
        setting = next(iter(found.values())).last["setting"]
        text = f"{table(found)}\n\nAll trials, on val:\n\n{trials(rows, setting)}"
        print(text)
        if given.into:
            put(text, given.into)
        if given.figure:
            draw(lines(found), given.figure, title="Losses at boundaries: mean of paired differences, 95% interval")
    except (InputError, OSError) as error:
        sys.exit(f"losses.report: {error}")


if __name__ == "__main__":
    main()
