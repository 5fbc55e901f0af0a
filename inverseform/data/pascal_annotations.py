"""What the files of PASCAL-Context and PASCAL-Part say of an image, and what ASTMT made of it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from inverseform.data.label_maps import check_size
from inverseform.data.matlab import read_mat
from inverseform.settings import InputError

PERSON = 15
"""The class of people, of VOC's 21 from 0."""
PARTS = {
    part: number
    for number, parts in enumerate(
        (
            "hair head lear lebrow leye mouth nose rear rebrow reye",
            "neck torso",
            "luarm ruarm",
            "lhand llarm rhand rlarm",
            "luleg ruleg",
            "lfoot llleg rfoot rlleg",
        ),
        start=1,
    )
    for part in parts.split()
}
"""PASCAL-Part's names of the parts of a person, to the six."""
# What both PASCAL-Context's list of 459 classes and NYU Depth V2's of 894 name, but "unknown"; and 427, tvmonitor.
WITH_NORMALS = (
    3, 4, 6, 9, 10, 11, 13, 15, 17, 18, 22, 23, 29, 30, 33, 34, 36, 37, 38, 39, 41, 43, 46, 49, 50, 51, 53, 55, 56, 59,
    61, 62, 65, 66, 68, 69, 72, 73, 78, 83, 84, 85, 87, 88, 95, 96, 101, 104, 105, 107, 111, 113, 115, 122, 124, 135,
    141, 142, 143, 146, 150, 154, 157, 158, 159, 165, 172, 174, 181, 183, 184, 191, 193, 195, 197, 199, 202, 213, 215,
    216, 219, 220, 223, 225, 228, 230, 232, 233, 238, 239, 242, 243, 246, 250, 251, 252, 255, 260, 261, 263, 269, 272,
    273, 275, 281, 283, 284, 285, 286, 287, 288, 290, 291, 292, 293, 295, 304, 307, 309, 310, 314, 315, 319, 323, 329,
    330, 331, 336, 342, 345, 349, 350, 351, 352, 355, 357, 368, 370, 371, 374, 379, 380, 383, 384, 397, 401, 403, 405,
    407, 408, 411, 412, 413, 414, 417, 419, 421, 423, 427, 429, 430, 432, 440, 441, 442, 443, 444, 446, 454, 457,
)  # fmt: skip
"""Ids of LabelMap whose pixels have normals."""


def label_map(path: Path, size: tuple[int, int]) -> Integer[np.ndarray, "height width"]:
    """PASCAL-Context's ids, 1 to 459, of an image of (height, width).

    Raises:
        InputError: The file is damaged, or of another size.
    """
    (values,) = read_mat(path, "LabelMap")
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu" or values.ndim != 2:
        raise InputError(f"{path}: its LabelMap is no matrix of whole numbers; copy it again")
    check_size(path, values.shape, image=None, pixels=size)
    return values


def edges(values: Integer[np.ndarray, "height width"]) -> UInt8[np.ndarray, "1 height width"]:
    """Where the 4-neighbour Laplacian of the ids is not 0, thinned to lines of one pixel.

    Raises:
        InputError: scikit-image is not installed.
    """
    try:
        from skimage.morphology import thin
    except ImportError as error:
        raise InputError(
            'edges are thinned by the package scikit-image, which is missing; pip install "inverseform[matlab]"'
        ) from error
    # Beyond the frame the image goes on as its mirror image, the frame itself not repeated.
    padded = np.pad(values.astype(np.int32), 1, mode="reflect")
    middle = slice(1, -1)
    around = padded[:-2, middle] + padded[2:, middle] + padded[middle, :-2] + padded[middle, 2:]
    return thin(around != 4 * padded[middle, middle]).astype(np.uint8)[None]


def human_parts(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "1 height width"] | None:
    """The six parts of all people in an image, 1 to 6, and 0 elsewhere; None where nobody has parts.

    Raises:
        InputError: The file is damaged, of another size, or has a part of no known name.
    """
    found = np.zeros(size, dtype=np.uint8)
    annotated = False
    for each in _structures(read_mat(path, "anno")[0], "objects", path):
        if not np.array_equal(_field(each, "class_ind", path), PERSON):
            continue
        for part in _structures(each, "parts", path):
            name = _field(part, "part_name", path)
            if not isinstance(name, str) or name not in PARTS:
                raise InputError(
                    f"{path}: has a part {name!r}; those of a person are {', '.join(PARTS)}: copy it again"
                )
            found[_mask(part, path, size)] = PARTS[name]
            annotated = True
    return found[None] if annotated else None


def images_of_people(path: Path, names: Iterable[str]) -> set[str] | None:
    """Images with a person, by a list of the classes of each image's objects; None where there is no such list.

    Raises:
        InputError: It is damaged, or not of these images.
    """
    if not path.exists():
        return None
    remedy = "delete it: it only spares looking into human_parts"
    try:
        classes = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}); {remedy}") from error
    if not isinstance(classes, dict) or not all(isinstance(each, list) for each in classes.values()):
        raise InputError(f"{path}: is not a list of classes for each image; {remedy}")
    if missing := [name for name in names if name not in classes]:
        raise InputError(f"{path}: lacks {missing[0]}, and {len(missing)} of the images listed in all; {remedy}")
    return {name for name, found in classes.items() if PERSON in found}


def _structures(of: Any, name: str, path: Path) -> list[Any]:  # noqa: ANN401 (whatever a file holds)
    """The structures in a field: MATLAB has one alone for a list of one, and an empty matrix for none."""
    found = _field(of, name, path)
    return [found] if isinstance(found, dict) else list(np.atleast_1d(found))


def _field(of: Any, name: str, path: Path) -> Any:  # noqa: ANN401 (whatever a file holds)
    if not isinstance(of, dict) or name not in of:
        raise InputError(f"{path}: is no annotation of PASCAL-Part, a structure lacks {name}; copy it again")
    return of[name]


def _mask(part: Mapping[str, Any], path: Path, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    mask = np.atleast_2d(_field(part, "mask", path))
    if mask.ndim != 2:
        raise InputError(f"{path}: a mask of a part has the shape {mask.shape}; it must have two axes: copy it again")
    check_size(path, mask.shape, image=None, pixels=size)
    return mask > 0
