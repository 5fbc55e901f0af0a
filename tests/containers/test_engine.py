"""A private engine touches nothing of the machine, and is gone when it is no longer wanted, however that comes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from containers.engine import NoEngine, answers, docker, engine
from tests.containers.sandbox import cannot
from tests.drawn import ROOT

SERVE = (
    "import time; from containers.engine import engine\nwith engine() as host: print(host, flush=True); time.sleep(600)"
)


@pytest.fixture
def apart(tmp_path, monkeypatch):
    """A cache of its own, and no engine that runs already."""
    monkeypatch.setenv("INVERSEFORM_CACHE", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return tmp_path


def machine():
    """What a container engine would usually change."""
    forward = Path("/proc/sys/net/ipv4/ip_forward").read_text()
    return forward, sorted(path.name for path in Path("/sys/class/net").iterdir())


def test_an_engine_leaves_the_machine_as_it_was(apart):
    before = machine()
    try:
        with engine() as host:
            assert docker("info", "--format", "{{.Driver}}", host=host).stdout.strip() != "vfs"
            assert machine() == before
    except NoEngine as error:
        cannot(error)
    assert machine() == before and not answers(host)
    assert not Path(host.removeprefix("unix://")).parent.exists()
    # Its layers stay, for the next.
    assert (apart / "engine" / "overlay2").is_dir()


def test_an_engine_ends_with_its_owner_even_if_that_one_is_killed(apart):
    owner = subprocess.Popen([sys.executable, "-c", SERVE], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        if not (host := owner.stdout.readline().strip()):
            cannot("see the test above")
        state = Path(host.removeprefix("unix://")).parent
        pid = int((state / "pid").read_text())
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (Path("/proc") / str(pid)).exists():
        assert time.monotonic() < deadline, f"dockerd {pid} is still there"
        time.sleep(0.1)
    assert not answers(host)
    subprocess.run(["umount", state / "exec" / "netns" / "default"], capture_output=True)
    shutil.rmtree(state)


def test_a_command_is_run_with_an_engine_and_its_status_is_passed_on(host):
    script = "import os, sys; sys.exit(7 if os.environ.get('DOCKER_HOST') else 1)"
    command = [sys.executable, "-m", "containers.engine", sys.executable, "-c", script]
    assert subprocess.run(command, cwd=ROOT, env={**os.environ, "DOCKER_HOST": host}).returncode == 7
    for wrong in ([], ["no-such-command"]):
        done = subprocess.run([*command[:3], *wrong], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 2 and "type python -m containers.engine docker images" in done.stderr
    nowhere = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    done = subprocess.run(command, cwd=ROOT, env=nowhere, capture_output=True, text=True)
    assert done.returncode == 3 and "nobody answers" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_has_its_engine_until_it_has_ended(number, host):
    script = (
        "import signal, sys, time\n"
        "def stop(*_): time.sleep(1.5); print('ended in peace', flush=True); sys.exit(9)\n"
        "for each in (signal.SIGINT, signal.SIGTERM): signal.signal(each, stop)\n"
        "print('waiting', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-m", "containers.engine", sys.executable, "-c", script]
    environment = {**os.environ, "DOCKER_HOST": host}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        assert run.stdout.readline() == "waiting\n"
        # Ctrl-C goes to all processes of a terminal, and what a supervisor sends to the first alone.
        (os.killpg if number == signal.SIGINT else os.kill)(run.pid, number)
        assert run.stdout.read() == "ended in peace\n"
    assert run.returncode == 9
