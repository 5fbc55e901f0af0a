"""COCO and whatever has its annotations: JSON of polygons and run lengths, or panoptic pictures, to semantic labels.

    annotations/instances_train2017.json  instances_val2017.json
                panoptic_train2017.json   panoptic_train2017/000000000139.png
    train2017/000000000139.jpg            val2017/...

The form is that of cocodataset.org (Lin et al., ECCV 2014; Kirillov et al., CVPR 2019): `images`, `categories`, and
`annotations` with a `segmentation` that is a list of polygons (x, y, x, y, ... in pixels), an uncompressed run-length
code (crowds), or a compressed one (stuff). A panoptic picture has the id of a segment as red + 256 green + 65536 blue,
0 for void.

- Ids of categories have gaps (COCO: 1 to 90 for 80 things). Classes count from 0 in the order of the ids, or are
  those that the settings name, in that order; where instances leave a background, it is class 0.
- Objects overlap, and JSON does not tell which is in front. They are painted in the order of their area, the largest
  first, so that the small ones are seen; at one area, in the order of their ids. Crowds are painted before all
  others: their masks are rough.
- A polygon is filled as pycocotools does it, so that masks are those of COCO's own evaluation.
- An image without annotations is one of background alone (COCO val2017 has 48 of them).
- The labels of COCO's test split are not published: evaluate on val.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from pydantic import Field

from inverseform.data.coco_annotations import Annotation, Index, load, run_lengths
from inverseform.data.dataset import Dataset, Reading, decode_image, open_map
from inverseform.data.label_maps import check_size
from inverseform.data.layout import LayoutError
from inverseform.data.voc_colours import voc_colours
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

BACKGROUND = "background"
EXPECTED = {
    "instances_train2014.json": 82783, "instances_val2014.json": 40504, "instances_train2017.json": 118287,
    "instances_val2017.json": 5000, "stuff_train2017.json": 118287, "stuff_val2017.json": 5000,
    "panoptic_train2017.json": 118287, "panoptic_val2017.json": 5000,
}  # fmt: skip
"""Images in each published file."""


class CocoSplit(Settings):
    """Where one split lies, in data/raw."""

    images: str
    """The folder of images."""
    annotations: str
    """The JSON."""
    panoptic: str | None
    """The folder of panoptic pictures that belong to the JSON; null for one of polygons and run lengths."""


class CocoParams(Settings):
    """COCO, or a data set of one's own with annotations in its form."""

    name: Literal["coco"]
    """Which data set: one with annotations in the form of COCO."""
    train: CocoSplit
    val: CocoSplit
    test: CocoSplit
    """COCO keeps the labels of its test split to itself, so that val has to serve for both."""
    categories: tuple[str, ...] | None = Field(max_length=254)
    """Names of the categories that become classes, in this order; null for all in the order of their ids."""
    rest: Literal["background", "unknown"]
    """What a pixel is that no chosen category covers: of a class `background`, which is then class 0, or not known."""
    crowd: Literal["class", "unknown"]
    """What a region of many objects that nobody told apart is: of their class, or not known."""


class Meaning(NamedTuple):
    """What the annotations of a data set become."""

    labels: dict[int, int]
    """A class, or IGNORE_INDEX, by category."""
    rest: int
    """The label of what nothing covers."""
    crowd: Literal["class", "unknown"]


@dataclass(frozen=True)
class CocoSource:
    """One image and its annotations."""

    name: str
    image: Path
    annotations: bytes
    """As JSON: as objects they would take several times the room, for every image of the data set."""
    panoptic: Path | None
    meaning: Meaning
    size: tuple[int, int] | None
    """Height and width that the JSON says, in whose pixels polygons are."""

    def read(self) -> Reading:
        """Read the image and paint its labels.

        Raises:
            InputError: The image or a mask cannot be decoded, or is not of the size of the other.
        """
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        if self.size not in (None, image.shape[:2]):
            raise InputError(
                f"{self.image}: is {image.shape[1]}x{image.shape[0]} and its JSON says {self.size[1]}x{self.size[0]} "
                f"(width x height), so its polygons do not fit; copy the image again, or scale the annotations with it"
            )
        drawn = load(self.annotations, source=str(self.image))
        if strange := [each for each in drawn if each.category not in self.meaning.labels]:
            raise InputError(
                f"{self.image}: the annotation {strange[0].id} is of the category {strange[0].category}, which its "
                f"JSON does not name; correct it there"
            )
        height, width = image.shape[:2]
        labels = self._painted(drawn, height, width) if self.panoptic is None else self._looked_up(drawn, self.panoptic)
        if self.panoptic is not None:
            check_size(self.panoptic, labels.shape, image=self.image, pixels=image.shape)
        return Reading(encoded, image, labels)

    def _painted(self, drawn: list[Annotation], height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """Labels of objects, the largest at the bottom."""
        labels = np.full((height, width), self.meaning.rest, dtype=np.uint8)
        codes = [(each, run_lengths(each, height, width, source=str(self.image))) for each in drawn]
        for each, code in sorted(codes, key=lambda pair: (not pair[0].crowd, -pair[1].area, pair[0].id)):
            labels[code.mask()] = self._label(each)
        return labels

    def _looked_up(self, drawn: list[Annotation], panoptic: Path) -> UInt8[np.ndarray, "height width"]:
        """Labels of the segments of a panoptic picture."""
        ids = _segments(panoptic)
        there, place = np.unique(ids, return_inverse=True)
        if twice := [number for number, count in Counter(each.id for each in drawn).items() if count > 1]:
            raise InputError(
                f"{panoptic}: the JSON has its segment {twice[0]} twice, and a segment is of one category; take one out"
            )
        # Void is not known even where the rest is background: nobody has said that it is that.
        known = {0: IGNORE_INDEX, **{each.id: self._label(each) for each in drawn}}
        if strange := [int(number) for number in there if int(number) not in known]:
            raise InputError(
                f"{panoptic}: has the segment {strange[0]}, of which the JSON says nothing ({len(strange)} such); the "
                f"pictures and the JSON are not of one release: copy both again"
            )
        return np.array([known[int(number)] for number in there], dtype=np.uint8)[place].reshape(ids.shape)

    def _label(self, drawn: Annotation) -> int:
        if drawn.crowd and self.meaning.crowd == "unknown":
            return IGNORE_INDEX
        return self.meaning.labels[drawn.category]


def _segments(path: Path) -> Integer[np.ndarray, "height width"]:
    pixels = np.array(open_map(path.read_bytes(), source=str(path)).convert("RGB"), dtype=np.int32)
    return pixels @ np.array([1, 1 << 8, 1 << 16], dtype=np.int32)


def open_coco(params: CocoParams, raw: Path) -> Dataset:
    """Read the JSON of all splits and list their images; no picture is read yet.

    Raises:
        InputError: pycocotools is not installed.
        LayoutError: A JSON is missing or is not one, an image or a panoptic picture is missing, or the splits differ in
            their categories.
    """
    _need_pycocotools()
    problems: list[str] = []
    parts = {"train": params.train, "val": params.val, "test": params.test}
    # One file may serve for two splits, and is large.
    indices = {name: Index.read(raw / name, problems) for name in {part.annotations for part in parts.values()}}
    if problems:
        raise LayoutError(problems)
    first = indices[params.train.annotations]
    problems += [
        f"{index.path}: has other categories than {first.path}; all splits need the same ids and names"
        for index in indices.values()
        if index.categories != first.categories
    ]
    names = params.categories or tuple(first.categories.values())
    problems += [
        f"{first.path}: has no category {name}; it has {', '.join(first.categories.values())}"
        for name in names
        if name not in first.categories.values()
    ]
    classes = ((BACKGROUND,) if params.rest == "background" else ()) + names
    if len(set(classes)) < len(classes) or not 2 <= len(classes) <= IGNORE_INDEX:
        problems.append(
            f"{first.path}: would give {len(classes)} classes of {len(set(classes))} names; categories in params.yaml "
            f"must name 2 to {IGNORE_INDEX} different ones"
        )
    rest = 0 if params.rest == "background" else IGNORE_INDEX
    labels = {number: classes.index(name) if name in names else rest for number, name in first.categories.items()}
    meaning, there = Meaning(labels, rest, params.crowd), _Listing()
    splits = {
        split: _sources(indices[part.annotations], raw, part, meaning, there, problems) for split, part in parts.items()
    }
    if problems:
        # A file that serves for two splits is told once.
        raise LayoutError(list(dict.fromkeys(problems)))
    expected = {split: n for split, part in parts.items() if (n := EXPECTED.get(indices[part.annotations].path.name))}
    return Dataset("coco", classes, voc_colours(len(classes)), splits, expected=expected)


def _need_pycocotools() -> None:
    """Tell at once what the first polygon would tell."""
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"ingest.data.name is coco and pycocotools is not installed ({error}); type: "
            f"pip install 'inverseform[coco]'"
        ) from error


def _sources(
    index: Index, raw: Path, part: CocoSplit, meaning: Meaning, there: "_Listing", problems: list[str]
) -> list[CocoSource]:
    """The images of a split in the order of their names."""
    sources = []
    for number, name in sorted(index.names.items(), key=lambda item: item[1]):
        image, stem = raw / part.images / name, name.rpartition(".")[0]
        picture = None if part.panoptic is None else raw / part.panoptic / (index.pictures.get(number) or f"{stem}.png")
        problems += [
            f"{path}: is missing, and {index.path} names it; copy it again, or take it out of both"
            for path in (image, picture)
            if path is not None and path not in there
        ]
        sources.append(
            CocoSource(stem, image, index.drawn.get(number, b"[]"), picture, meaning, index.sizes.get(number))
        )
    if not sources:
        problems.append(f"{index.path}: names no image; it needs one at least")
    return sources


class _Listing:
    """Which files there are; each folder is listed once, as to ask for every file takes minutes on a far disk."""

    def __init__(self) -> None:
        self._folders: dict[Path, set[str]] = {}

    def __contains__(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
        return path.name in self._folders[folder]
