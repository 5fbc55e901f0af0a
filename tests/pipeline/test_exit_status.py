"""How a command leaves, whatever it raises, and when it is ended from outside."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline import InputError, exit_status
from pipeline.endpoint import LostContact
from tests import foreground

ROOT = Path(__file__).resolve().parents[2]


def told(error):
    """An exception that says more than it began with."""
    error.add_note("whether it arrived is not known")
    return error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("--raw is wrong"), 2, "error: --raw is wrong\n"),
        (LostContact("gone"), 3, "no contact: gone\n"),
        (FileNotFoundError(2, "No such file", "a/b"), 2, "error: a/b: No such file\n"),
        (ModuleNotFoundError("", name="kfp.dsl"), 2, "error: kfp.dsl is not installed; type pip install -e '.[kfp]'\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted; nothing was started\n"),
        (KeyboardInterrupt(signal.SIGTERM), 143, "\ninterrupted; nothing was started\n"),
        (told(KeyboardInterrupt()), 130, "\ninterrupted; whether it arrived is not known\n"),
    ],
)
def test_what_goes_wrong_is_told_in_one_message(error, status, message, capsys):
    def fail():
        raise error

    assert exit_status.of(fail) == status
    assert capsys.readouterr().err == message


def test_a_bug_is_not_hidden():
    def fail():
        import pipeline.nowhere  # noqa: F401  # pyright: ignore[reportMissingImports]

    with pytest.raises(ModuleNotFoundError):
        exit_status.of(fail)


def test_who_has_read_enough_is_no_error(tmp_path):
    command = [sys.executable, "-m", "pipeline", "plan", "--raw", "s3://data/1"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 141
    assert all(line.startswith("warning: ") for line in done.stderr.splitlines())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_it_asks_it_can_be_ended_and_leaves_no_file(number, kubeflow, tmp_path):
    kubeflow.plays["GET", "/healthz"] = ["hang"]
    command = [sys.executable, "-m", "pipeline", "submit", "--host", kubeflow.host, "--raw", "s3://data/1"]
    with foreground.started(
        command, cwd=ROOT, env=os.environ | {"TMPDIR": str(tmp_path)}, stderr=subprocess.PIPE, text=True
    ) as run:
        while not kubeflow.requests:
            time.sleep(0.05)
        assert list(tmp_path.iterdir())
        run.send_signal(number)
        said = run.stderr.read()
    assert run.returncode == 128 + number
    assert said.endswith("\n\ninterrupted; nothing was started\n") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_while_a_run_is_sent_nobody_knows_whether_it_arrives(kubeflow):
    kubeflow.plays["POST", "/runs"] = ["hang after"]
    command = [sys.executable, "-m", "pipeline", "submit", "--host", kubeflow.host, "--raw", "s3://data/1"]
    with foreground.started(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as run:
        while not kubeflow.runs:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        said = run.stderr.read()
    assert run.returncode == 130
    assert said.endswith(f"\ninterrupted; whether it arrived is not known: look there ({kubeflow.host})\n")


def test_who_is_not_to_hear_of_the_end_of_the_terminal_does_not(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    kept = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        exit_status.listen()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is exit_status.interrupt
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, kept)
