"""What a data set holds, and whether ingest would take it: `python -m components.ingest --check`.

Nothing is written but a picture: a grid of samples with their labels and boundaries. Leaves with 0 where ingest would
take the data set and it is as large as it is published, else with 2.
"""

import argparse
import logging
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from components.contact_sheet import Cell, contact_sheet
from components.ingest import IngestParams
from components.progress import track
from inverseform import params
from inverseform.data import Dataset, open_dataset
from inverseform.data.boundary_bits import BOUNDARY, boundary_bits
from inverseform.data.layout import LayoutError
from inverseform.data.survey import SplitSurvey, Survey, spread, survey
from inverseform.location import locate
from inverseform.settings import InputError

GRID = Path("reports/ingest/grid.png")
"""Where the picture goes by default."""
SAMPLES = 12
"""On the picture."""
_WIDE = 120
"""Characters of a line in a log, which has no width of its own."""

Item = TypeVar("Item")


def main(argv: Sequence[str] | None = None) -> None:
    """The command line; leaves with 0 or 2."""
    parser = argparse.ArgumentParser(prog="python -m components.ingest --check", description=__doc__)
    parser.add_argument("--check", action="store_true", help="look at the data set, and write nothing but a picture")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings (default: %(default)s)")
    parser.add_argument("--overrides", default="{}", metavar="JSON", help="settings to change, of ingest's section")
    parser.add_argument("--raw", default="data/raw", help="the data set, a path or a URL (default: %(default)s)")
    for name in ("--samples", "--checkpoints"):
        parser.add_argument(name, type=Path, help="taken as ingest takes it, and left alone")
    parser.add_argument("--grid", type=Path, default=GRID, help="the picture (default: %(default)s)")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        settings = params.load_section(given.params, "ingest", IngestParams, overrides=given.overrides)
        found = check(settings, raw=locate(given.raw), grid=given.grid)
    except LayoutError as error:
        sys.exit(_refused(error.problems))
    except InputError as error:
        sys.exit(_refused([str(error)]))
    except OSError as error:
        sys.exit(_refused([f"{error.filename or 'a file'}: {error.strerror or error}"]))
    show(found, workers=settings.workers)
    print(f"grid       {given.grid}")
    if found.problems:
        sys.exit(_refused(found.problems))


def check(settings: IngestParams, *, raw: Path, grid: Path) -> Survey:
    """Look at all of a data set, and draw some of it.

    Args:
        settings: Of ingest.
        raw: Where the data set is.
        grid: Where the picture goes.

    Raises:
        InputError: It cannot be opened at all; a LayoutError has all that is missing.
    """
    dataset = open_dataset(settings.data, raw)

    def watch(items: Iterable[Item], split: str, total: int) -> Iterable[Item]:
        return track(items, description=f"check {split}", total=total)

    found = survey(dataset, settings.boundary, workers=settings.workers, watch=watch)
    draw(dataset, settings, grid)
    return found


def draw(dataset: Dataset, settings: IngestParams, grid: Path) -> None:
    """Write a picture of some samples, evenly spread over the splits; damaged ones are left out."""
    cells = []
    for split, source in spread(dataset, SAMPLES):
        try:
            reading = source.read()
        except (InputError, OSError):
            # The survey has told it.
            continue
        edge = boundary_bits(reading.labels, settings.boundary) & BOUNDARY > 0
        cells.append(Cell(f"{split}  {source.name}", reading.image, reading.labels, edge))
    grid.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(cells, dataset.classes, dataset.colours).save(grid, format="PNG")


def show(found: Survey, *, workers: int) -> None:
    """Print what was found as tables."""
    from rich.console import Console

    # What is no terminal has 80 characters by default, in which names of classes are cut.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDE)
    console.print(_splits(found))
    console.print(_classes(found))
    if found.dataset.tasks:
        console.print(_tasks(found))
    for remark in found.remarks:
        console.print(f"note       {remark}", markup=False, highlight=False, soft_wrap=True)
    if (estimate := found.estimate) is not None:
        print(
            f"ingest     about {_time(estimate.seconds)} with {workers} workers and {estimate.bytes / 2**20:.3g} MiB, "
            f"as {estimate.measured} samples made for trial tell"
        )


def _splits(found: Survey):  # noqa: ANN202 (rich is imported where it is needed)
    from rich.table import Table

    table = Table(
        "split",
        "images",
        "published",
        "height",
        "width",
        "sizes",
        "void",
        "predictions",
        "damaged",
        title=found.dataset.name,
        title_justify="left",
    )
    for split, each in found.splits.items():
        heights, widths = (sorted((size[axis], n) for size, n in each.sizes.items()) for axis in (0, 1))
        published = "" if each.expected is None else str(each.expected)
        table.add_row(
            split, str(each.count), published, _range(heights), _range(widths), str(len(each.sizes)),
            _percent(each.void), str(each.predicted), str(each.damaged),
        )  # fmt: skip
    return table


def _classes(found: Survey):  # noqa: ANN202
    """Share of the known pixels, and how many images have the class."""
    from rich.table import Table

    table = Table("label", "class", *(f"{split}: pixels, images" for split in found.splits))
    for number, name in enumerate(found.dataset.classes):
        table.add_row(str(number), name, *(_share(each, number) for each in found.splits.values()))
    return table


def _tasks(found: Survey):  # noqa: ANN202
    from rich.table import Table

    table = Table("task", *(f"{split}: images, known, range" for split in found.splits))
    for task in found.dataset.tasks:
        cells = []
        for each in found.splits.values():
            got = each.tasks.get(task)
            cells.append(
                "none" if got is None
                else f"{got.images}, {_percent(got.known / got.images)}, {got.least:.4g} to {got.most:.4g}"
            )  # fmt: skip
        table.add_row(task, *cells)
    return table


def _share(split: SplitSurvey, number: int) -> str:
    known = int(split.pixels[:255].sum())
    if not split.images[number]:
        return "never"
    return f"{_percent(int(split.pixels[number]) / known)}, {split.images[number]}"


def _range(lengths: list[tuple[int, int]]) -> str:
    """Least, median and most of some lengths with their numbers; one number if all are the same."""
    if not lengths:
        return ""
    half, total = sum(count for _, count in lengths) / 2, 0
    middle = next(length for length, count in lengths if (total := total + count) >= half)
    least, most = lengths[0][0], lengths[-1][0]
    return str(least) if least == most else f"{least} / {middle} / {most}"


def _percent(share: float) -> str:
    return "" if math.isnan(share) else f"{100 * share:.3g} %"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.2g} s"
        if seconds < 100
        else f"{seconds / 60:.3g} min"
        if seconds < 6000
        else f"{seconds / 3600:.3g} h"
    )


def _refused(problems: Sequence[str]) -> int:
    """Print all that is wrong; the exit status."""
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print("1 problem" if len(problems) == 1 else f"{len(problems)} problems", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
