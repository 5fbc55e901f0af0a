"""PASCAL VOC and whatever is laid out like it: images, label maps, and a list of names for each split.

    VOCdevkit/VOC2012/
      JPEGImages/2007_000032.jpg
      SegmentationClass/2007_000032.png            palette PNG: the index is the class, 255 is void
      ImageSets/Segmentation/{train,val,trainval}.txt    a name a line

The 21 classes are background and the twenty objects in the order of their names (the devkit's VOClabelcolormap and
class list; Everingham et al., IJCV 2010). Void is the band of about five pixels around every object, and what was too
hard to draw: so the boundaries of VOC lie in void, and the boundary map, which is never made against void, knows only
those between labels that touch. The labels of the test split are not published: evaluate on val.

`SegmentationClassAug` of Hariharan et al. (ICCV 2011) are grey PNG of the same ids; its list of 10582 names is
commonly called `trainaug` or `train_aug`. SegmentationObject is of no use here: it numbers objects.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from inverseform.data.dataset import Dataset, Reading, decode_image
from inverseform.data.label_maps import check_size
from inverseform.data.label_settings import LabelSettings
from inverseform.data.layout import LayoutError, files
from inverseform.data.voc_colours import voc_colours
from inverseform.settings import Settings

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255
SPLITS = ("train", "val", "test")
EXPECTED = {
    "VOC2012": {"train": 1464, "val": 1449, "trainval": 2913, "trainaug": 10582, "train_aug": 10582},
    "VOC2007": {"train": 209, "val": 213, "trainval": 422, "test": 210},
}
"""Images in each list, by the folder of the year."""


class VocParams(Settings):
    """PASCAL VOC, or a data set of one's own in its layout."""

    name: Literal["voc"]
    """Which data set: one in the layout of PASCAL VOC."""
    folder: str
    """The one with JPEGImages, under data/raw; "." for data/raw itself."""
    labels: str
    """The folder of label maps in it: SegmentationClass, or SegmentationClassAug."""
    train: str
    """The list of names for train: ImageSets/Segmentation/<this>.txt."""
    val: str
    test: str
    """VOC keeps the labels of its test split to itself, so that val has to serve for both."""
    palette: LabelSettings | None
    """Classes and coding of one's own; null for the 21 classes of VOC by palette index, 255 for void."""

    @property
    def coding(self) -> LabelSettings:
        """How the label maps are read."""
        if self.palette is not None:
            return self.palette
        colours = voc_colours(len(CLASSES))
        return LabelSettings(label_format="ids", classes=CLASSES, colours=colours, ignore_index=VOID)


@dataclass(frozen=True)
class VocSource:
    """One image and its label map."""

    name: str
    image: Path
    label: Path
    coding: LabelSettings

    def read(self) -> Reading:
        """Read both and check them against each other and the classes.

        Raises:
            InputError: One cannot be decoded, their sizes differ, or a label is not of a class.
        """
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        labels = self.coding.read(self.label)
        check_size(self.label, labels.shape, image=self.image, pixels=image.shape)
        return Reading(encoded, image, labels)


def open_voc(params: VocParams, raw: Path) -> Dataset:
    """List the files that the three lists name; none is read yet.

    Raises:
        LayoutError: A list is missing or empty, or a file that it names is.
    """
    folder, problems = raw / params.folder, []
    images = _found(folder / "JPEGImages", (".jpg", ".jpeg", ".png"), problems)
    labels = _found(folder / params.labels, (".png",), problems)
    lists = {split: folder / "ImageSets" / "Segmentation" / f"{getattr(params, split)}.txt" for split in SPLITS}
    names = {split: _names(path, problems) for split, path in lists.items()}
    for split, found in names.items():
        for name in found if images and labels else ():
            for what, there, where in (("image", images, "JPEGImages"), ("label map", labels, params.labels)):
                if name not in there:
                    problems.append(f"{lists[split]}: names {name}, which has no {what} in {folder / where}")
    if problems:
        # Of lists that share names, one sentence is enough.
        raise LayoutError(list(dict.fromkeys(problems)))
    coding = params.coding
    splits = {
        split: [VocSource(name, images[name], labels[name], coding) for name in found] for split, found in names.items()
    }
    published = EXPECTED.get(folder.name, {}) if params.palette is None else {}
    expected = {split: published[path.stem] for split, path in lists.items() if path.stem in published}
    return Dataset("voc", coding.classes, coding.colours, splits, expected=expected)


def _found(folder: Path, endings: tuple[str, ...], problems: list[str]) -> dict[str, Path]:
    try:
        return files(folder, ending=endings)
    except LayoutError as error:
        problems += error.problems
        return {}


def _names(path: Path, problems: list[str]) -> list[str]:
    """The names in a list, in its order."""
    if not path.is_file():
        problems.append(f"{path}: there is no such list; write a name of JPEGImages a line, without its ending")
        return []
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        problems.append(f"{path}: is no text in UTF-8 ({error}); convert it (iconv -t UTF-8), or write it again")
        return []
    # Some lists of SegmentationClassAug have both paths on a line.
    names = [PurePosixPath(words[0]).stem if "/" in words[0] else words[0] for words in lines if words]
    if not names:
        problems.append(f"{path}: is empty; write a name of JPEGImages a line, without its ending")
    twice = [name for name, count in Counter(names).items() if count > 1]
    problems += [f"{path}: names {name} twice; take one out" for name in twice]
    return names
