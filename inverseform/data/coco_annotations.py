"""The JSON of COCO's form: which images it names, and what is drawn on each."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from inverseform.settings import InputError

_LISTS = ("images", "annotations", "categories")
_NEEDED: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "images": {"id": (int, str), "file_name": (str,)},
    "categories": {"id": (int,), "name": (str,)},
    "annotations": {"image_id": (int, str)},
}
"""The keys that the entries of a list must have, and what they are."""


class Annotation(NamedTuple):
    """One object, or one segment of a panoptic picture."""

    id: int
    category: int
    crowd: bool
    segmentation: Any
    """Polygons, or a run-length code; None for a segment."""


@dataclass(frozen=True)
class Index:
    """What a JSON has for each image."""

    path: Path
    categories: Mapping[int, str]
    """Names by id, in the order of the ids."""
    names: Mapping[int | str, str]
    """Files by the id of the image."""
    drawn: Mapping[int | str, bytes]
    """Annotations by the id of the image, as JSON."""
    pictures: Mapping[int | str, str]
    """Panoptic pictures by the id of the image."""
    sizes: Mapping[int | str, tuple[int, int]]
    """Height and width by the id of the image, where the JSON says them."""

    @classmethod
    def read(cls, path: Path, problems: list[str]) -> "Index":
        """Read a file; what is wrong with it is added to `problems`, and the index is then empty."""
        try:
            document = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError) as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"is not JSON ({error})"
            problems.append(f"{path}: {what}; copy it again, or correct ingest.data in params.yaml")
            return cls(path, {}, {}, {}, {}, {})
        if problem := _problem(document):
            problems.append(f"{path}: {problem}; it must be as cocodataset.org/#format-data says")
            return cls(path, {}, {}, {}, {}, {})
        names = {each["id"]: each["file_name"] for each in document["images"]}
        problems += [
            f"{path}: an annotation is of the image {number}, which it does not name; take it out"
            for number in sorted({each["image_id"] for each in document["annotations"]} - names.keys(), key=str)
        ]
        panoptic = Counter(each["image_id"] for each in document["annotations"] if "segments_info" in each)
        problems += [
            f"{path}: has {count} lists of segments for the image {number}, which has one picture; take the others out"
            for number, count in panoptic.items()
            if count > 1
        ]
        by_image: dict[int | str, list[Any]] = defaultdict(list)
        pictures: dict[int | str, str] = {}
        for each in document["annotations"]:
            # A panoptic entry is of an image, one of instances of an object.
            by_image[each["image_id"]] += each.get("segments_info") or ([each] if "category_id" in each else [])
            pictures[each["image_id"]] = each.get("file_name", "")
        kept = ("id", "category_id", "iscrowd", "segmentation")
        drawn = {
            number: json.dumps([{key: each[key] for key in kept if key in each} for each in entries]).encode()
            for number, entries in by_image.items()
        }
        categories = {each["id"]: each["name"] for each in sorted(document["categories"], key=lambda each: each["id"])}
        sizes = {
            each["id"]: (each["height"], each["width"])
            for each in document["images"]
            if each.keys() >= {"height", "width"}
        }
        return cls(path, categories, names, drawn, pictures, sizes)


def load(data: bytes, *, source: str) -> list[Annotation]:
    """The annotations of an image.

    Args:
        data: Of `Index.drawn`.
        source: The image, for an error.

    Raises:
        InputError: One lacks what it needs.
    """
    found = []
    for place, each in enumerate(json.loads(data)):
        if not isinstance(each.get("category_id"), int) or not isinstance(number := each.get("id", place), int):
            raise InputError(f"{source}: its annotation {each} lacks a category_id, or has an id that is no number")
        found.append(Annotation(number, each["category_id"], bool(each.get("iscrowd", 0)), each.get("segmentation")))
    return found


class RunLengths(NamedTuple):
    """The pixels of an object, in little room."""

    runs: Int64[np.ndarray, " runs"]
    """Lengths of background and object in turns, down the columns."""
    height: int

    @property
    def area(self) -> int:
        """In pixels."""
        return int(self.runs[1::2].sum())

    def mask(self) -> Bool[np.ndarray, "height width"]:
        """The pixels themselves."""
        flat = np.repeat(np.arange(len(self.runs)) % 2 == 1, self.runs)
        return flat.reshape(-1, self.height).T


def run_lengths(drawn: Annotation, height: int, width: int, *, source: str) -> RunLengths:
    """The pixels of an object of an image so large.

    Raises:
        InputError: Its polygons or run lengths cannot be read, or are of another size; `source` says of which image.
    """
    from pycocotools import mask

    form = drawn.segmentation
    try:
        if isinstance(form, list):
            form = mask.merge(mask.frPyObjects(_polygons(form, height, width), height, width))
        if form["size"] != [height, width]:
            raise ValueError(f"it is {form['size'][1]}x{form['size'][0]} and the image {width}x{height}")
        plain = isinstance(form["counts"], list)
        runs = np.array(form["counts"], dtype=np.int64) if plain else decompressed(form["counts"])
        if (runs < 0).any() or runs.sum() != height * width:
            raise ValueError(f"its {len(runs)} runs add up to {runs.sum()} and not to {height} x {width} pixels")
        return RunLengths(runs, height)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{source}: the segmentation of annotation {drawn.id} cannot be read ({error}); correct it in the JSON"
        ) from error


def _polygons(form: list[Any], height: int, width: int) -> Any:  # noqa: ANN401 (types-pycocotools knows no lists)
    """Polygons as pycocotools wants them; it looks at none of this, and ends the process for points far outside."""
    found = []
    for points in form:
        numbers = np.asarray(points, dtype=np.float64)
        # Two numbers are a point of a polygon that is written in pairs, which would come out empty.
        if numbers.ndim != 1 or len(numbers) == 2 or (len(numbers) > 6 and len(numbers) % 2):
            raise ValueError("a polygon is one list of numbers x, y, x, y, ...")
        # In this form nan does not pass.
        if not (np.abs(numbers) <= 10 * max(height, width)).all():
            raise ValueError(f"a polygon has points far outside of {width}x{height} pixels, or nan")
        # Two points have no inside, and COCO has such polygons; four numbers would be taken for a box.
        if len(numbers) >= 6:
            found.append(numbers.tolist())
    return found or [[0.0] * 6]


def decompressed(counts: str | bytes) -> Int64[np.ndarray, " runs"]:
    """The run lengths of COCO's compressed form.

    A number is written from its lowest 5 bits on, a character each: 48, and 32 if more follow, and the bits; the
    highest bit is the sign. From the fourth number on it is the difference to the number two before.

    pycocotools decodes it, too, and does not notice where runs are missing: what is left is as the memory was.

    Raises:
        ValueError: It is not of that form.

    >>> decompressed("0b0")
    array([ 0, 18])
    """
    text = counts.encode("ascii") if isinstance(counts, str) else counts
    digits = np.frombuffer(text, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits < 32)
    if not len(ends) or ends[-1] != len(digits) - 1 or digits.min() < 0 or digits.max() > 63:
        raise ValueError("its run lengths are cut short, or have characters that are none of theirs")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 8:
        raise ValueError("it has a number of more than 40 bits")
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * place), starts)
    numbers -= (digits[ends] >> 4 & 1) << (5 * lengths)
    for first in (1, 2):
        numbers[first::2] = numbers[first::2].cumsum()
    return numbers


def _problem(document: Any) -> str | None:  # noqa: ANN401 (whatever a file may hold)
    """What a document lacks to be one of COCO's form."""
    if not isinstance(document, dict) or any(not isinstance(document.get(name), list) for name in _LISTS):
        return f"lacks one of the lists {', '.join(_LISTS)}"
    for name, keys in _NEEDED.items():
        for place, entry in enumerate(document[name]):
            if not isinstance(entry, dict) or any(type(entry.get(key)) not in kinds for key, kinds in keys.items()):
                return f"{name}[{place}] lacks one of {', '.join(keys)}, or has one of another type"
            file = entry.get("file_name") or ""
            if not isinstance(file, str) or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                return f"{name}[{place}] has the file_name {file!r}, which leads out of its folder"
            if not all(isinstance(each, dict) for each in entry.get("segments_info") or ()):
                return f"{name}[{place}] has a segments_info that is no list of segments"
        for key in ("id", "file_name") if name == "images" else ("id",) if name == "categories" else ():
            values = [entry[key] for entry in document[name]]
            if len(set(values)) < len(values):
                twice = next(value for value, count in Counter(values).items() if count > 1)
                return f"{name} has the {key} {twice!r} twice; take one out"
    return None
