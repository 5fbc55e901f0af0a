"""A data set of one's own: {train,val,test}/{images,labels}, one image and one label map of the same stem each.

Beside them may lie predictions: the boundary probabilities that some network gave, as grey PNG of 8 bits, 255 for a
certain boundary; and targets of other tasks, a folder each, in the formats of `target_files`. A folder that is there
has a file for every image of its split.

Images are PNG or JPEG of 8 bits a channel; labels are PNG, of class ids or of colours. An image with an EXIF
orientation is refused, because nothing tells whether its labels were drawn before or after turning it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8

from inverseform.data.dataset import Dataset, Reading, decode_image, open_map
from inverseform.data.label_maps import check_size
from inverseform.data.label_settings import LabelSettings
from inverseform.data.layout import LayoutError
from inverseform.data.split_files import SPLITS, SplitFiles
from inverseform.data.target_files import read_target
from inverseform.data.tasks import TASKS
from inverseform.settings import InputError


class FolderParams(LabelSettings):
    """A folder of images and label maps."""

    name: Literal["folder"]
    """Which data set: the one under data/raw, whose README.md describes the layout."""


@dataclass(frozen=True)
class FolderSource:
    """One image, its label map, and what else the data set has of it."""

    name: str
    image: Path
    labels: Path
    prediction: Path | None
    targets: Mapping[str, Path]
    """By task."""
    params: FolderParams

    def read(self) -> Reading:
        """Read the files and check them against each other and the classes.

        Raises:
            InputError: One cannot be decoded, their sizes differ, or a label is not of a class.
        """
        # Read once: the bytes that are checked are the bytes that are stored.
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        labels = self.params.read(self.labels)
        check_size(self.labels, labels.shape, image=self.image, pixels=image.shape)
        prediction = None if self.prediction is None else _probabilities(self.prediction)
        if self.prediction is not None and prediction is not None:
            check_size(self.prediction, prediction.shape, image=self.image, pixels=image.shape)
        targets = {task: read_target(task, path) for task, path in self.targets.items()}
        for task, target in targets.items():
            check_size(self.targets[task], target.shape[1:], image=self.image, pixels=image.shape)
        return Reading(encoded, image, labels, prediction, targets)


def open_folder(params: FolderParams, raw: Path) -> Dataset:
    """List the files of all splits; none is read yet.

    Raises:
        LayoutError: A split is missing or empty, or a file lacks its counterpart or is of another kind.
    """
    problems: list[str] = []
    found = {split: SplitFiles(raw / split, problems) for split in SPLITS}
    if problems:
        raise LayoutError(problems)
    splits = {split: _sources(each.files, params) for split, each in found.items()}
    tasks = tuple(task for task in TASKS if any(task in each.files for each in found.values()))
    return Dataset("folder", params.classes, params.colours, splits, tasks)


def _sources(files: Mapping[str, Mapping[str, Path]], params: FolderParams) -> list[FolderSource]:
    labels, predictions = files["labels"], files.get("predictions", {})
    targets = {task: files[task] for task in TASKS if task in files}
    return [
        FolderSource(
            stem,
            path,
            labels[stem],
            predictions.get(stem),
            {task: known[stem] for task, known in targets.items()},
            params,
        )
        for stem, path in files["images"].items()
    ]


def _probabilities(path: Path) -> UInt8[np.ndarray, "height width"]:
    """255 times a boundary probability, from a grey PNG of 8 bits."""
    picture = open_map(path.read_bytes(), source=str(path))
    if picture.mode != "L":
        raise InputError(
            f"{path}: has pixels of type {picture.mode}; a prediction is grey of 8 bits, 255 for a certain boundary: "
            f"convert it (mogrify -colorspace gray -depth 8 FILE), or remove the folder {path.parent}"
        )
    return np.array(picture)
