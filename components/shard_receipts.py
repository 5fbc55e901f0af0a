"""Shards that are whole, of any store: made under another name, renamed when they are, and a receipt beside each."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from components.shard_plan import PLAN, Job, write_whole
from inverseform.data.digest import ShardDigest, difference
from inverseform.settings import Settings

PARTIAL = ".partial-"


class Receipt(Settings):
    """What is known of a shard that is whole; a JSON file beside it."""

    digest: ShardDigest


Kind = TypeVar("Kind", bound=Receipt)


@contextlib.contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A folder to make one shard in; it is gone afterwards, with all that was not kept."""
    # A folder of its own: of two runs that make the same shard, neither writes into the other's.
    partial = folder / f"{PARTIAL}{uuid.uuid4().hex}"
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def keep(made: Path, folder: Path, job: Job, receipt: Receipt) -> None:
    """Move a shard that was made to its place, and put its receipt beside it."""
    made.rename(folder / made.name)
    # Second: a shard without a receipt is made again, a receipt without its shard would be a lie.
    write_whole(folder / f"{job.name}.json", receipt.model_dump_json() + "\n")


def whole(folder: Path, job: Job, kind: type[Kind]) -> Kind | None:
    """The receipt of a shard that is there and undamaged, to the last byte; None where it has to be made."""
    try:
        receipt = kind.model_validate_json((folder / f"{job.name}.json").read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    found = difference(folder / receipt.digest.name, receipt.digest, full=True)
    return receipt if found is None and receipt.digest.samples == job.last - job.first else None


def put(shard: Path, folder: Path) -> None:
    """Put a shard into another folder as well: as a second name of the same file, or as a copy on another disk."""
    try:
        os.link(shard, folder / shard.name)
    except OSError:
        # Some file systems have no second names, and none has them for files of another.
        shutil.copyfile(shard, folder / shard.name)


def sweep(folder: Path) -> None:
    """Remove what killed runs had in work, and a plan by which nothing was made; for who holds the folder alone."""
    for left in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    # Nothing was made by it yet: settings that were refused, say, and will be others now.
    if [path.name for path in folder.iterdir()] == [PLAN]:
        (folder / PLAN).unlink()
