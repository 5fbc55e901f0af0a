"""Cityscapes (Cordts et al., CVPR 2016): street scenes of 2048 x 1024 pixels, 19 classes.

```
leftImg8bit/{train,val,test,train_extra}/<city>/<city>_<seq>_<frame>_leftImg8bit.png     2975, 500, 1525, 19998 images
gtFine/{train,val}/<city>/<city>_<seq>_<frame>_gtFine_labelIds.png                       fine labels
gtCoarse/{train,val,train_extra}/<city>/<city>_<seq>_<frame>_gtCoarse_labelIds.png       coarse labels
autolabelled/train_extra/<city>/<city>_<seq>_<frame>_leftImg8bit.png                     labels that a network made
```

That is the official tree. The one that archives unpacked side by side give is taken too: leftImg8bit_trainvaltest/
leftImg8bit, leftImg8bit_trainextra/leftImg8bit, gtFine_trainvaltest/gtFine, gtCoarse/gtCoarse, refinement_final.

All label maps hold labelIds, those of HMS (Tao et al. 2020, refinement_final_v0.zip) too: its own loader sends them
through the table of labelIds. The table is in `inverseform.cityscapes_labels`; all that is not scored is unknown.

Traps. The labels of the test split in gtFine are dummies, so they are not read: all is unknown there. The licence plate
is -1, 255 in 8 bits. The image troisdorf_000000_000073 of train_extra is black, in the archive itself, and has labels:
it is left out, so that train_extra has 19997.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from inverseform.cityscapes_labels import HIGHEST_LABEL_ID, LICENCE_PLATE, SCORED
from inverseform.data.dataset import Dataset
from inverseform.data.layout import LayoutError, files, unpaired
from inverseform.data.published_labels import LabelledImage, class_ids
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import Settings

Labelled = Literal["fine/train", "fine/val", "coarse/train", "coarse/val", "coarse/train_extra", "auto/train_extra"]
"""An annotation and the official split it is of."""
COUNTS = {
    "fine/train": 2975, "fine/val": 500, "coarse/train": 2975, "coarse/val": 500, "coarse/train_extra": 19997,
    "auto/train_extra": 19997, "test": 1525,
}  # fmt: skip
"""Images of each part, as published, less the black one."""
BLACK = "troisdorf_000000_000073"
IMAGE = "_leftImg8bit.png"

_IMAGES = ("leftImg8bit", "leftImg8bit_trainvaltest/leftImg8bit", "leftImg8bit_trainextra/leftImg8bit")
_LABELS = {
    "fine": (("gtFine", "gtFine_trainvaltest/gtFine"), "_gtFine_labelIds.png"),
    "coarse": (("gtCoarse", "gtCoarse/gtCoarse"), "_gtCoarse_labelIds.png"),
    "auto": (("autolabelled", "refinement_final"), IMAGE),
}
"""Where each annotation may lie, and how its files end."""
_TABLE = {label_id: IGNORE_INDEX for label_id in (*range(HIGHEST_LABEL_ID + 1), LICENCE_PLATE)} | {
    known.label_id: number for number, known in enumerate(SCORED)
}


class CityscapesParams(Settings):
    """Cityscapes, with fine, coarse or automatic labels."""

    name: Literal["cityscapes"]
    """Which data set: the one under data/raw, whose README.md describes the layout."""
    train: tuple[Labelled, ...] = Field(min_length=1)
    """What the split train is made of: an annotation (fine, coarse, or auto: HMS's) and an official split. [fine/train]
    is the usual; [fine/train, fine/val] serves results on test; [fine/train, auto/train_extra] is HMS's."""
    val: tuple[Labelled, ...] = Field(min_length=1)
    """Likewise the split val. What is in train too tells nothing of images that were never seen."""
    test: tuple[Labelled | Literal["test"], ...]
    """Likewise the split test. `test` are the official images, whose labels are the test server's: all is unknown, so
    that they cannot be evaluated here. [] for none."""

    @field_validator("train", "val", "test")
    @classmethod
    def _check_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        official = [part.rpartition("/")[2] for part in parts]
        if twice := {split for split in official if official.count(split) > 1}:
            raise ValueError(f"has the images of {', '.join(sorted(twice))} twice; keep one annotation of them")
        return parts


def open_cityscapes(params: CityscapesParams, raw: Path) -> Dataset:
    """List the images of all splits with their labels; none is read yet.

    Raises:
        LayoutError: Folders or files are missing, or have no counterpart.
    """
    wanted = {"train": params.train, "val": params.val, "test": params.test}
    found: dict[str, list[LabelledImage]] = {}
    problems: list[str] = []
    for part in dict.fromkeys(part for parts in wanted.values() for part in parts):
        try:
            found[part] = _sources(raw, part)
        except LayoutError as error:
            problems += error.problems
    if problems:
        raise LayoutError(problems)
    return Dataset(
        "cityscapes",
        tuple(known.name for known in SCORED),
        tuple(known.colour for known in SCORED),
        {split: [source for part in parts for source in found[part]] for split, parts in wanted.items()},
        expected={split: sum(COUNTS[part] for part in parts) for split, parts in wanted.items()},
    )


def _sources(raw: Path, part: str) -> list[LabelledImage]:
    """The images of an official split and, but for test, their labels."""
    annotation, _, split = part.rpartition("/")
    images = _folder(raw, _IMAGES, split)
    if not annotation:
        labels, ending = None, ""
    else:
        places, ending = _LABELS[annotation]
        labels = _folder(raw, places, split)
    cities = _cities(images)
    problems = [] if cities else [f"{images}: has no folder of a city; unpack the archive of its images there"]
    if labels is not None:
        problems += [f"{labels / city}: has no images in {images}" for city in _cities(labels) if city not in cities]
    sources: list[LabelledImage] = []
    for city in cities:
        try:
            sources += _city(images / city, None if labels is None else labels / city, ending)
        except LayoutError as error:
            problems += error.problems
    if problems:
        raise LayoutError(problems)
    return sources


def _cities(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _city(images: Path, labels: Path | None, ending: str) -> list[LabelledImage]:
    found = files(images, ending=IMAGE)
    found.pop(BLACK, None)
    read = partial(class_ids, table=_TABLE, rule=f"labelIds are 0 to {HIGHEST_LABEL_ID}, and {LICENCE_PLATE}")
    if labels is None:
        return [LabelledImage(name, path, None, read) for name, path in found.items()]
    partners = files(labels, ending=ending)
    partners.pop(BLACK, None)
    if problems := unpaired(found, partners, what="label map", folder=labels):
        raise LayoutError(problems)
    return [LabelledImage(name, path, partners[name], read) for name, path in found.items()]


def _folder(raw: Path, places: Sequence[str], split: str) -> Path:
    """The first of the places that holds a split."""
    tried = [raw / place / split for place in places]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise LayoutError(
        [f"{tried[0]}: there is no such folder, nor {' nor '.join(map(str, tried[1:]))}; unpack it there"]
    )
