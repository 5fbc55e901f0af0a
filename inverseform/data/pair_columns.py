"""Pairs as the columns of a table: hard tiles at eight pixels to a byte, real predictions at a byte a pixel."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from inverseform.pairs import pack, unpack


class Pairs(NamedTuple):
    """Some pairs: a tile, what it becomes under theta, and where they come from."""

    tile: Bool[Tensor, "count tile tile"]
    warped: Bool[Tensor, "count tile tile"]
    theta: Float[Tensor, "count 3 3"]
    """Maps coordinates of `warped` to coordinates of `tile`."""
    seed: Int64[Tensor, " count"]
    """Of the degradation."""
    prediction: UInt8[Tensor, "count tile tile"] | None = None
    """255 times what a network gave where `warped` is the truth; zeros for the pairs that have none, and None where no
    pair of the store can have one."""
    soft: Bool[Tensor, " count"] | None = None
    """Which pairs have a prediction; None along with it."""


class Origin(NamedTuple):
    """Where the tiles of some pairs were cut."""

    source: list[str]
    """Name of the sample, for each pair."""
    place: Int64[Tensor, "count 2"]
    """Row and column of the tile's upper left pixel."""


def join(parts: Sequence[Pairs]) -> Pairs:
    """Pairs one after another; all parts have predictions, or none has."""
    return Pairs(*(None if f[0] is None else torch.cat(f) for f in zip(*parts, strict=True)))  # pyright: ignore[reportArgumentType]


def schema(tile: int, *, predictions: bool) -> pa.Schema:
    """Columns of a shard of pairs; the one of predictions is there only where a pair may have one."""
    packed = pa.binary(-(-tile * tile // 8))
    columns = [
        ("tile", packed), ("warped", packed), ("theta", pa.list_(pa.float32(), 9)), ("degradation_seed", pa.int64()),
        ("source", pa.string()), ("row", pa.int32()), ("column", pa.int32()),
    ]  # fmt: skip
    return pa.schema([*columns, ("prediction", pa.binary(tile * tile))] if predictions else columns)


def as_table(pairs: Pairs, origin: Origin) -> pa.Table:
    """Pack pairs into rows; what they held unpacked can be let go of."""
    columns = schema(pairs.tile.shape[-1], predictions=pairs.prediction is not None)
    theta = pa.array(rearrange(pairs.theta, "count row column -> (count row column)").numpy())
    arrays = [
        _binary(pack(pairs.tile).numpy()), _binary(pack(pairs.warped).numpy()),
        pa.FixedSizeListArray.from_arrays(theta, 9), pa.array(pairs.seed.numpy()), pa.array(origin.source, pa.string()),
        pa.array(origin.place[:, 0].numpy(), pa.int32()), pa.array(origin.place[:, 1].numpy(), pa.int32()),
    ]  # fmt: skip
    if pairs.prediction is not None and pairs.soft is not None:
        flat = rearrange(pairs.prediction, "count row column -> count (row column)").numpy()
        arrays.append(_binary(flat, there=pairs.soft.numpy()))
    return pa.table(arrays, schema=columns)


class Packed(NamedTuple):
    """Rows of a table as tensors, hard tiles still packed, and only those predictions that there are."""

    tile: UInt8[Tensor, "count bytes"]
    warped: UInt8[Tensor, "count bytes"]
    theta: Float[Tensor, "count 3 3"]
    seed: Int64[Tensor, " count"]
    prediction: UInt8[Tensor, "held pixels"] | None
    held: Int64[Tensor, " count"]
    """Which row of `prediction` is that of a pair; -1 for none."""

    @classmethod
    def read(cls, table: pa.Table) -> "Packed":
        """Rows of a table with the columns that `columns` names."""
        seed = torch.from_numpy(table["degradation_seed"].to_numpy().copy())
        prediction, held = None, torch.full((len(table),), -1)
        if "prediction" in table.column_names:
            there = torch.from_numpy(table["prediction"].combine_chunks().is_valid().to_numpy(zero_copy_only=False))
            prediction = _bytes(table["prediction"])[there]
            held[there] = torch.arange(len(prediction))
        return cls(_bytes(table["tile"]), _bytes(table["warped"]), thetas(table), seed, prediction, held)

    @classmethod
    def mixed(cls, parts: Iterable["Packed"], order: Int64[Tensor, " count"], *, tile: int) -> "Packed":
        """Rows of tiles of a side in another order; each part is put where it goes and let go of.

        The predictions stay in the order they come, as they are large.
        """
        count, width = len(order), -(-tile * tile // 8)
        packed = torch.empty(2, count, width, dtype=torch.uint8)
        theta, seed, held = torch.empty(count, 3, 3), torch.empty_like(order), torch.empty_like(order)
        predictions: list[UInt8[Tensor, "held pixels"]] = []
        place, first, known = order.argsort(), 0, 0
        for part in parts:
            to = place[first : first + len(part.seed)]
            packed[0, to], packed[1, to], theta[to], seed[to] = part.tile, part.warped, part.theta, part.seed
            # Each part counts its predictions from 0.
            held[to] = torch.where(part.held < 0, -1, part.held + known)
            first += len(to)
            if part.prediction is not None:
                predictions.append(part.prediction)
                known += len(part.prediction)
        return cls(packed[0], packed[1], theta, seed, torch.cat(predictions) if predictions else None, held)

    def rows(self, start: int, stop: int) -> "Packed":
        """Some of the rows that follow each other."""
        tile, warped, theta, seed, _, held = self
        some = slice(start, stop)
        return Packed(tile[some], warped[some], theta[some], seed[some], self.prediction, held[some])

    def unpack(self, tile: int) -> Pairs:
        """The pairs, for tiles of a side."""
        hard = Pairs(unpack(self.tile, tile), unpack(self.warped, tile), self.theta, self.seed)
        if self.prediction is None:
            return hard
        soft = self.held >= 0
        prediction = torch.zeros(len(soft), tile * tile, dtype=torch.uint8)
        prediction[soft] = self.prediction[self.held[soft]]
        return hard._replace(prediction=prediction.unflatten(1, (tile, tile)), soft=soft)


def thetas(table: pa.Table) -> Float[Tensor, "count 3 3"]:
    """The transforms of a table's rows."""
    return torch.from_numpy(table["theta"].combine_chunks().flatten().to_numpy().copy()).unflatten(0, (-1, 3, 3))


def _binary(rows: UInt8[np.ndarray, "count bytes"], *, there: Bool[np.ndarray, " count"] | None = None) -> pa.Array:
    """A column of fixed width, without a Python object for each row; null where there is nothing."""
    known = None if there is None else pa.py_buffer(np.packbits(there, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), [known, data])


def _bytes(column: pa.ChunkedArray) -> UInt8[Tensor, "count bytes"]:
    """A column of fixed width as (rows, bytes), without a Python object for each."""
    array = column.combine_chunks()
    width = array.type.byte_width
    flat = np.frombuffer(array.buffers()[1], np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    return torch.from_numpy(flat.reshape(len(array), width).copy())
