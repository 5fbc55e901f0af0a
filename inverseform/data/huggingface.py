"""Any data set of the library Hugging Face `datasets` that has a column of images and one of label maps.

    data/raw/<data set>/                what DatasetDict.save_to_disk wrote: dataset_dict.json, <split>/*.arrow, or
    data/raw/<data set>/                a copy of a data set of the hub: README.md, data/<split>-*.parquet
    the cache of huggingface_hub        the same copy, under the data set's name ($HF_HOME says where)

Nothing is asked of the network unless the settings say `where: hub`; the code of a data set is never run (`datasets`
5 cannot, and `trust_remote_code` is not handed on). Parquet files are turned into Arrow once, in datasets' own cache.

- Label maps are pictures, or arrays of two axes. Many count the classes from 1 and have 0 for what is not known:
  `first_id: 1, ignore_index: 0`.
- Images that are not PNG or JPEG (WebP, TIFF, BMP) are stored as PNG, pixel by pixel the same.
- Licences differ: each data set's card tells its own.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from inverseform.data.dataset import (
    ORIENTATION,
    STORED,
    UNREADABLE,
    Dataset,
    Reading,
    check_upright,
    decode_image,
    encode_png,
)
from inverseform.data.huggingface_splits import opened, snapshot
from inverseform.data.label_maps import check_size
from inverseform.data.label_settings import LabelSettings
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError

if TYPE_CHECKING:
    import datasets

SPLITS = ("train", "val", "test")
_OTHERS = ("WEBP", "TIFF", "BMP")


class HuggingfaceParams(LabelSettings):
    """A data set of Hugging Face `datasets`."""

    name: Literal["huggingface"]
    """Which data set: one of Hugging Face `datasets`."""
    where: Literal["folder", "cache", "hub"]
    """folder: under data/raw. cache: on this machine, under its name. hub: downloaded, as far as it is not there."""
    dataset: str
    """The folder under data/raw ("." for data/raw itself), or the name on the hub, as in owner/name."""
    configuration: str | None
    """One of several that a data set may have; null for its only or usual one."""
    revision: str | None
    """The commit on the hub, for the same data tomorrow; null for the newest, and with where: folder."""
    train: str
    """A split of the data set; or a part of one, as in train[:90%], but not of one that save_to_disk wrote."""
    val: str
    test: str
    image: str
    """The column of images."""
    labels: str
    """The column of label maps."""
    first_id: int = Field(ge=0, le=255)
    """The value of the first class, with label_format ids."""


@dataclass(frozen=True)
class HuggingfaceSource:
    """One row."""

    rows: "datasets.Dataset"
    split: str
    number: int
    params: HuggingfaceParams

    @property
    def name(self) -> str:
        """Its number in the split."""
        return f"{self.number:06d}"

    def read(self) -> Reading:
        """Read the row and check its two pictures against each other and the classes.

        Raises:
            InputError: One cannot be decoded, their sizes differ, or a label is not of a class.
        """
        row = self.rows[self.number]
        place = Path(f"{self.params.dataset}: {self.split}, row {self.number}")
        image, labels = (
            place.with_name(f"{place.name}, {column}") for column in (self.params.image, self.params.labels)
        )
        encoded = _stored(_bytes(row[self.params.image], image), image)
        pixels = decode_image(encoded, source=str(image))
        data = row[self.params.labels]
        picture = encode_png(_grey(data, labels)) if isinstance(data, list) else _bytes(data, labels)
        ids = self.params.decode(picture, source=str(labels), first_id=self.params.first_id)
        check_size(labels, ids.shape, image=image, pixels=pixels.shape)
        return Reading(encoded, pixels, ids)


def open_huggingface(params: HuggingfaceParams, raw: Path) -> Dataset:
    """Find the splits of a data set and look at the types of its columns; no picture is read yet.

    Raises:
        InputError: The library is not installed.
        LayoutError: The data set is not there, or lacks a split or a column.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            f"ingest.data.name is huggingface and its library is not installed ({error}); type: "
            f"pip install 'inverseform[huggingface]'"
        ) from error
    if params.where == "folder":
        folder = raw / params.dataset
    else:
        folder = snapshot(params.dataset, revision=params.revision, download=params.where == "hub")
    wanted = {split: getattr(params, split) for split in SPLITS}
    found = opened(folder, wanted, configuration=params.configuration)
    problems = []
    for split, rows in found.items():
        problems += _column_problems(folder, wanted[split], rows, params)
    if problems:
        raise LayoutError(list(dict.fromkeys(problems)))
    as_bytes = datasets.Image(decode=False)
    splits, expected = {}, {}
    for split, rows in found.items():
        rows = rows.select_columns([params.image, params.labels])
        for column in (params.image, params.labels):
            if isinstance(rows.features[column], datasets.Image):
                rows = rows.cast_column(column, as_bytes)
        splits[split] = [HuggingfaceSource(rows, wanted[split], number, params) for number in range(len(rows))]
        known = (rows.info.splits or {}).get(wanted[split])
        if known is not None and known.num_examples:
            expected[split] = known.num_examples
    return Dataset("huggingface", params.classes, params.colours, splits, expected=expected)


def _column_problems(folder: Path, split: str, rows: "datasets.Dataset", params: HuggingfaceParams) -> list[str]:
    import datasets

    problems = []
    for column, arrays in ((params.image, False), (params.labels, True)):
        kind = rows.features.get(column)
        if kind is None:
            problems.append(f"{folder}: {split} has no column {column}; it has {', '.join(rows.features)}")
        elif not isinstance(kind, datasets.Image) and not (
            arrays and isinstance(kind, (datasets.Array2D, datasets.List))
        ):
            problems.append(f"{folder}: the column {column} of {split} is {kind}; name one of pictures")
    return problems


def _bytes(value: Any, place: Path) -> bytes:  # noqa: ANN401 (a cell)
    """The file in a cell, or the one that it names."""
    if not value or not (value.get("bytes") or value.get("path")):
        raise InputError(f"{place}: is empty; take the row out of the data set")
    if value.get("bytes"):
        return value["bytes"]
    try:
        return Path(value["path"]).read_bytes()
    except OSError as error:
        raise InputError(
            f"{place}: its file {value['path']} cannot be read ({error.strerror}); copy it there"
        ) from error


def _stored(data: bytes, place: Path) -> bytes:
    """The image as it is if it is a PNG or JPEG, else as PNG."""
    if data.startswith(STORED):
        return data
    try:
        picture = Image.open(io.BytesIO(data), formats=_OTHERS)
        # Before it is decoded: PIL turns a TIFF then, and forgets it.
        turn = picture.getexif().get(ORIENTATION, 1)
        picture.load()
    except UNREADABLE as error:
        told = "begins like none of them" if isinstance(error, UnidentifiedImageError) else error
        raise InputError(
            f"{place}: cannot be decoded as PNG, JPEG, {', '.join(_OTHERS)} ({told}); take the row out of the data set"
        ) from error
    # A PNG made of it would have lost both.
    if picture.mode.startswith(("I", "F")):
        raise InputError(f"{place}: has more than 8 bits a channel; images need 8: convert it")
    check_upright(turn, source=str(place))
    return encode_png(np.array(picture.convert("RGB")))


def _grey(rows: list[Any], place: Path) -> UInt8[np.ndarray, "height width"]:
    """An array of ids."""
    try:
        array = np.array(rows)
    except ValueError:
        # Rows of different lengths.
        array = np.array(rows, dtype=object)
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.integer) or array.min() < 0 or array.max() > 255:
        raise InputError(
            f"{place}: is of the shape {array.shape} and {array.dtype}; a label map has two axes of 0 to 255"
        )
    return array.astype(np.uint8)
