"""Which process of a stage this is, where torchrun or the like starts several.

The first does what is to be done once: it takes the locks, makes the outputs and tells of them. The others compute
along; what they write is thrown away, and they leave the word to the first.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PATIENCE = 5.0
"""Seconds after which another process than the first says itself what stopped it."""


def is_first() -> bool:
    """Whether this process is alone, or of rank 0."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return True
    # torchrun names the rank; launchers that start the other processes of a machine themselves name its two parts.
    names = ("RANK",) if "RANK" in os.environ else ("NODE_RANK", "LOCAL_RANK")
    return all(int(os.environ.get(name, "0")) == 0 for name in names)


@contextlib.contextmanager
def throw_away(outputs: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """Paths in place of those of outputs, in a folder that goes with whatever was made in it."""
    with tempfile.TemporaryDirectory(prefix="inverseform-") as folder:
        # By their parameter too, as two outputs may have the same file name.
        yield {name: Path(folder, f"{name}-{path.name}") for name, path in outputs.items()}


def let_the_first_speak() -> None:
    """In another process, wait for the end that follows when the first is stopped by the same; else nothing.

    Bad input stops all processes at once, and whoever ends first has the others ended by torchrun: were it not the
    first, nobody would have said why. What stops one of the others alone is told when this returns.
    """
    if not is_first():
        time.sleep(PATIENCE)
