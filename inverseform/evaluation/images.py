"""The table of a split: a row of counts for each image, as a CSV that a later evaluation is compared with.

Two tables can be paired if they tell of the same pixels: the same split, classes and images, and of each image the same
labels, of which the table holds a hash.
"""

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from jaxtyping import Float64, UInt8
from torch import Tensor

from inverseform.evaluation.measures import Columns
from inverseform.settings import InputError

TABLE = "images.csv"
_ABOUT = ("split", "image", "labels")
_AGAIN = "run that evaluation again with this version"


@dataclass(frozen=True)
class Images:
    """What was counted of each image of a split."""

    split: str
    columns: Columns
    names: tuple[str, ...]
    labels: tuple[str, ...]
    """Of each image what `hashed` says of its labels."""
    counts: Float64[Tensor, "images columns"]


def hashed(labels: UInt8[Tensor, "height width"]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a label map with its size."""
    found = hashlib.sha256(f"{labels.shape[0]} {labels.shape[1]} ".encode())
    found.update(labels.contiguous().numpy().data)
    return found.hexdigest()[:16]


def write(path: Path, images: Images) -> None:
    """Write a table; the same counts give the same bytes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*_ABOUT, *images.columns.names])
        for name, labels, row in zip(images.names, images.labels, images.counts.tolist(), strict=True):
            # Nearly all are whole numbers, and shorter as such; repr gives the others back to the last bit.
            table.writerow([images.split, name, labels, *(int(x) if x.is_integer() else repr(x) for x in row)])


def find(path: Path) -> Path:
    """The table of an evaluation, from itself, from the metrics beside it, or from the folder of both.

    Raises:
        InputError: There is none.
    """
    place = path / TABLE if path.is_dir() else path if path.suffix == ".csv" else path.with_name(TABLE)
    if not place.is_file():
        raise InputError(
            f"{path}: there is no {place}, which has the counts of each image and without which nothing can be paired; "
            f"name the folder of an evaluation that has one, or {_AGAIN}"
        )
    return place


def read(path: Path) -> Images:
    """Read a table.

    Raises:
        InputError: It is not what `write` writes.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file, strict=True)
        columns = Columns(tuple(name.partition(" ")[2] for name in head if name.startswith("intersection ")))
        if tuple(head) != (*_ABOUT, *columns.names):
            raise ValueError("its columns are others")
        if {len(row) for row in rows} != {len(head)}:
            raise ValueError("its rows are missing or cut off")
        splits, names, labels, *_ = zip(*rows, strict=True)
        if len({*splits}) > 1:
            raise ValueError("it has rows of several splits")
        counts = torch.tensor([[float(cell) for cell in row[len(_ABOUT) :]] for row in rows], dtype=torch.float64)
        if not counts.isfinite().all():
            raise ValueError("it has numbers that are not finite")
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: not a table of images that evaluate writes ({error}); {_AGAIN}") from error
    return Images(splits[0], columns, names, labels, counts)


def read_earlier(path: Path, *, split: str, classes: Sequence[str], names: Sequence[str]) -> Images:
    """The table of an earlier evaluation of these images, in their order; what `find` finds.

    Raises:
        InputError: There is none, or it is of others; the message says what differs.
    """
    earlier = read(find(path))
    if earlier.split != split:
        _refuse(path, f"split {earlier.split} there and {split} here")
    if earlier.columns.classes != tuple(classes):
        _refuse(path, f"classes {', '.join(earlier.columns.classes)} there and {', '.join(classes)} here")
    place = {name: index for index, name in enumerate(earlier.names)}
    if alone := sorted({*place} ^ {*names}):
        where = "there" if alone[0] in place else "here"
        _refuse(path, f"{len(place)} images there and {len(names)} here, of which {len(alone)} are in one of the two "
                      f"alone, as {alone[0]} {where}")  # fmt: skip
    order = [place[name] for name in names]
    labels = tuple(earlier.labels[index] for index in order)
    return Images(split, earlier.columns, tuple(names), labels, earlier.counts[order])


def check_labels(now: Images, earlier: Images, *, path: Path) -> None:
    """Refuse two tables of the same images with other labels.

    Raises:
        InputError: They are; the message names one.
    """
    pairs = zip(now.names, now.labels, earlier.labels, strict=True)
    if other := [name for name, here, there in pairs if here != there]:
        _refuse(path, f"{len(other)} of the {len(now.names)} images have other labels, as {other[0]}")


def _refuse(path: Path, difference: str) -> NoReturn:
    raise InputError(
        f"{path}: an evaluation of other data cannot be compared with this one ({difference}); evaluate that network "
        "on these samples, and name what comes of it"
    )
