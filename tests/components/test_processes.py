import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from components.processes import processes
from inverseform.settings import InputError
from tests.drawn import ROOT


class Odd(InputError):
    """One that cannot be made again of its message."""

    def __init__(self, path: str, value: int) -> None:
        super().__init__(f"{path}: is {value}")


def square(number: int) -> int:
    return number**2


def who(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise Odd("raw/3.png", number)
    time.sleep(0.01)
    return number


def die(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(number: int) -> int:
    time.sleep(60)
    return number


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_is_done_once(workers):
    with processes(workers) as spread:
        assert sorted(spread(square, range(20))) == [number**2 for number in range(20)]
        # Twice with the same processes.
        assert list(spread(square, [])) == []
        assert sorted(spread(square, [5, 2])) == [4, 25]


def test_one_worker_is_this_process_and_several_are_others():
    with processes(1) as spread:
        assert set(spread(who, range(3))) == {os.getpid()}
    with processes(2) as spread:
        assert os.getpid() not in set(spread(who, range(3)))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_refused_in_a_process_is_refused_here(workers):
    with pytest.raises(InputError, match=r"raw/3\.png: is 3"), processes(workers) as spread:
        list(spread(refuse, range(1000)))


def test_a_process_that_is_killed_is_told():
    with pytest.raises(InputError, match=r"one of 2 processes was ended from outside.*set workers lower"):
        with processes(2) as spread:
            list(spread(die, range(4)))


def test_leaving_by_an_error_does_not_wait_for_what_is_in_work():
    # Tests before this one may have left some, such as the workers of a loader that is not collected yet.
    others, begun = set(multiprocessing.active_children()), time.monotonic()
    with pytest.raises(SystemExit), processes(2) as spread:
        spread(sleep, range(10))
        time.sleep(0.2)
        assert len(set(multiprocessing.active_children()) - others) == 2
        raise SystemExit(143)
    assert time.monotonic() - begun < 20
    assert set(multiprocessing.active_children()) <= others


def test_no_process_outlives_a_killed_stage(tmp_path):
    program = f"""
import os, time
from components.processes import processes
def note(number):
    open({str(tmp_path)!r} + f"/{{os.getpid()}}", "w").close()
    time.sleep(60)
with processes(2) as spread:
    list(spread(note, range(4)))
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    end = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    children = [int(path.name) for path in tmp_path.iterdir()]
    assert len(children) == 2
    parent.kill()
    parent.wait()
    while any(alive(child) for child in children) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(alive(child) for child in children)


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            # One that has ended and whom nobody has asked for is no more than an entry.
            return file.read().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False
