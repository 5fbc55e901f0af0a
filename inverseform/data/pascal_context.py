"""PASCAL-Context for five tasks: segmentation, edges, saliency, parts of people, normals (Maninis et al., CVPR 2019).

The layout is that of their archive, PASCAL_MT:

    JPEGImages/*.jpg
    semseg/VOC12/*.png, else semseg/pascal-context/*.png     palette PNG of VOC's 21 classes, 255 unknown
    pascal-context/trainval/*.mat                            LabelMap, ids of 459 classes: edges, and where normals hold
    sal_distill/*.png                                        grey, salient above a half
    human_parts/*.mat                                        anno, as PASCAL-Part has it
    normals_distill/*.png                                    0 to 255 for -1 to 1
    ImageSets/Context/{train,val}.txt                        4998 and 5105 names
    ImageSets/Parts/{train,val}.txt                          JSON: classes of the objects of each image; may be missing

There are two lists only: val and test are both the one of 5105. Saliency and normals were predicted by networks, not
drawn. Folders of tasks that are not asked for may be missing.

What the authors' own reader does is done here too, so that scores compare:

- edges are where the 4-neighbour Laplacian of LabelMap is not 0, thinned. It is of the ids themselves, so that a pixel
  whose neighbours' ids cancel has none;
- parts are joined to six: head, torso, upper arms, lower arms, upper legs, lower legs. An image in which nobody has
  parts has no target; in others a person without parts counts as background;
- normals hold only where the class of LabelMap is also one of NYU Depth V2's, which the network had learned from.

Trap: nobody has written down the axes of the normals; left_up is what NYU's data, which that network had learned from,
have, and there is no depth here to check `normals_axes` by.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float16, Shaped, UInt8

from inverseform.data.dataset import Dataset, Reading, decode_image, open_map
from inverseform.data.id_table import class_ids
from inverseform.data.label_maps import check_size
from inverseform.data.list_files import Files, Kind, listed
from inverseform.data.normal_axes import NormalAxes, unit_normals
from inverseform.data.pascal_annotations import (
    WITH_NORMALS,
    edges,
    human_parts,
    images_of_people,
    label_map,
)
from inverseform.data.voc_colours import voc_colours
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor",
)  # fmt: skip
IDS = {number: number for number in range(len(CLASSES))} | {IGNORE_INDEX: IGNORE_INDEX}
Task = Literal["edges", "saliency", "human_parts", "normals"]


class PascalContextParams(Settings):
    """PASCAL-Context, in VOC's 21 classes, and four further tasks."""

    name: Literal["pascal_context"]
    """Which data set: PASCAL_MT under data/raw, whose README.md describes its layout."""
    tasks: tuple[Task, ...]
    """What samples carry beside image and labels. edges need the package scikit-image, all but saliency scipy."""
    normals_axes: NormalAxes
    """Where the x and y axes of the normals point in the image: left_up, as far as is known."""


@dataclass(frozen=True)
class PascalContextSource:
    """One image and the files of its tasks."""

    name: str
    files: Files
    has_people: bool
    params: PascalContextParams

    def read(self) -> Reading:
        """Read the image, its labels, and the targets that are asked for and that it has.

        Raises:
            InputError: A file is damaged, of another size than the image, or has values that there cannot be.
        """
        encoded = self.files["image"].read_bytes()
        image = decode_image(encoded, source=str(self.files["image"]))
        size = image.shape[:2]
        labels = class_ids(_picture(self.files["labels"], size), IDS, source=str(self.files["labels"]))
        targets = {task: target for task in self.params.tasks if (target := self._target(task, size)) is not None}
        return Reading(encoded, image, labels, targets=targets)

    def _target(self, task: Task, size: tuple[int, int]) -> Shaped[np.ndarray, "channels height width"] | None:
        match task:
            case "edges":
                return edges(label_map(self.files["context"], size))
            case "saliency":
                return (_picture(self.files["saliency"], size) > 127).astype(np.uint8)[None]
            case "human_parts":
                return human_parts(self.files["human_parts"], size) if self.has_people else None
            case "normals":
                return self._normals(size)

    def _normals(self, size: tuple[int, int]) -> Float16[np.ndarray, "3 height width"]:
        vectors = _picture(self.files["normals"], size, channels=3).astype(np.float32) * (2 / 255) - 1
        known = np.isin(label_map(self.files["context"], size), WITH_NORMALS)
        return np.where(known, unit_normals(vectors, self.params.normals_axes), np.float16(np.nan))


def open_pascal_context(params: PascalContextParams, raw: Path) -> Dataset:
    """List the files of all splits; none is read yet.

    Raises:
        LayoutError: Files are missing.
        InputError: A list of parts is damaged.
    """
    kinds = {
        "image": Kind("image", (raw / "JPEGImages",), ".jpg"),
        "labels": Kind("label map", (raw / "semseg" / "VOC12", raw / "semseg" / "pascal-context"), ".png"),
    }
    if {"edges", "normals"} & set(params.tasks):
        kinds["context"] = Kind("LabelMap", (raw / "pascal-context" / "trainval",), ".mat")
    if "saliency" in params.tasks:
        kinds["saliency"] = Kind("saliency map", (raw / "sal_distill",), ".png")
    if "human_parts" in params.tasks:
        kinds["human_parts"] = Kind("annotation of parts", (raw / "human_parts",), ".mat")
    if "normals" in params.tasks:
        kinds["normals"] = Kind("normal map", (raw / "normals_distill",), ".png")
    lists = {"train": "train.txt", "val": "val.txt", "test": "val.txt"}
    found = listed({split: raw / "ImageSets" / "Context" / file for split, file in lists.items()}, kinds)
    splits = {}
    for split, names in found.items():
        people = None
        if "human_parts" in params.tasks:
            people = images_of_people(raw / "ImageSets" / "Parts" / lists[split], names)
        splits[split] = [
            PascalContextSource(name, files, people is None or name in people, params) for name, files in names.items()
        ]
    return Dataset(
        "pascal_context",
        CLASSES,
        voc_colours(len(CLASSES)),
        splits,
        tasks=params.tasks,
        expected={"train": 4998, "val": 5105, "test": 5105},
    )


def _picture(path: Path, size: tuple[int, int], *, channels: int = 1) -> UInt8[np.ndarray, "height width *channels"]:
    """A grey or palette PNG as its numbers, or one of RGB, of the size of its image."""
    picture = open_map(path.read_bytes(), source=str(path))
    if picture.mode not in (("RGB",) if channels == 3 else ("L", "P")):
        wanted = "RGB" if channels == 3 else "one channel"
        raise InputError(f"{path}: has pixels of type {picture.mode}; it must have {wanted} of 8 bits: copy it again")
    values = np.array(picture)
    check_size(path, values.shape, image=None, pixels=size)
    return values
