"""Of the containers of a run what needs no engine; the rest is in tests/containers/test_run_local.py."""

import contextlib
import sys
import threading
import time

import docker
import pytest

from pipeline.local_container import Containers, Ended, _lines


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"o", b"ne\ntw", b"o"], ["one", "two"]),
        ([b"\xc3", b"\xa9\r\n"], ["é"]),
        ([b"\xff\n"], ["\ufffd"]),
        ([], []),
    ],
)
def test_output_in_pieces_becomes_lines(chunks, lines):
    assert list(_lines(chunks)) == lines


def test_how_a_container_ended_is_told_in_words():
    assert str(Ended(3, out_of_memory=False)) == "exit status 3"
    assert str(Ended(137, out_of_memory=False)) == "exit status 137 (SIGKILL)"
    assert str(Ended(137, out_of_memory=True)) == "out of memory (exit status 137); --memory gives more"


def test_lines_of_tasks_side_by_side_stay_whole(capsys):
    # A client of an engine that is never asked.
    containers = Containers(docker.DockerClient("http://127.0.0.1:9", version="1.41"), "work", grace=1)
    told = [threading.Thread(target=lambda: [containers.say("task", "x" * 100) for _ in range(50)]) for _ in range(4)]
    for thread in told:
        thread.start()
    for thread in told:
        thread.join()
    assert set(capsys.readouterr().out.splitlines()) == {f"{'task':20} | {'x' * 100}"}


def test_a_signal_that_comes_twice_at_once_is_one_and_later_another(monkeypatch):
    containers = Containers(docker.DockerClient("http://127.0.0.1:9", version="1.41"), "work", grace=9)
    patience = []
    monkeypatch.setattr(Containers, "_stop", lambda _self, _running, seconds: patience.append(seconds))
    for _ in range(2):
        containers.stop(15, None)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    containers.stop(2, None)
    while len(patience) < 2:
        time.sleep(0.01)
    assert patience == [9, 0] and containers.signal == 15


def test_without_a_terminal_a_stopped_task_still_ends_in_peace(monkeypatch):
    containers = Containers(docker.DockerClient("http://127.0.0.1:9", version="1.41"), "work", grace=9)
    told = False
    # What is still to be written is lost with it, which it says when it is closed.
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space left"):
            containers.say("task", "line")
        containers.signal = 1
        containers.say("task", "line")
        told = True
    assert told
