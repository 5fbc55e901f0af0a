"""One sample as bytes: a row of the sample store.

Images stay encoded as they came; labels are a grey PNG of class ids (255: not known); a boundary map is a grey PNG with
bit 0 for the boundary, and bit 1 for `valid`; a prediction is a grey PNG of 255 times the probability.
"""

from typing import NamedTuple

import pyarrow as pa
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from inverseform.data.dataset import Reading, decode_image, decode_map, encode_png
from inverseform.sample import Sample

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("labels", pa.binary(), nullable=False),
        pa.field("boundary", pa.binary(), nullable=False),
        pa.field("prediction", pa.binary(), nullable=True),
    ]
)
"""Columns of a shard: the fields of StoredSample."""


class StoredSample(NamedTuple):
    """One row of a shard."""

    name: str
    height: int
    width: int
    image: bytes
    labels: bytes
    boundary: bytes
    prediction: bytes | None

    @property
    def size(self) -> int:
        """Bytes of the pictures in it."""
        return len(self.image) + len(self.labels) + len(self.boundary) + len(self.prediction or b"")


def stored(
    name: str,
    reading: Reading,
    boundary: Float[Tensor, "1 height width"],
    valid: Float[Tensor, "1 height width"],
) -> StoredSample:
    """Encode a sample for the store; its image is taken as it came."""
    # Both maps hold 0 and 1 only, and one PNG of both is smaller than two.
    bits = encode_png((boundary.byte() + 2 * valid.byte())[0].numpy())
    prediction = None if reading.prediction is None else encode_png(reading.prediction)
    height, width = reading.labels.shape
    return StoredSample(name, height, width, reading.encoded, encode_png(reading.labels), bits, prediction)


def decoded(row: StoredSample, *, source: str) -> Sample:
    """The sample of a row.

    Raises:
        InputError: One of its pictures is damaged; `source` says where the row is.
    """
    image = torch.from_numpy(decode_image(row.image, source=source))
    bits = torch.from_numpy(decode_map(row.boundary, source=source))[None]
    return Sample(
        row.name,
        rearrange(image, "height width channel -> channel height width").contiguous(),
        torch.from_numpy(decode_map(row.labels, source=source)),
        (bits & 1).float(),
        (bits >> 1).float(),
        _probability(row.prediction, source),
    )


class Maps(NamedTuple):
    """A sample without its image and its labels."""

    name: str
    boundary: Float[Tensor, "1 height width"]
    prediction: Float[Tensor, "1 height width"] | None


def decoded_maps(name: str, boundary: bytes, prediction: bytes | None, *, source: str) -> Maps:
    """The boundary map and the prediction of a row.

    Raises:
        InputError: One of them is damaged.
    """
    bits = torch.from_numpy(decode_map(boundary, source=source))[None]
    return Maps(name, (bits & 1).float(), _probability(prediction, source))


def _probability(prediction: bytes | None, source: str) -> Float[Tensor, "1 height width"] | None:
    if prediction is None:
        return None
    return torch.from_numpy(decode_map(prediction, source=source))[None].float() / 255
