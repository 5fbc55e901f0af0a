"""The stages on this machine, without containers."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

from components.stage import ports
from pipeline.graph import STAGES
from tests.drawn import ROOT


def of(stage: str, kind: str) -> list[str]:
    """Names of what a stage reads, makes or keeps."""
    return ports(getattr(importlib.import_module(f"components.{stage}"), stage), kind)


def run(params: Path, folder: Path) -> None:
    """The stages up to `evaluate`, one after the other, each as `dvc repro` calls it; outputs by stage and port."""
    raw = folder / "raw"
    raw.mkdir(parents=True)
    made = {"raw": raw}
    # As many threads as in a container: sums are rounded otherwise with others.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    for stage in STAGES[:-1]:
        kept = {name: folder / "kept" / stage / name for kind in ("scratch", "shared") for name in of(stage, kind)}
        read = {name: made[name] for name in of(stage, "input")}
        made |= (own := {name: folder / stage / name for name in of(stage, "output")})
        command = [sys.executable, "-m", f"components.{stage}", "--params", str(params)]
        for name, path in (read | own | kept).items():
            command += [f"--{name.replace('_', '-')}", str(path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
