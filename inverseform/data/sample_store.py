"""The sample store: what ingest writes, and what the other stages read samples from, in any order.

A folder with the Parquet shards of each split and, written last, dataset.json, which lists them with their checksums.
Its rows are those of `stored_sample`.
"""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from inverseform.data.description import FORMAT, INFO, DatasetInfo, read_description, write_info
from inverseform.data.digest import check_digest
from inverseform.data.shards import Shard, ShardWriter, open_shard
from inverseform.data.stored_sample import SCHEMA, Maps, StoredSample, decoded, decoded_maps
from inverseform.data.tasks import TASKS
from inverseform.location import locate
from inverseform.sample import Sample
from inverseform.settings import InputError

__all__ = ["FORMAT", "DatasetInfo", "SampleStore", "write_info", "write_samples"]

# Read whole for any sample in it, so a shuffled read fetches as many; but each costs the footer of its shard 2 kB.
GROUP_SAMPLES = 2
GROUP_BYTES = 4 << 20
"""A row group ends at so many samples or bytes, whichever comes first, and never holds more in memory."""
# A few readers in order, each in a group of its own; 4 MB each.
_CACHED_GROUPS = 4
_SEGMENTATION = ("name", "height", "width", "class_pixels", "image", "labels", "boundary", "prediction")
"""Columns that every sample is read with; those of other tasks are read when they are asked for."""
_COMPRESSED = ("image", "labels", "boundary", "prediction")


def write_samples(
    folder: Path, info: DatasetInfo, split: str, samples: Iterable[StoredSample], *, shard_bytes: int, first: int = 0
) -> None:
    """Write one split, or its shards from a number on; samples are let go of row group by row group.

    Raises:
        OSError: The disk is full, say.
        ValueError: A sample has a target of a task that is not among those of the data set.
    """
    columns = [field for field in SCHEMA if field.name not in TASKS or field.name in info.tasks]
    schema = pa.schema(columns)
    # Pictures and maps are compressed already; a shuffled read would decompress a whole group for one of them.
    compression = {name: "none" if name in _COMPRESSED else "zstd" for name in schema.names}
    with ShardWriter(
        folder, split, schema, format=FORMAT, settings=info.model_dump(mode="json"), shard_bytes=shard_bytes,
        first=first, compression=compression,
    ) as writer:  # fmt: skip
        for group in _groups(samples):
            writer.write(_table(group, schema))


class SampleStore:
    """The samples of a folder that ingest wrote, in any order and from several threads or processes.

    Opening looks at the footer of every shard and keeps the shards open. Sent to a process that was not forked, a store
    opens them again.
    """

    def __init__(self, folder: Path, info: DatasetInfo, splits: dict[str, list[Shard]]) -> None:
        self.info = info
        self._folder = folder
        self._groups = {split: [(s, g) for s in found for g in range(len(s.groups))] for split, found in splits.items()}
        self._ends = {split: list(accumulate(n for s in found for n in s.groups)) for split, found in splits.items()}
        self._cache: OrderedDict[tuple[str, int, tuple[str, ...]], pa.Table] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: str | Path, *, verify: bool = False) -> "SampleStore":
        """Open a folder and check that it is whole: names, sizes and footers of its shards.

        Args:
            folder: A path, or a URL that fsspec knows.
            verify: Whether to read all shards and compare their SHA-256.

        Raises:
            FileNotFoundError: There is no such folder.
            InputError: It is not what ingest writes, or not all of it.
        """
        folder = locate(folder)
        if not folder.is_dir():
            raise FileNotFoundError(2, f"no such folder; run `dvc repro {FORMAT.stage}`", str(folder))
        # Without the description the shards may be those of a run that was cut off: it is written last.
        said = read_description(folder)
        settings = said.info.model_dump(mode="json")
        splits: dict[str, list[Shard]] = {}
        for split, listed in said.shards.items():
            for digest in listed:
                check_digest(folder / digest.name, digest, stage=FORMAT.stage, full=verify)
            splits[split] = [open_shard(folder / d.name, format=FORMAT, settings=settings) for d in listed]
        for split, count in said.info.counts.items():
            found = sum(sum(shard.groups) for shard in splits[split])
            if found != count:
                raise InputError(
                    f"{folder}: its {split} shards hold {found} samples and {INFO} counts {count}; delete {folder} and "
                    f"run `dvc repro {FORMAT.stage}`"
                )
        return cls(folder, said.info, splits)

    def __reduce__(self) -> tuple[Any, ...]:
        # Open files and locks cannot be sent to another process; a folder's name can.
        return type(self).open, (self._folder,)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.info.counts)

    def size(self, split: str) -> int:
        """How many samples a split has."""
        return self.info.counts[split]

    def names(self, split: str) -> list[str]:
        """Names of the samples of a split, by index."""
        return [name for s, g in self._groups[split] for name in s.read(g, columns=["name"])["name"].to_pylist()]

    def sample(self, split: str, index: int, *, tasks: Sequence[str] = ()) -> Sample:
        """Read and decode one sample, with its targets of these tasks.

        Raises:
            IndexError: There is none of that index.
            InputError: Its shard is damaged, or the store has no such task.
        """
        for task in tasks:
            if task not in self.info.tasks:
                known = ", ".join(self.info.tasks) or "none but segmentation"
                raise InputError(f"{self._folder}: has no targets of task {task}; it has {known}")
        row = StoredSample(**self._row(split, index, (*_SEGMENTATION, *tasks)))
        return decoded(row, source=f"{self._folder}: {split} sample {row.name}", wanted=tasks)

    def row(self, split: str, index: int) -> StoredSample:
        """Read one sample as its bytes.

        Raises:
            IndexError: There is none of that index.
            InputError: Its shard is damaged.
        """
        return StoredSample(**self._row(split, index, (*_SEGMENTATION, *self.info.tasks)))

    def class_pixels(self, split: str) -> list[list[int]]:
        """Pixels of each class in every sample, by its index; no picture is touched."""
        counts: list[list[int]] = []
        for shard, group in self._groups[split]:
            counts.extend(shard.read(group, columns=["class_pixels"])["class_pixels"].to_pylist())
        return [[*found, *[0] * (len(self.info.classes) - len(found))] for found in counts]

    def maps(self, split: str, index: int) -> Maps:
        """Read and decode what synthesize needs of a sample; its image, most of the bytes, is not touched.

        Raises:
            IndexError: There is none of that index.
            InputError: Its shard is damaged.
        """
        row = self._row(split, index, Maps._fields)
        return decoded_maps(**row, source=f"{self._folder}: {split} sample {row['name']}")

    def _row(self, split: str, index: int, columns: tuple[str, ...]) -> dict[str, Any]:
        if not 0 <= index < self.size(split):
            raise IndexError(f"{split} sample {index}: {self._folder} has {self.size(split)}, counted from 0")
        number = bisect_right(self._ends[split], index)
        table = self._table(split, number, columns)
        # The row group ends where `_ends` says, so its first sample lies its own length before that.
        return table.slice(index - self._ends[split][number] + len(table), 1).to_pylist()[0]

    def _table(self, split: str, number: int, columns: tuple[str, ...]) -> pa.Table:
        """A row group, one of the last few if it is among them: reading in order decompresses each once."""
        # pyarrow does not promise that one file may be read from two threads at once.
        with self._lock:
            key = (split, number, columns)
            if key not in self._cache:
                shard, group = self._groups[split][number]
                self._cache[key] = shard.read(group, columns=columns)
                if len(self._cache) > _CACHED_GROUPS:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
            return self._cache[key]


def _groups(samples: Iterable[StoredSample]) -> Iterator[list[StoredSample]]:
    group, size = [], 0
    for sample in samples:
        group.append(sample)
        size += sample.size
        if len(group) == GROUP_SAMPLES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(group: list[StoredSample], schema: pa.Schema) -> pa.Table:
    columns = dict(zip(StoredSample._fields, map(list, zip(*group, strict=True)), strict=True))
    for task in [task for task in TASKS if task not in schema.names]:
        if any(target is not None for target in columns.pop(task)):
            raise ValueError(f"sample {group[0].name} or one after it has a target of {task}: name it in Dataset.tasks")
    return pa.table(columns, schema=schema)
