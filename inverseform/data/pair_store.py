"""Pairs on disk: shards of bit-packed tiles, written by synthesize and streamed to train_inverse."""

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from inverseform.data.pair_columns import Origin, Packed, Pairs, as_table, join, schema, thetas
from inverseform.data.shards import Shard, ShardFormat, ShardWriter, open_shard, shard_path, shards
from inverseform.settings import InputError
from inverseform.transform import DegreesOfFreedom, offsets

__all__ = ["Origin", "PairStore", "Pairs", "join", "write", "write_counts"]

FORMAT = ShardFormat("pairs", 2, "synthesize")
COUNTS = "pairs.json"
GROUP = 1024
"""Pairs in a row group."""
WINDOW = 16
"""Row groups that are read at once and mixed; what a reader keeps in memory."""


def write(
    path: Path, number: int, parts: Iterable[tuple[Pairs, Origin]], *, settings: dict, predictions: bool = False
) -> None:
    """Write one shard whole; pairs are packed as they come, and let go of row group by row group.

    Args:
        path: Folder and split, such as pairs/train.
        number: Of the shard.
        parts: A few pairs at a time, and where they were cut.
        settings: What all shards were made with, the side of a `tile` among it.
        predictions: Whether a pair may have a real prediction; all shards of a split agree.

    Raises:
        OSError: The disk is full, say.
    """
    columns = schema(settings["tile"], predictions=predictions)
    # One call is one shard, however large: synthesize decides how many pairs are in it.
    writer = ShardWriter(
        path.parent, path.name, columns, format=FORMAT, settings=settings, shard_bytes=2**62, first=number
    )
    with writer:
        for group in _groups(as_table(pairs, origin) for pairs, origin in parts):
            writer.write(group)


def write_counts(folder: Path, counts: dict[str, int]) -> None:
    """Write pairs.json, which says how many pairs of each split there are, once all shards are there."""
    (folder / COUNTS).write_text(json.dumps(counts) + "\n")


class PairStore:
    """The pairs of one split, streamed in a shuffled order of which any place can be found again.

    Raises:
        FileNotFoundError: One is missing between two others.
        InputError: There are none, or a shard is damaged or was made with other settings than the first.
    """

    def __init__(self, folder: Path, split: str) -> None:
        paths = shards(folder, split)
        if not paths:
            raise InputError(f"{folder}: there are no shards {split}-*.parquet; run `dvc repro synthesize`")
        self.settings = open_shard(paths[0], format=FORMAT).settings
        self.tile: int = self.settings["tile"]
        # By number, so that one which is missing between two others is noticed.
        paths = [shard_path(folder, split, number) for number in range(len(paths))]
        self.shards: list[Shard] = [open_shard(path, format=FORMAT, settings=self.settings) for path in paths]
        self.groups = [(number, group) for number, s in enumerate(self.shards) for group in range(len(s.groups))]
        self.rows = [self.shards[number].groups[group] for number, group in self.groups]
        if len(self) != (count := _read_counts(folder).get(split)):
            raise InputError(
                f"{folder}: its {split} shards hold {len(self)} pairs and {COUNTS} counts {count}; "
                f"delete {folder} and run `dvc repro synthesize`"
            )
        stored = self.shards[0].file.schema_arrow.names
        self._columns = [n for n in ("tile", "warped", "theta", "degradation_seed", "prediction") if n in stored]
        # One: a batch across the border of two windows has copied its part of the first before the second is read.
        self._window = lru_cache(maxsize=1)(self._read_window)

    def __len__(self) -> int:
        return sum(self.rows)

    def batch(self, step: int, size: int, *, seed: int) -> Pairs:
        """The pairs of a step: `size` of an endless stream, each epoch of it in another order.

        A pair's degradation seed changes with the epoch, so that it is never seen twice in the same way.
        """
        parts, position = [], step * size
        while size:
            epoch, start = divmod(position, len(self))
            part = self._slice(epoch, start, size, seed)
            parts.append(part)
            size -= len(part.seed)
            position += len(part.seed)
        return join(parts)

    def all(self) -> Iterator[Pairs]:
        """Every pair, in the order they are stored, a row group at a time."""
        for index in range(len(self.groups)):
            yield self._read(index).unpack(self.tile)

    def moments(
        self, degrees_of_freedom: DegreesOfFreedom
    ) -> tuple[Float[Tensor, " numbers"], Float[Tensor, " numbers"]]:
        """Mean and standard deviation of each offset from the identity, over all pairs, in 64 bits."""
        total, squares = torch.zeros(degrees_of_freedom).double(), torch.zeros(degrees_of_freedom).double()
        for number, group in self.groups:
            theta = thetas(self.shards[number].read(group, columns=["theta"]))
            numbers = offsets(theta, degrees_of_freedom).double()
            total, squares = total + numbers.sum(dim=0), squares + numbers.square().sum(dim=0)
        mean = total / len(self)
        # Offsets are small, so that the difference of squares keeps its digits; a constant leaves less than nothing.
        return mean, (squares / len(self) - mean.square()).clamp(min=0).sqrt()

    def theta(self) -> Float[Tensor, "pairs 3 3"]:
        """The transforms of all pairs."""
        return torch.cat([thetas(self.shards[n].read(g, columns=["theta"])) for n, g in self.groups])

    def _slice(self, epoch: int, start: int, size: int, seed: int) -> Pairs:
        """Pairs of an epoch from a place on, as far as one window goes."""
        # A prime above any number of epochs keeps the streams of two seeds apart.
        mixing = seed * 1_000_003 + epoch
        order = torch.randperm(len(self.groups), generator=torch.Generator().manual_seed(mixing)).tolist()
        groups: list[int] = []
        for first in range(0, len(order), WINDOW):
            groups = order[first : first + WINDOW]
            held = sum(self.rows[index] for index in groups)
            if start < held:
                break
            start -= held
        window = self._window(tuple(groups), mixing)
        pairs = window.rows(start, start + size).unpack(self.tile)
        # 2**40 is beyond every seed that synthesize draws, so no two epochs share one.
        return pairs._replace(seed=pairs.seed + epoch * 2**40)

    def _read_window(self, groups: tuple[int, ...], mixing: int) -> Packed:
        """Row groups mixed with each other."""
        count = sum(self.rows[index] for index in groups)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(mixing))
        return Packed.mixed(map(self._read, groups), order, tile=self.tile)

    def _read(self, index: int) -> Packed:
        number, group = self.groups[index]
        return Packed.read(self.shards[number].read(group, columns=self._columns))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP, the last one of what is left."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= GROUP:
            whole = pa.concat_tables(held)
            for start in range(0, len(whole) - GROUP + 1, GROUP):
                yield whole.slice(start, GROUP).combine_chunks()
            held = [whole.slice(len(whole) - len(whole) % GROUP)]
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _read_counts(folder: Path) -> dict[str, int]:
    try:
        return json.loads((folder / COUNTS).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{folder}: has no readable {COUNTS} ({error}), so shards may be missing; run `dvc repro synthesize`"
        ) from error
