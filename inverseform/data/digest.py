"""What is known of a shard when it has been written, so that one damaged, cut short or exchanged is told from it."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from pydantic import NonNegativeInt, PositiveInt

from inverseform.settings import InputError, Settings

_TAIL = 8
"""Bytes at the end of a Parquet file: the length of its footer in four, and a word."""


class ShardDigest(Settings):
    """Size and checksums of a shard."""

    name: str
    """File name, in the folder of its store."""
    samples: PositiveInt
    """Rows in it."""
    bytes: NonNegativeInt
    """Size of the file."""
    footer: str
    """SHA-256 of Parquet's footer, which has place and size of every column: read in no time, and alike in no two
    shards of encoded images."""
    sha256: str
    """Of the whole file."""


def digest_of(path: Path, *, samples: int) -> ShardDigest:
    """Read a whole shard that was just written."""
    with path.open("rb") as file:
        footer, size = _footer(file)
        file.seek(0)
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    return ShardDigest(name=path.name, samples=samples, bytes=size, footer=footer, sha256=whole)


def difference(path: Path, digest: ShardDigest, *, full: bool) -> str | None:
    """In what a shard is not the one of a digest; None where no difference is seen.

    Args:
        path: Of the shard.
        digest: What it should be.
        full: Whether to read it whole, not its footer alone.
    """
    try:
        with path.open("rb") as file:
            footer, size = _footer(file)
            if size != digest.bytes:
                return f"has {size} bytes and {digest.bytes} were written"
            if footer != digest.footer:
                return "is another shard than was written, or its footer is damaged"
            if full:
                file.seek(0)
                if hashlib.file_digest(file, "sha256").hexdigest() != digest.sha256:
                    return "is damaged: its SHA-256 is not that of what was written"
    except FileNotFoundError:
        return "is missing"
    return None


def check_digest(path: Path, digest: ShardDigest, *, stage: str, full: bool = False) -> None:
    """Check a shard against what is known of it.

    Raises:
        InputError: It is missing, or another; the message says which stage to run.
    """
    if found := difference(path, digest, full=full):
        raise InputError(f"{path}: {found}; delete {path.parent} and run `dvc repro {stage}`")


def _footer(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 of the footer, and size of the file; of a file too small for one, that of all there is."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TAIL))
    length = int.from_bytes(file.read(4), "little") + _TAIL
    file.seek(max(0, size - length))
    return hashlib.sha256(file.read()).hexdigest(), size
