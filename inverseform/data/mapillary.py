"""Mapillary Vistas v1.2 (Neuhold et al., ICCV 2017): street scenes from all over the world, of any size, 65 classes.

```
config.json                            the labels: names, colours, and whether they are scored
training/images/<key>.jpg              18000 images
training/labels/<key>.png              ids of 8 bits with a palette
training/instances/<key>.png           16 bits: 256 times the id, and the number of the instance
validation/...                         2000 images, likewise
testing/images/<key>.jpg               5000 images; their labels are not published
```

The later archive, which holds v2.0 too, has config_v1.2.json and training/v1.2/{labels,instances}: taken as well.

The id of a label is its place in config.json, from 0. Of v1.2's 66 labels all but the last, Unlabeled, are scored;
class ids count the scored ones in that order, and the rest is unknown. Traps: v2.0 has 124 labels under the same folder
names, so that the number is checked; images have up to 22 megapixels, so that `ingest.workers` is what memory allows.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, TypeAdapter, ValidationError

from inverseform.data.dataset import Colour, Dataset
from inverseform.data.layout import LayoutError, files, unpaired
from inverseform.data.published_labels import LabelledImage, class_ids
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

LABELS = 66
"""Of v1.2."""
COUNTS = {"train": 18000, "val": 2000, "test": 5000}
_CONFIGS = ("config.json", "config_v1.2.json")
_FOLDERS = {"train": "training", "val": "validation", "test": "testing"}


class MapillaryParams(Settings):
    """Mapillary Vistas v1.2."""

    name: Literal["mapillary"]
    """Which data set: the one under data/raw, whose README.md describes the layout."""
    labels: Literal["labels", "instances"]
    """Which files the ids are read from; both hold the same."""
    test: bool
    """Whether the images of testing, whose labels are not published, are the split test; otherwise it is empty."""


class _Label(BaseModel):
    readable: str
    color: Colour
    evaluate: bool


class _Config(BaseModel):
    labels: list[_Label]


def open_mapillary(params: MapillaryParams, raw: Path) -> Dataset:
    """List the images of all splits with their labels; none is read yet.

    Raises:
        LayoutError: Folders or files are missing, or have no counterpart.
        InputError: The config is not that of v1.2.
    """
    labels = _config(raw)
    scored = [number for number, label in enumerate(labels) if label.evaluate]
    table = dict.fromkeys(range(len(labels)), IGNORE_INDEX) | {number: klass for klass, number in enumerate(scored)}
    read = partial(
        class_ids, table=table, rule=f"ids are 0 to {len(labels) - 1}, the places of config.json's labels",
        values_per_id=256 if params.labels == "instances" else 1,
    )  # fmt: skip
    splits: dict[str, list[LabelledImage]] = {"train": [], "val": [], "test": []}
    problems: list[str] = []
    for split, folder in _FOLDERS.items():
        if split == "test" and not params.test:
            continue
        try:
            images = files(raw / folder / "images", ending=(".jpg", ".jpeg"))
            found = {} if split == "test" else _labels(raw / folder, params.labels, images)
            splits[split] = [LabelledImage(key, path, found.get(key), read) for key, path in images.items()]
        except LayoutError as error:
            problems += error.problems
    if problems:
        raise LayoutError(problems)
    expected = {split: count for split, count in COUNTS.items() if split != "test" or params.test}
    classes = tuple(labels[number].readable for number in scored)
    return Dataset("mapillary", classes, tuple(labels[number].color for number in scored), splits, expected=expected)


def _config(raw: Path) -> list[_Label]:
    path = next((raw / name for name in _CONFIGS if (raw / name).is_file()), None)
    if path is None:
        raise LayoutError([f"{raw / _CONFIGS[0]}: is missing, and so is {_CONFIGS[1]}; it names the labels"])
    try:
        labels = TypeAdapter(_Config).validate_json(path.read_bytes()).labels
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"])) or "the file"
        raise InputError(f"{path}: {place} is wrong ({wrong['msg']}); copy it again from the archive") from error
    if len(labels) != LABELS:
        raise InputError(f"{path}: names {len(labels)} labels and v1.2 has {LABELS}; take the files of v1.2")
    return labels


def _labels(folder: Path, kind: str, images: dict[str, Path]) -> dict[str, Path]:
    later = folder / "v1.2" / kind
    place = later if later.is_dir() else folder / kind
    labels = files(place, ending=".png")
    if problems := unpaired(images, labels, what="label map", folder=place):
        raise LayoutError(problems)
    return labels
