"""A container engine for as long as it is needed: the one that `DOCKER_HOST` names, or a private `dockerd`.

    python -m containers.engine COMMAND...     runs a command with DOCKER_HOST set

A private engine needs root and Debian's package docker.io, and touches nothing of the machine: it has no bridge, sets
no firewall rule, and ends with whoever started it. Its layers stay in the cache: the next build is one of seconds.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from containers import cache as caches

GIB = 1 << 30
ROOM = 16 * GIB
"""What both images take while they are made, with the wheels that go into them."""
WAIT = 60
"""Seconds for an engine to answer."""


class NoEngine(Exception):
    """Containers cannot be run here; the message says why, and what would help."""


def docker(*arguments: str | Path, host: str | None = None) -> subprocess.CompletedProcess[str]:
    """Call the client and wait for it; what it prints is kept.

    Raises:
        NoEngine: There is no client.
        subprocess.CalledProcessError: It failed; the message has what it said.
    """
    done = subprocess.run([client(), *map(str, arguments)], env=environment(host), capture_output=True, text=True)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        error.add_note(done.stderr.strip())
        raise error
    return done


def environment(host: str | None = None) -> dict[str, str]:
    """What a client needs in its environment, beside all that this process has."""
    known = {"DOCKER_HOST": host} if host else {}
    return {**os.environ, "DOCKER_BUILDKIT": "1", **known}


@cache
def client() -> str:
    """The first `docker` of the path that has BuildKit: from version 23 on that is a plugin, which may be missing.

    Raises:
        NoEngine: None has.
    """
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin"]
    found = list(dict.fromkeys(path for folder in folders if (path := shutil.which("docker", path=folder))))
    for path in found:
        known = subprocess.run([path, "build", "--help"], env=environment(), capture_output=True, text=True)
        if known.returncode == 0 and "--progress" in known.stdout:
            return path
    what = f"{', '.join(found)}: no BuildKit (docker buildx is missing)" if found else "no docker on the path"
    raise NoEngine(f"{what}; apt-get install docker.io")


@contextlib.contextmanager
def engine() -> Iterator[str]:
    """An engine, as the address of its socket; one that was started here is ended at the end.

    Raises:
        NoEngine: There is none, and none can be started.
    """
    if (named := os.environ.get("DOCKER_HOST")) is not None:
        client()
        if not answers(named):
            raise NoEngine(f"DOCKER_HOST is {named} and nobody answers there; start that engine, or unset it")
        yield named
        return
    with contextlib.ExitStack() as held:
        try:
            data = held.enter_context(_data())
        except OSError as error:
            raise NoEngine(f"{error.filename}: {error.strerror}; set INVERSEFORM_CACHE to another folder") from error
        yield held.enter_context(_started(data))


def answers(host: str) -> bool:
    """Whether an engine is there."""
    return subprocess.run([client(), "version"], env=environment(host), capture_output=True).returncode == 0


@contextlib.contextmanager
def _data() -> Iterator[Path]:
    """Where layers are kept: in the cache, or in memory where the disk is full, and then for this once."""
    kept = caches.root() / "engine"
    if kept.exists() or caches.free(kept) > ROOM:
        kept.mkdir(parents=True, exist_ok=True)
        with open(kept.with_name("engine.lock"), "w") as lock:
            # A second engine on the same layers would spoil them.
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{kept} is in use by another engine; waiting for it to end", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield kept
        return
    memory = Path("/dev/shm")
    if not memory.is_dir() or caches.free(memory) < ROOM:
        raise NoEngine(
            f"{kept}: {caches.free(kept) / GIB:.0f} GiB are free, {ROOM / GIB:.0f} needed; set INVERSEFORM_CACHE to a "
            f"folder with more"
        )
    print(f"{kept}: the disk is too full; layers are kept in memory, and gone afterwards", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="engine-", dir=memory) as folder:
        yield Path(folder)


@contextlib.contextmanager
def _started(data: Path) -> Iterator[str]:
    """A private engine on a folder of layers."""
    if os.geteuid() != 0:
        raise NoEngine("a private engine needs root; be root, or name an engine that runs already in DOCKER_HOST")
    if shutil.which("dockerd") is None:
        raise NoEngine("no dockerd on the path; apt-get install docker.io, or name an engine in DOCKER_HOST")
    # Short, as the path of a socket may have 108 characters.
    with tempfile.TemporaryDirectory(prefix="dk-", dir="/tmp") as folder:
        state, host = Path(folder), f"unix://{folder}/s"
        with (state / "log").open("w") as log:
            process = subprocess.Popen(_command(data, state, host), stdout=log, stderr=log, start_new_session=True)
        try:
            _await(process, host, state / "log")
            yield host
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            # Left mounted by the engine, and in the way of the folder's end.
            subprocess.run(["umount", state / "exec" / "netns" / "default"], capture_output=True)


def _command(data: Path, state: Path, host: str) -> list[str | Path]:
    """No bridge, no rules, no forwarding: containers have no network but the one that is named for them."""
    return [
        "setpriv", "--pdeathsig", "TERM", "dockerd", "--host", host,
        "--data-root", data, "--exec-root", state / "exec", "--pidfile", state / "pid",
        "--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false",
    ]  # fmt: skip


def _await(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    deadline = time.monotonic() + WAIT
    while not answers(host):
        if process.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text().splitlines()[-5:])
            raise NoEngine(f"dockerd did not start:\n{last}")
        time.sleep(0.2)
    driver = docker("info", "--format", "{{.Driver}}", host=host).stdout.strip()
    # It copies each layer whole: 20 GB for what are 7.
    if driver == "vfs":
        raise NoEngine("dockerd knows no overlay file system on this disk; set INVERSEFORM_CACHE to a folder on ext4")


def main() -> None:
    """Run a command with an engine; leaves with its status, with 2 where it is none, and with 3 without an engine."""
    command = sys.argv[1:]
    if not command or shutil.which(command[0]) is None:
        what = f"{command[0]} is no command" if command else "no command is given"
        print(f"error: {what}; type python -m containers.engine docker images, say", file=sys.stderr)
        sys.exit(2)
    try:
        with engine() as host:
            status = _run(command, host)
    except NoEngine as error:
        print(f"error: {error}", file=sys.stderr)
        status = 3
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    sys.exit(status)


def _run(command: list[str], host: str) -> int:
    """A command with an engine, until it ends by itself: the engine stays for what it has still to do when stopped."""
    with subprocess.Popen(command, env=environment(host)) as process:
        # A terminal tells both of Ctrl-C, and of its end; other signals come here alone.
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    main()
