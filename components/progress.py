"""Progress of a stage: a bar on a terminal, one line every few seconds in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
EVERY = 5.0
"""Seconds between two lines in a log."""

log = logging.getLogger("inverseform")


def track(items: Iterable[Item], *, description: str, total: int, done: int = 0, shown: bool = True) -> Iterator[Item]:
    """Pass items on and show how many of `total` went by, `done` of them before this run; of several processes one."""
    if not shown:
        return iter(items)
    # A bar redraws its line, of which a log file would keep every state.
    show = _bar if sys.stderr.isatty() else _lines
    return show(items, description, total, done)


def _bar(items: Iterable[Item], description: str, total: int, done: int) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)


def _lines(items: Iterable[Item], description: str, total: int, done: int) -> Iterator[Item]:
    start = last = time.monotonic()
    begun = done
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= EVERY and done < total:
            last = now
            # By what this run did: a resumed one did not spend any time on the steps before.
            left = (now - start) / (done - begun) * (total - done)
            log.info("%s %d of %d, %d s left", description, done, total, round(left))
    log.info("%s %d of %d in %.1f s", description, done, total, time.monotonic() - start)
