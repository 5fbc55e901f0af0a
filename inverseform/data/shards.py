"""Parquet shards, for every store: written in row groups, checked when opened, readable one row group at a time.

A shard is `<split>-00000.parquet` and says in its own header what it holds and with which settings it was made. The
same tables give the same bytes. Whatever is cut short, damaged, or from elsewhere is refused with what to type.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from inverseform.settings import InputError

_HEADER = b"inverseform"


class ShardFormat(NamedTuple):
    """What a kind of shard holds."""

    name: str
    """Of the store, such as samples."""
    version: int
    """Goes up whenever a reader of the last one would misread."""
    stage: str
    """Which stage writes it, and has to be run again for a new one."""


@dataclass(frozen=True)
class Shard:
    """An open shard whose header has been checked."""

    path: Path
    format: ShardFormat
    file: pq.ParquetFile
    settings: dict[str, Any]
    """What it was made with."""

    @property
    def groups(self) -> list[int]:
        """Rows of each row group."""
        metadata = self.file.metadata
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def read(self, group: int, *, columns: Sequence[str] | None = None) -> pa.Table:
        """Read one row group, or some columns of it.

        Raises:
            InputError: Its bytes are not those that were written.
        """
        try:
            # One thread: loaders read shards from many processes, which share the cores already.
            return self.file.read_row_group(group, columns=columns, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(self.path, self.format, f"is damaged in row group {group} ({error})") from error


class ShardWriter:
    """Writes the shards of one split; each table becomes one row group, and nothing else is kept in memory.

    A shard is ended after the row group with which it reaches `shard_bytes`. When the writer is left by an error, the
    shard in work is removed.

    Args:
        folder: Where to; it exists.
        split: How the names of the shards begin.
        schema: Columns.
        format: What the shards hold.
        settings: What they are made with; anything JSON can hold.
        shard_bytes: Size at which the next shard begins.
        first: Number of the first shard.
        compression: By the name of each column; Zstandard for all by default.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        schema: pa.Schema,
        *,
        format: ShardFormat,
        settings: Mapping[str, Any],
        shard_bytes: int,
        first: int = 0,
        compression: Mapping[str, str] | None = None,
    ) -> None:
        # Sorted below, so that equal settings give equal bytes.
        header = {"format": format.name, "version": format.version, "settings": settings}
        self._schema = schema.with_metadata({_HEADER: json.dumps(header, sort_keys=True).encode()})
        self._folder, self._split, self._number = folder, split, first
        self._shard_bytes = shard_bytes
        self._compression: Any = compression or "zstd"
        self._file: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self._discard()

    @property
    def path(self) -> Path:
        """The shard in work, or the next one."""
        return shard_path(self._folder, self._split, self._number)

    def write(self, table: pa.Table) -> None:
        """Append a row group.

        Raises:
            OSError: The disk is full, say; it names the file.
        """
        # An empty row group could be read, but would be a shard of its own if nothing followed.
        if not len(table):
            return
        try:
            if self._writer is None or self._file is None:
                self._file = self.path.open("wb")
                # Neither a dictionary nor statistics are of use for encoded images, and both cost memory.
                self._writer = pq.ParquetWriter(
                    self._file, self._schema, compression=self._compression, use_dictionary=False,
                    write_statistics=False, write_page_checksum=True,
                )  # fmt: skip
            self._writer.write_table(table, row_group_size=len(table))
            # What was written, not the size of the tables: how far they compress is not known before.
            full = self._file.tell() >= self._shard_bytes
        except OSError as error:
            raise self._named(error) from error
        if full:
            self._finish()

    def _finish(self) -> None:
        if self._writer is None or self._file is None:
            return
        try:
            self._writer.close()
            self._file.close()
        except OSError as error:
            # The number has not gone up yet: the path is still that of this shard.
            named = self._named(error)
            self._discard()
            raise named from error
        self._writer = self._file = None
        self._number += 1

    def _discard(self) -> None:
        if self._file is None:
            return
        # On a full disk the footer cannot be written either, and the first error is the one to tell of.
        with contextlib.suppress(OSError, pa.ArrowException):
            if self._writer is not None:
                self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self._writer = self._file = None
        self.path.unlink(missing_ok=True)

    def _named(self, error: OSError) -> OSError:
        return OSError(error.errno, os.strerror(error.errno) if error.errno else str(error), str(self.path))


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Where a shard lies."""
    return folder / f"{split}-{number:05d}.parquet"


def shards(folder: Path, split: str) -> list[Path]:
    """The shards of a split, in their order."""
    return sorted(folder.glob(f"{split}-[0-9][0-9][0-9][0-9][0-9].parquet"))


def open_shard(path: Path, *, format: ShardFormat, settings: Mapping[str, Any] | None = None) -> Shard:
    """Open a shard and check that it is whole, of this format, and made with these settings (those given).

    Raises:
        FileNotFoundError: There is none.
        InputError: It is not such a shard.
    """
    # The footer lies at the end, so a file that was cut short anywhere fails here.
    try:
        # By its name where it has one here: Arrow then reads by itself, without the interpreter.
        opened = path if isinstance(path, PurePath) else path.open("rb")
        file = pq.ParquetFile(opened, page_checksum_verification=True)
    except FileNotFoundError:
        raise FileNotFoundError(2, f"no such shard; run `dvc repro {format.stage}`", str(path)) from None
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, format, "is cut short or not Parquet") from error
    try:
        header = json.loads((file.schema_arrow.metadata or {})[_HEADER])
    except (KeyError, ValueError) as error:
        raise _damaged(path, format, f"is Parquet, but not {format.name} of inverseform") from error
    if (header["format"], header["version"]) != (format.name, format.version):
        found = f"{header['format']} of version {header['version']}"
        raise _damaged(path, format, f"holds {found} and {format.name} of version {format.version} was expected")
    # Through JSON and back, as the header went: tuples are lists there.
    for name, value in json.loads(json.dumps(settings or {})).items():
        if header["settings"].get(name) != value:
            found = header["settings"].get(name)
            raise _damaged(path, format, f"was made with {name} {found} and {value} was expected")
    return Shard(path, format, file, header["settings"])


def _damaged(path: Path, format: ShardFormat, what: str) -> InputError:
    return InputError(f"{path}: {what}; delete {path.parent} and run `dvc repro {format.stage}`")
