"""One sample as bytes: a row of the sample store.

Images stay encoded as they came; labels are a packed map of class ids (255: not known); a boundary map is a packed map
of `boundary_bits`; a prediction is a grey PNG of 255 times the probability; targets of other tasks are as `tasks`
encodes them, a column each.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from inverseform.data import tasks
from inverseform.data.boundary_bits import BOUNDARY, VALID
from inverseform.data.dataset import Reading, decode_image, decode_map, encode_png
from inverseform.data.packed_map import pack, unpack
from inverseform.sample import IGNORE_INDEX, Sample

SCHEMA = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("class_pixels", pa.list_(pa.int32()), nullable=False),
        pa.field("image", pa.binary(), nullable=False),
        pa.field("labels", pa.binary(), nullable=False),
        pa.field("boundary", pa.binary(), nullable=False),
        pa.field("prediction", pa.binary(), nullable=True),
        *(pa.field(task, pa.binary(), nullable=True) for task in tasks.TASKS),
    ]
)
"""Columns of a shard: the fields of StoredSample."""


class StoredSample(NamedTuple):
    """One row of a shard."""

    name: str
    height: int
    width: int
    class_pixels: list[int]
    """Pixels of each class by its id, up to the last class that occurs."""
    image: bytes
    labels: bytes
    boundary: bytes
    prediction: bytes | None = None
    depth: bytes | None = None
    normals: bytes | None = None
    edges: bytes | None = None
    saliency: bytes | None = None
    human_parts: bytes | None = None
    hha: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of the pictures in it."""
        return sum(len(value) for value in self if isinstance(value, bytes))


def stored(
    name: str,
    reading: Reading,
    boundary: Float[Tensor, "1 height width"],
    valid: Float[Tensor, "1 height width"],
) -> StoredSample:
    """Encode a sample for the store; its image is taken as it came."""
    # Both maps hold 0 and 1 only.
    return stored_bits(name, reading, (BOUNDARY * boundary.byte() + VALID * valid.byte())[0].numpy())


def stored_bits(name: str, reading: Reading, bits: UInt8[np.ndarray, "height width"]) -> StoredSample:
    """The same with the maps of a sample as `boundary_bits` gives them."""
    height, width = reading.labels.shape
    return StoredSample(
        name=name,
        height=height,
        width=width,
        class_pixels=_class_pixels(reading.labels),
        image=reading.encoded,
        labels=pack(reading.labels),
        boundary=pack(bits),
        prediction=None if reading.prediction is None else encode_png(reading.prediction),
        **{task: tasks.encode(task, target) for task, target in reading.targets.items()},
    )


def _class_pixels(labels: UInt8[np.ndarray, "height width"]) -> list[int]:
    # PIL counts bytes as they are; numpy would make 64-bit integers of them first, for ten times the time.
    counts = Image.fromarray(labels).histogram()[:IGNORE_INDEX]
    return counts[: max((klass + 1 for klass, count in enumerate(counts) if count), default=0)]


def decoded(row: StoredSample, *, source: str, wanted: Iterable[str] = ()) -> Sample:
    """The sample of a row, with the targets of the tasks that are wanted and there.

    Raises:
        InputError: One of its pictures is damaged; `source` says where the row is.
    """
    image = rearrange(decode_image(row.image, source=source), "height width channel -> channel height width")
    bits = torch.from_numpy(unpack(row.boundary, source=source))[None]
    return Sample(
        row.name,
        # By numpy, which turns bytes in half of torch's time.
        torch.from_numpy(np.ascontiguousarray(image)),
        torch.from_numpy(unpack(row.labels, source=source)),
        (bits & BOUNDARY).float(),
        (bits >> 1).float(),
        _probability(row.prediction, source),
        {task: tasks.decode(task, data, source=source) for task in wanted if (data := getattr(row, task)) is not None},
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
    bits = torch.from_numpy(unpack(boundary, source=source))[None]
    return Maps(name, (bits & BOUNDARY).float(), _probability(prediction, source))


def _probability(prediction: bytes | None, source: str) -> Float[Tensor, "1 height width"] | None:
    if prediction is None:
        return None
    return torch.from_numpy(decode_map(prediction, source=source))[None].float() / 255
