import logging
import os
import pty
import re
import select
import subprocess
import sys

import pytest

from components import progress
from components.progress import track
from tests.drawn import ROOT


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves: seconds are what the lines are spaced by, and a test has none to spare."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def lines(caplog):
    return [record.getMessage() for record in caplog.records]


def pass_by(clock, count, seconds, **keywords):
    for item in track(range(count), description="steps", **keywords):
        clock.now += seconds
        yield item


def test_items_pass_unchanged_and_in_order_one_at_a_time(caplog):
    taken = []
    items = [object() for _ in range(5)]

    def source():
        for item in items:
            taken.append(item)
            yield item

    for number, item in enumerate(track(source(), description="steps", total=5)):
        assert item is items[number] and len(taken) == number + 1


def test_a_quick_run_writes_one_line_at_its_end(caplog):
    with caplog.at_level(logging.INFO, "inverseform"):
        list(track(range(1000), description="steps", total=1000))
    (line,) = lines(caplog)
    assert re.fullmatch(r"steps 1000 of 1000 in \d\.\d s", line)


def test_a_slow_run_writes_a_line_every_few_seconds_and_one_at_its_end(caplog, clock):
    with caplog.at_level(logging.INFO, "inverseform"):
        assert list(pass_by(clock, 100, 1.0, total=100)) == list(range(100))
    found = lines(caplog)
    assert found[0] == "steps 5 of 100, 95 s left"
    assert found[-1] == "steps 100 of 100 in 100.0 s"
    assert len(found) == 100 / progress.EVERY


def test_what_was_done_before_counts_as_done_and_not_as_time(caplog, clock):
    with caplog.at_level(logging.INFO, "inverseform"):
        list(pass_by(clock, 10, 6.0, total=100, done=90))
    assert lines(caplog)[0] == "steps 91 of 100, 54 s left"
    assert lines(caplog)[-1] == "steps 100 of 100 in 60.0 s"


def test_nothing_to_do_is_no_error(caplog):
    with caplog.at_level(logging.INFO, "inverseform"):
        assert list(track([], description="steps", total=0)) == []
    assert lines(caplog) == ["steps 0 of 0 in 0.0 s"]


def test_an_error_of_the_source_is_not_swallowed():
    def source():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(track(source(), description="steps", total=3))


BAR = """
from components.progress import track
assert list(track(range(3), description='steps', total=5, done=2)) == [0, 1, 2]
for item in track(range(9), description='cut short', total=9):
    break
"""


def test_a_terminal_gets_a_bar():
    master, slave = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", BAR], env=environment, stderr=slave, stdout=slave)
    os.close(slave)
    seen = b""
    # A pseudo-terminal whose other end is closed reads as an error, on Linux.
    while select.select([master], [], [], 30)[0]:
        try:
            seen += os.read(master, 1 << 16)
        except OSError:
            break
    os.close(master)
    assert process.wait(30) == 0, seen.decode()
    assert "steps" in seen.decode() and "5/5" in seen.decode() and "Traceback" not in seen.decode()


def test_of_several_processes_one_tells(clock, caplog):
    with caplog.at_level("INFO"):
        assert list(pass_by(clock, 3, 9.0, total=3, shown=False)) == [0, 1, 2]
    assert lines(caplog) == []
