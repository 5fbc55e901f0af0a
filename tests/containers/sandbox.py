"""A stage in its container, shut in as a cluster may: no rights, no network, nothing to write but outputs."""

import importlib
import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from components.stage import ports
from containers.engine import client, docker, environment

SMALL = ("ingest", "synthesize")
STAGES = (*SMALL, "train_inverse", "train_segmentation", "evaluate", "export")
SHUT_IN = (
    "--network=none", "--read-only", "--tmpfs=/tmp:size=64m", "--cap-drop=ALL", "--security-opt=no-new-privileges",
    "--pids-limit=128", "--cpus=2",
    # On shared cores a second thread mostly waits for the first.
    "--env=OMP_NUM_THREADS=1",
)  # fmt: skip
DEADLINE = 120


def written(stage, *kinds):
    """The ports of a stage that it writes: outputs, scratch folders."""
    function = getattr(importlib.import_module(f"components.{stage}"), stage)
    return [port for kind in kinds for port in ports(function, kind)]


def cannot(reason):
    """Say why there are no containers: a failure where they are required."""
    if os.environ.get("INVERSEFORM_CONTAINERS") == "required":
        pytest.fail(f"containers are required and there are none: {reason}", pytrace=False)
    pytest.skip(f"no containers: {reason}")


class Ended(NamedTuple):
    """A container that has ended."""

    status: int
    out_of_memory: bool
    said: str
    out: Path


class Running:
    """A container at work."""

    def __init__(self, process, host, name, out):
        self.process, self.host, self.name, self.out = process, host, name, out

    def signal(self, word):
        docker("kill", f"--signal={word}", self.name, host=self.host)

    def wait_for(self, path):
        deadline = time.monotonic() + DEADLINE
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"{path} never came"
            time.sleep(0.05)

    def end(self):
        """Wait for it, and remove it."""
        try:
            said, _ = self.process.communicate(timeout=DEADLINE)
            state = json.loads(docker("inspect", "--format", "{{json .State}}", self.name, host=self.host).stdout)
        finally:
            self.remove()
        return Ended(state["ExitCode"], state["OOMKilled"], said, self.out)

    def remove(self):
        docker("rm", "--force", self.name, host=self.host)
        self.process.kill()
        self.process.wait()


class Sandbox:
    """Runs stages."""

    def __init__(self, host, images, folder):
        self.host, self.images, self.folder, self.numbers = host, images, folder, itertools.count()

    def run(self, stage, inputs, **options):
        """A stage from its start to its end."""
        running = self.start(stage, inputs, **options)
        try:
            return running.end()
        except BaseException:
            running.remove()
            raise

    def start(self, stage, inputs, *, memory="2g", out=None, writable=True, room=None):
        """Start a stage on read-only inputs by port.

        Outputs go to a folder that its user may write, or may not; with `room`, to a disk of so much, such as 300k,
        that is gone with the container.
        """
        number = next(self.numbers)
        name = f"inverseform-{os.getpid()}-{number}"
        out = out or self.folder / f"{number}-{stage}"
        out.mkdir(exist_ok=True)
        os.chown(out, *((10001, 10001) if writable else (0, 0)))
        mounts = [f"--volume={path}:/in/{port}:ro" for port, path in inputs.items()]
        outputs = [(port, f"/out/{port}") for port in written(stage, "output", "scratch")]
        places = [*((port, f"/in/{port}") for port in inputs), *outputs]
        arguments = [word for port, path in places for word in (f"--{port.replace('_', '-')}", path)]
        command = [
            client(), "run", f"--name={name}", *SHUT_IN, f"--memory={memory}", f"--memory-swap={memory}", *mounts,
            f"--tmpfs=/out:mode=1777,size={room}" if room else f"--volume={out}:/out",
            self.images["small" if stage in SMALL else "large"],
            "python", "-m", f"components.{stage}", *arguments,
        ]  # fmt: skip
        process = subprocess.Popen(
            command, env=environment(self.host), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return Running(process, self.host, name, out)

    def script(self, image, text):
        """What a Python script prints in an image."""
        shut_in = (*SHUT_IN, "--memory=2g", "--memory-swap=2g")
        return docker("run", "--rm", *shut_in, image, "python", "-c", text, host=self.host).stdout
