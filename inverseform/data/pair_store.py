"""Pairs on disk: shards of bit-packed tiles, written by synthesize and streamed to train_inverse."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from inverseform.data.shards import Shard, ShardFormat, ShardWriter, open_shard, shard_path, shards
from inverseform.pairs import pack, unpack
from inverseform.settings import InputError

FORMAT = ShardFormat("pairs", 1, "synthesize")
COUNTS = "pairs.json"
GROUP = 1024
"""Pairs in a row group."""
WINDOW = 16
"""Row groups that are read at once and mixed; what a reader keeps in memory."""


class Pairs(NamedTuple):
    """Some pairs: a tile, what it becomes under theta, and where they come from."""

    tile: Bool[Tensor, "count tile tile"]
    warped: Bool[Tensor, "count tile tile"]
    theta: Float[Tensor, "count 3 3"]
    """Maps coordinates of `warped` to coordinates of `tile`."""
    seed: Int64[Tensor, " count"]
    """Of the degradation."""


class Origin(NamedTuple):
    """Where the tiles of some pairs were cut."""

    source: list[str]
    """Name of the sample, for each pair."""
    place: Int64[Tensor, "count 2"]
    """Row and column of the tile's upper left pixel."""


def schema(tile: int) -> pa.Schema:
    """Columns of a shard of pairs."""
    packed = pa.binary(-(-tile * tile // 8))
    return pa.schema({
        "tile": packed, "warped": packed, "theta": pa.list_(pa.float32(), 9), "degradation_seed": pa.int64(),
        "source": pa.string(), "row": pa.int32(), "column": pa.int32(),
    })  # fmt: skip


def write(path: Path, number: int, pairs: Pairs, origin: Origin, *, settings: dict) -> None:
    """Write one shard whole: `path` is its folder and split, such as pairs/train.

    Raises:
        OSError: The disk is full, say.
    """
    columns = schema(pairs.tile.shape[-1])
    theta = pa.array(rearrange(pairs.theta, "count row column -> (count row column)").numpy())
    table = pa.table([
        _binary(pairs.tile, columns.field("tile").type), _binary(pairs.warped, columns.field("warped").type),
        pa.FixedSizeListArray.from_arrays(theta, 9), pa.array(pairs.seed.numpy()), pa.array(origin.source, pa.string()),
        pa.array(origin.place[:, 0].numpy(), pa.int32()), pa.array(origin.place[:, 1].numpy(), pa.int32()),
    ], schema=columns)  # fmt: skip
    # One call is one shard, however large: synthesize decides how many pairs are in it.
    writer = ShardWriter(
        path.parent, path.name, columns, format=FORMAT, settings=settings, shard_bytes=2**62, first=number
    )
    with writer:
        for start in range(0, len(table), GROUP):
            writer.write(table.slice(start, GROUP))


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
        # Two: a batch may lie across the border of two windows.
        self._window = lru_cache(maxsize=2)(self._read_window)

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
        return Pairs(*(torch.cat(fields) for fields in zip(*parts, strict=True)))

    def all(self) -> Iterator[Pairs]:
        """Every pair, in the order they are stored, a row group at a time."""
        for index in range(len(self.groups)):
            yield self._unpack(self._read(index))

    def theta(self) -> Float[Tensor, "pairs 3 3"]:
        """The transforms of all pairs."""
        return torch.cat([_theta(self.shards[n].read(g, columns=["theta"])) for n, g in self.groups])

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
        pairs = self._unpack(_Packed(*(field[start : start + size] for field in window)))
        # 2**40 is beyond every seed that synthesize draws, so no two epochs share one.
        return pairs._replace(seed=pairs.seed + epoch * 2**40)

    def _read_window(self, groups: tuple[int, ...], mixing: int) -> "_Packed":
        """Row groups mixed with each other."""
        parts = [self._read(index) for index in groups]
        order = torch.randperm(sum(len(p.seed) for p in parts), generator=torch.Generator().manual_seed(mixing))
        return _Packed(*(torch.cat(fields)[order] for fields in zip(*parts, strict=True)))

    def _read(self, index: int) -> "_Packed":
        number, group = self.groups[index]
        table = self.shards[number].read(group, columns=["tile", "warped", "theta", "degradation_seed"])
        seed = torch.from_numpy(table["degradation_seed"].to_numpy().copy())
        return _Packed(_bytes(table["tile"]), _bytes(table["warped"]), _theta(table), seed)

    def _unpack(self, packed: "_Packed") -> Pairs:
        tile, warped = unpack(packed.tile, self.tile), unpack(packed.warped, self.tile)
        return Pairs(tile, warped, packed.theta, packed.seed)


def _read_counts(folder: Path) -> dict[str, int]:
    try:
        return json.loads((folder / COUNTS).read_text())
    except (FileNotFoundError, ValueError) as error:
        raise InputError(
            f"{folder}: has no readable {COUNTS} ({error}), so shards may be missing; run `dvc repro synthesize`"
        ) from error


class _Packed(NamedTuple):
    """Pairs as they are stored, eight pixels to a byte."""

    tile: UInt8[Tensor, "count bytes"]
    warped: UInt8[Tensor, "count bytes"]
    theta: Float[Tensor, "count 3 3"]
    seed: Int64[Tensor, " count"]


def _binary(tiles: Bool[Tensor, "count tile tile"], type: pa.DataType) -> pa.Array:
    packed = pack(tiles).numpy()
    return pa.FixedSizeBinaryArray.from_buffers(type, len(packed), [None, pa.py_buffer(np.ascontiguousarray(packed))])


def _theta(table: pa.Table) -> Float[Tensor, "count 3 3"]:
    return torch.from_numpy(table["theta"].combine_chunks().flatten().to_numpy().copy()).unflatten(0, (-1, 3, 3))


def _bytes(column: pa.ChunkedArray) -> Tensor:
    """A column of packed tiles as (rows, bytes), without a Python object for each."""
    array = column.combine_chunks()
    width = array.type.byte_width
    flat = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    return torch.from_numpy(flat.reshape(len(array), width).copy())
