"""A data set of one's own: {train,val,test}/{images,labels}, one image and one label map of the same stem each.

Beside them may lie predictions: the boundary probabilities that some network gave, as grey PNG of 8 bits, 255 for a
certain boundary, one for every image of the split.

Images are PNG or JPEG of 8 bits a channel; labels are PNG, of class ids or of colours. An image with an EXIF
orientation is refused, because nothing tells whether its labels were drawn before or after turning it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import Field, field_validator

from inverseform.data.dataset import Channel, Colour, Dataset, Reading, decode_image, open_picture
from inverseform.data.label_maps import colour_ids, plain_ids
from inverseform.settings import InputError, Settings

SPLITS = ("train", "val", "test")
IMAGES = (".png", ".jpg", ".jpeg")


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
    """One image, its label map, and a prediction where the data set has them."""

    name: str
    image: Path
    label: Path
    prediction: Path | None
    params: FolderParams

    def read(self) -> Reading:
        """Read the files and check them against each other and the classes.

        Raises:
            InputError: One cannot be decoded, their sizes differ, a label is not of a class, or a prediction not grey.
        """
        # Read once: the bytes that are checked are the bytes that are stored.
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        labels = _ids(self.label, self.params)
        _check_size(self.label, labels, self.image, image.shape)
        if self.prediction is None:
            return Reading(encoded, image, labels)
        prediction = _probabilities(self.prediction)
        _check_size(self.prediction, prediction, self.image, image.shape)
        return Reading(encoded, image, labels, prediction)


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
    predictions = _predictions(split, images)
    return [FolderSource(stem, path, labels[stem], predictions.get(stem), params) for stem, path in images.items()]


def _predictions(split: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """The predictions of a split: of all its images, or of none where it has no such folder."""
    folder = split / "predictions"
    if not folder.is_dir():
        return {}
    found = _listed(folder)
    for stem, path in found.items():
        if path.suffix.lower() != ".png" or stem not in images:
            raise InputError(
                f"{path}: is not the prediction of an image in {split / 'images'}; name it by an image's stem, as "
                f"PNG, or remove it"
            )
    for stem, path in images.items():
        if stem not in found:
            raise InputError(
                f"{path}: has no prediction in {folder}; add {stem}.png there, or remove the folder: all images of a "
                f"split have one, or none has"
            )
    return found


def _files(folder: Path) -> dict[str, Path]:
    """Pictures in a folder, which must have some."""
    found = _listed(folder)
    if not found:
        raise InputError(
            f"{folder}: {'is empty' if folder.is_dir() else 'does not exist'}; each of {', '.join(SPLITS)} needs at "
            f"least one image and its labels, laid out as data/raw/README.md says"
        )
    return found


def _listed(folder: Path) -> dict[str, Path]:
    """Pictures in a folder by stem, in the order of their names; hidden files do not count."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        # What file managers leave behind, and .gitkeep.
        if path.name.startswith("."):
            continue
        if path.suffix.lower() not in IMAGES or not path.is_file():
            raise InputError(f"{path}: is not one of {', '.join(IMAGES)}; convert it, or move it out of {folder}")
        if path.stem in found:
            raise InputError(f"{path}: has the same stem as {found[path.stem].name}; keep one of the two")
        found[path.stem] = path
    return found


def _ids(path: Path, params: FolderParams) -> UInt8[np.ndarray, "height width"]:
    """Class ids of a label map, in whichever format the settings name."""
    unknown = params.ignore_index
    if params.label_format == "colours":
        return colour_ids(path, colours=params.colours, ignore=unknown if isinstance(unknown, tuple) else None)
    return plain_ids(path, num_classes=len(params.classes), ignore_index=unknown if isinstance(unknown, int) else None)


def _probabilities(path: Path) -> UInt8[np.ndarray, "height width"]:
    """255 times a boundary probability, from a grey PNG of 8 bits."""
    picture = open_picture(path.read_bytes(), source=str(path))
    if picture.mode != "L":
        raise InputError(
            f"{path}: has pixels of type {picture.mode}; a prediction is grey of 8 bits, 255 for a certain boundary: "
            f"convert it (mogrify -colorspace gray -depth 8 FILE), or remove the folder {path.parent}"
        )
    return np.array(picture)


def _check_size(path: Path, array: UInt8[np.ndarray, "height width"], image: Path, pixels: tuple[int, ...]) -> None:
    if array.shape != pixels[:2]:
        raise InputError(
            f"{path}: is {_size(array.shape)} and {image.name} is {_size(pixels)} (width x height); what belongs to an "
            f"image has its size: scale one of them (labels without smoothing)"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"
