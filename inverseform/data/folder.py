"""A data set of one's own: {train,val,test}/{images,labels}, one image and one label map of the same stem each.

Images are PNG or JPEG of 8 bits a channel; labels are PNG, of class ids or of colours. An image with an EXIF
orientation is refused, because nothing tells whether its labels were drawn before or after turning it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Integer, UInt8
from pydantic import Field, field_validator

from inverseform.data.dataset import Channel, Colour, Dataset, Reading, decode_image, open_picture
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

SPLITS = ("train", "val", "test")
IMAGES = (".png", ".jpg", ".jpeg")
_GREY = 0
"""PNG's number for grey pixels without alpha."""


class FolderParams(Settings):
    """A folder of images and label maps."""

    name: Literal["folder"]
    """Which data set: the one under data/raw, whose README.md describes the layout."""
    label_format: Literal["ids", "colours"]
    """ids: single-channel PNG, the value (or palette index) of a pixel is its class. colours: RGB PNG."""
    classes: tuple[str, ...] = Field(min_length=2, max_length=255)
    """Names of the classes, by id from 0."""
    colours: tuple[Colour, ...]
    """One RGB colour a class, 0 to 255: for pictures, and what label_format colours looks up."""
    ignore_index: Channel | Colour | None
    """The label that means unknown: an id, 0 to 255, or an RGB colour with label_format colours; null for none.
    An id that also names a class takes that class out: its pixels are unknown."""

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if twice := {name for name in classes if classes.count(name) > 1}:
            raise ValueError(f"classes has {', '.join(sorted(twice))} twice; give each class a name of its own")
        return classes

    @field_validator("colours")
    @classmethod
    def _check_colours(cls, colours: tuple[Colour, ...], info: Any) -> tuple[Colour, ...]:  # noqa: ANN401
        # `info` is pydantic's ValidationInfo, a protocol that cannot be checked while running. Its data lack a field
        # that was itself refused.
        classes = info.data.get("classes", colours)
        if len(colours) != len(classes):
            raise ValueError(f"colours has {len(colours)} entries for {len(classes)} classes; give one a class")
        if info.data.get("label_format") == "colours" and len(set(colours)) != len(colours):
            raise ValueError(
                f"colours has {len(colours) - len(set(colours))} twice; labels need one of its own a class"
            )
        return colours

    @field_validator("ignore_index")
    @classmethod
    def _check_ignore_index(cls, label: int | Colour | None, info: Any) -> int | Colour | None:  # noqa: ANN401
        label_format = info.data.get("label_format", "ids")
        if label is not None and isinstance(label, tuple) != (label_format == "colours"):
            kind = "an RGB colour" if label_format == "colours" else "an id from 0 to 255"
            raise ValueError(f"ignore_index with label_format {label_format} is {kind}, or null")
        if label in info.data.get("colours", ()):
            raise ValueError(f"ignore_index {label} is also the colour of a class; give the class another")
        return label


@dataclass(frozen=True)
class FolderSource:
    """One image and its label map."""

    name: str
    image: Path
    label: Path
    params: FolderParams

    def read(self) -> Reading:
        """Read both files and check them against each other and the classes.

        Raises:
            InputError: One cannot be decoded, their sizes differ, or a label is not of a class.
        """
        # Read once: the bytes that are checked are the bytes that are stored.
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        ids = _colour_ids if self.params.label_format == "colours" else _plain_ids
        labels = ids(self.label, self.params)
        if image.shape[:2] != labels.shape:
            raise InputError(
                f"{self.label}: is {_size(labels)} and {self.image.name} is {_size(image)} (width x height); an "
                f"image and its labels have the same size: scale one of them (the labels without smoothing)"
            )
        return Reading(encoded, image, labels)


def open_folder(params: FolderParams, raw: Path) -> Dataset:
    """List the files of all splits; none is read yet.

    Raises:
        InputError: A split is missing or empty, or a file lacks its counterpart or is of another kind.
    """
    splits = {split: _sources(raw / split, params) for split in SPLITS}
    return Dataset("folder", params.classes, params.colours, splits)


def _sources(split: Path, params: FolderParams) -> list[FolderSource]:
    images, labels = _files(split / "images"), _files(split / "labels")
    for stem, path in labels.items():
        if path.suffix.lower() != ".png":
            raise InputError(
                f"{path}: labels must be PNG; JPEG blends neighbouring ids into ids of other classes, so make the PNG "
                f"from the original label map, not from this file"
            )
        if stem not in images:
            raise InputError(f"{path}: has no image in {split / 'images'}; add {stem}.png or {stem}.jpg, or remove it")
    for stem, path in images.items():
        if stem not in labels:
            raise InputError(f"{path}: has no labels in {split / 'labels'}; add {stem}.png there, or remove the image")
    return [FolderSource(stem, path, labels[stem], params) for stem, path in images.items()]


def _files(folder: Path) -> dict[str, Path]:
    """Pictures in a folder by stem, in the order of their names; hidden files do not count."""
    found: dict[str, Path] = {}
    listed = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in listed:
        # What file managers leave behind, and .gitkeep.
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in IMAGES or not path.is_file():
            raise InputError(f"{path}: is not one of {', '.join(IMAGES)}; convert it, or move it out of {folder}")
        if path.stem in found:
            raise InputError(f"{path}: has the same stem as {found[path.stem].name}; keep one of the two")
        found[path.stem] = path
    if not found:
        raise InputError(
            f"{folder}: {'is empty' if folder.is_dir() else 'does not exist'}; each of {', '.join(SPLITS)} needs at "
            f"least one image and its labels, laid out as data/raw/README.md says"
        )
    return found


def _plain_ids(path: Path, params: FolderParams) -> UInt8[np.ndarray, "height width"]:
    """Class ids from a single-channel PNG."""
    data = path.read_bytes()
    # A palette picture gives its indices here, not its colours.
    values = np.array(open_picture(data, source=str(path)))
    if values.ndim != 2:
        raise InputError(
            f"{path}: has {values.shape[2]} channels and label_format ids takes one; set label_format: colours, or "
            f"write the ids as a grey or palette PNG"
        )
    # PIL spreads grey of 2 and 4 bits over 0 to 255, which turns ids into other numbers.
    depth, kind = data[24], data[25]
    if kind == _GREY and depth in (2, 4):
        values = values // (255 // (2**depth - 1))
    # -1 is the value of no pixel.
    unknown = values == (-1 if params.ignore_index is None else params.ignore_index)
    # Compared before it is cut to 8 bits: 256 must not come out as class 0.
    outside = ~unknown & (values >= len(params.classes))
    if outside.any():
        value = values[outside][0]
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{path}: the value {value} is at row {row}, column {column} ({(values == value).sum()} pixels have it) "
            f"and the {len(params.classes)} classes have ids 0 to {len(params.classes) - 1}, ignore_index is "
            f"{params.ignore_index}; correct the file, or classes or ignore_index in params.yaml"
        )
    return np.where(unknown, IGNORE_INDEX, values).astype(np.uint8)


def _colour_ids(path: Path, params: FolderParams) -> UInt8[np.ndarray, "height width"]:
    """Class ids from the colours of an RGB or palette PNG."""
    picture = open_picture(path.read_bytes(), source=str(path))
    codes = _code(np.asarray(picture.convert("RGBA").convert("RGB")))
    known: Sequence[Colour] = params.colours
    ids = list(range(len(known)))
    if isinstance(params.ignore_index, tuple):
        known, ids = [*known, params.ignore_index], [*ids, IGNORE_INDEX]
    # A search among the few known colours, where a table of all would take 16 MB.
    wanted = _code(np.array(known))
    order = np.argsort(wanted)
    place = order[np.searchsorted(wanted, codes, sorter=order).clip(max=len(wanted) - 1)]
    strange = wanted[place] != codes
    if strange.any():
        row, column = np.argwhere(strange)[0]
        code = int(codes[row, column])
        colour = (code >> 16, code >> 8 & 255, code & 255)
        raise InputError(
            f"{path}: the colour {colour} is at row {row}, column {column} ({(codes == code).sum()} pixels have it) "
            f"and is of no class; add it to colours (or as ignore_index) in params.yaml, or correct the file"
        )
    return np.array(ids, dtype=np.uint8)[place]


def _code(colours: Integer[np.ndarray, "*shape 3"]) -> Integer[np.ndarray, "*shape"]:
    """One number a colour."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])


def _size(array: UInt8[np.ndarray, "height width *channels"]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
