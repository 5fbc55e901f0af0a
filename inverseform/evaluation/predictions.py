"""Predictions kept until all are made, as only then it is known which are worth a picture: on disk, not in memory."""

import tempfile
import zlib
from types import TracebackType
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor


class _Place(NamedTuple):
    start: int
    size: int
    shape: tuple[int, ...]


class Predictions:
    """Label maps in a file without a name, which goes when it is closed or the process ends."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._places: list[_Place] = []

    def add(self, predicted: UInt8[Tensor, "height width"]) -> None:
        """Keep another."""
        # Level 1: the maps are plain areas, which any level makes some fifty times smaller.
        data = zlib.compress(predicted.contiguous().numpy().data, level=1)
        start = self._file.seek(0, 2)
        self._file.write(data)
        self._places.append(_Place(start, len(data), tuple(predicted.shape)))

    def __getitem__(self, index: int) -> UInt8[Tensor, "height width"]:
        """The one that was added so many before it."""
        place = self._places[index]
        self._file.seek(place.start)
        pixels = zlib.decompress(self._file.read(place.size))
        return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(place.shape)

    def __enter__(self) -> "Predictions":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
