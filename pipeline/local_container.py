"""The containers of a run on this machine: never pulled, always removed, and the exit status is the container's own.

kfp's own function has the engine remove a container as soon as it has ended, asks for its status after that, and takes
one that is gone by then for a success; on a busy machine most failures were lost. `Containers.run` takes its place.
"""

import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, NamedTuple

import docker
from docker import errors
from docker.models.containers import Container
from docker.types import Mount

WORK, TASK = "inverseform.work", "inverseform.task"
"""Labels of a container: the folder of its run, and the name of its task."""
KILLED = 137
SAME = 1.0
"""Seconds in which a second signal is taken for the first."""


class Ended(NamedTuple):
    """How a container ended."""

    status: int
    out_of_memory: bool

    def __str__(self) -> str:
        if self.out_of_memory:
            return f"out of memory (exit status {self.status}); --memory gives more"
        return f"exit status {self.status}" + (" (SIGKILL)" if self.status == KILLED else "")


class Containers:
    """The containers of one run.

    Args:
        client: The engine.
        work: Names the run.
        grace: Seconds from SIGTERM to SIGKILL.
    """

    def __init__(self, client: docker.DockerClient, work: str, *, grace: int) -> None:
        self._client, self._work, self._grace = client, work, grace
        self._running: set[str] = set()
        self._printing = threading.Lock()
        self.ended: dict[str, Ended] = {}
        """By task."""
        self._asked = -math.inf
        self.signal: int | None = None
        """The signal that stopped the run."""

    def remove_left_over(self) -> None:
        """Remove what a run of the same name left behind when it was killed."""
        for container in self._client.containers.list(all=True, filters={"label": f"{WORK}={self._work}"}):
            self._remove(container)

    def run(
        self,
        client: docker.DockerClient,
        image: str,
        command: list[str],
        volumes: dict[str, Any],
        **given: Any,  # noqa: ANN401 (what the engine takes)
    ) -> int:
        """Run a container to its end, passing its output on; the exit status.

        Args:
            client: The engine, as kfp's local runner opens one a task.
            image: Name or id of an image that is there.
            command: What to run in it.
            volumes: Folders of kfp, where all tasks have their outputs: to read. A task's own is among the `mounts`.
            given: What else the engine is told, the labels among it.

        Raises:
            docker.errors.APIError: It could not be started.
        """
        task = given["labels"][TASK]
        # Not as `volumes`, in which a colon of a folder's name ends it.
        read = [Mount(volume["bind"], path, type="bind", read_only=True) for path, volume in volumes.items()]
        container = client.containers.create(image, command, **{**given, "mounts": read + given["mounts"]})
        number = str(container.id)
        self._running.add(number)
        try:
            container.start()
            # A signal may have come while this one was not there to be stopped.
            if self.signal is not None:
                container.stop(timeout=self._grace)
            for line in _lines(container.logs(stream=True, follow=True)):
                self.say(task, line)
            status = int(container.wait()["StatusCode"])
            container.reload()
            self.ended[task] = Ended(status, bool(container.attrs["State"]["OOMKilled"]))
            return status
        finally:
            self._running.discard(number)
            self._remove(container)

    def say(self, task: str, line: str) -> None:
        """Print a line of a task, whole also where tasks run side by side."""
        try:
            with self._printing:
                sys.stdout.write(f"{task:20} | {line}\n")
                sys.stdout.flush()
        except OSError:
            # With the end of the terminal nobody is there to be told, and the stage is still to write its checkpoint.
            if self.signal is None:
                raise

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """As a signal handler: stop what runs, by SIGTERM so that checkpoints stay; a second signal kills."""
        now = time.monotonic()
        # timeout(1) sends one signal twice, to the process and to its group.
        if now - self._asked < SAME:
            return
        patience, self._asked = self._grace if self.signal is None else 0, now
        self.signal = self.signal or signum
        # Not here: the interrupted code may be in the middle of a talk with the engine, or hold the lock.
        threading.Thread(target=self._stop, args=(list(self._running), patience)).start()

    def _stop(self, running: Iterable[str], patience: int) -> None:
        for number in running:
            self.say("run-local", f"stopping {number[:12]}; in {patience} s at the latest")
        stopping = [threading.Thread(target=self._stop_one, args=(number, patience)) for number in running]
        for thread in stopping:
            thread.start()

    def _stop_one(self, number: str, patience: int) -> None:
        client = docker.from_env()
        try:
            client.api.stop(number, timeout=patience)
        except errors.NotFound:
            pass  # it ended by itself
        finally:
            client.close()

    def _remove(self, container: Container) -> None:
        try:
            container.remove(force=True, v=True)
        except errors.APIError as error:
            # What became of the task is known; the next run in the same folder tries again.
            self.say("run-local", f"warning: container {container.short_id} stays: {error}")


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines of an output that comes in pieces of any length."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole)
    if rest:
        yield rest.decode(errors="replace")
