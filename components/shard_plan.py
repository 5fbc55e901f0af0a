"""Which samples or pairs go into which shard: decided from inputs and settings, so that any run decides the same.

The plan lies beside the shards, in plan.json. A run that goes on from another, or that makes a part of the shards, must
agree with it.
"""

import hashlib
import json
import os
import shlex
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pydantic import ValidationError

from inverseform.data import Dataset
from inverseform.data.dataset import Source
from inverseform.settings import InputError, Settings
from inverseform.training.checkpoint import differences

PLAN = "plan.json"


class Job(NamedTuple):
    """One shard: samples, or pairs, [first, last) of a split."""

    split: str
    number: int
    """Of the shard, within its split."""
    first: int
    last: int

    @property
    def name(self) -> str:
        """Of the shard's file, without its ending."""
        return f"{self.split}-{self.number:05d}"


class Plan(Settings):
    """plan.json."""

    settings: dict[str, Any]
    """What the shards are made with, and the data set is."""
    inputs: dict[str, str]
    """SHA-256 of what is read, by what it is."""
    sizes: dict[str, int]
    """Samples in each shard of a split; the last one has what is left."""

    def jobs(self, counts: Mapping[str, int]) -> list[Job]:
        """All shards, in their order, of so many samples in each split."""
        return [
            Job(split, number, first, min(first + self.sizes[split], count))
            for split, count in counts.items()
            for number, first in enumerate(range(0, count, max(1, self.sizes[split])))
        ]


def every_nth(shard: int | None, of: int | None) -> slice:
    """The part of all shards that one of several machines makes: each `of`-th from the `shard`-th on, counted from 0.

    Raises:
        InputError: There is no such part.
    """
    if shard is None or of is None or not 0 <= shard < of:
        raise InputError(
            f"--shard {shard} --of {of}: the shard is 0 to one less than --of; write --shard 0 --of 8, say"
        )
    return slice(shard, None, of)


def inputs_of(dataset: Dataset, raw: Path) -> dict[str, str]:
    """Digests of the raw files, by their names, sizes and times, and of the names of the samples of each split."""
    names = {f"{split}_names": _sha256(s.name for s in sources) for split, sources in dataset.splits.items()}
    return {"raw": _sha256(_files(raw)), **names}


def probes(sources: list[Source]) -> list[Source]:
    """Samples that tell how large one of a split is, spread evenly: one in 64, at least 2 and at most 32 of them."""
    count = min(len(sources), max(2, min(32, len(sources) // 64)))
    return [sources[(2 * place + 1) * len(sources) // (2 * count)] for place in range(count)]


def find_plan(
    folder: Path, settings: dict[str, Any], inputs: dict[str, str], *, raw: Path | None = None
) -> Plan | None:
    """The plan of a folder, or None where there is none yet.

    Args:
        folder: Where the shards are made.
        settings: What they are made with.
        inputs: Digests of what they are made of.
        raw: What the digest `raw` is of, for a message that tells more than two digests do.

    Raises:
        InputError: It is of a run with other settings or inputs; the message names each that differs.
    """
    path = folder / PLAN
    try:
        plan = Plan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InputError(f"{path}: is not the plan of any shards; begin anew: rm -r {folder}") from error
    lines, then = differences(plan.settings, json.loads(json.dumps(settings))), plan.inputs
    if raw is not None and then.get("raw") != inputs["raw"]:
        # Two digests tell nobody which file it is.
        lines.append(_changed(raw, path))
        then = {**then, "raw": inputs["raw"]}
    lines += [f"input {line}" for line in differences(then, inputs)]
    if lines:
        told = "".join(f"\n- {line}" for line in lines)
        raise InputError(
            f"{folder}: holds shards of an unfinished run with other settings or inputs:{told}\n"
            f"Set them back to go on with that run, or give it up and begin anew: rm -r {folder}"
        )
    return plan


def _changed(raw: Path, plan: Path) -> str:
    """What is said of raw files that are others than when the plan was written."""
    told = f"input raw: files under {raw} are others than when the run began"
    if not isinstance(raw, PurePath):
        return told
    # The time of the last change of a file's place or content, which copying with its times does not set back; where a
    # file was removed, that of its folder.
    return f"{told}; see which: find -L {shlex.quote(str(raw))} -newercm {shlex.quote(str(plan))}"


def write_plan(folder: Path, plan: Plan) -> None:
    """Write plan.json whole; of runs that begin at once each writes the same."""
    write_whole(folder / PLAN, plan.model_dump_json(indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a small file beside its place, then rename it there."""
    partial = path.with_name(f".partial-{uuid.uuid4().hex}-{path.name}")
    partial.write_text(text)
    partial.rename(path)


def _files(raw: Path) -> Iterator[str]:
    """A line for each file under a path: name, size, and time of the last change or what its store has for that."""
    if isinstance(raw, PurePath):
        for folder, folders, files in os.walk(raw, followlinks=True):
            # Readers pass over hidden ones, and file managers change them.
            folders[:] = sorted(name for name in folders if name[0] != ".")
            for name in sorted(name for name in files if name[0] != "."):
                path = Path(folder, name)
                known = path.stat()
                yield f"{path.relative_to(raw)} {known.st_size} {known.st_mtime_ns}"
    else:
        found = raw.fs.find(raw.path, detail=True)  # pyright: ignore[reportAttributeAccessIssue] (a path of fsspec's)
        for name, known in sorted(found.items()):
            change = next(
                (known[key] for key in ("ETag", "etag", "LastModified", "mtime", "created") if key in known), ""
            )
            yield f"{name} {known['size']} {change}"


def _sha256(lines: Iterator[str]) -> str:
    total = hashlib.sha256()
    for line in lines:
        try:
            total.update(line.encode() + b"\n")
        except UnicodeEncodeError as error:
            raise InputError(f"{line!a}: the name is not in UTF-8, as samples' names are; rename the file") from error
    return total.hexdigest()
