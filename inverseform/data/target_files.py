"""Targets of other tasks from files that people have: PNG for the eye, .npy for numbers.

What the values mean is said at each function; `tasks.TASKS` says what becomes of them. Grey pictures of edges and of
saliency are hard: 0 for no, 255 for yes, 128 for not known (or 0 and 1, as masks are often kept).
"""

import io
import tokenize
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Float32, Shaped, UInt8

from inverseform.data.dataset import decode_image, open_map
from inverseform.data.label_maps import check_size, plain_ids
from inverseform.data.normal_axes import SHORTEST, check_length
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

ENDINGS = {
    "depth": (".png", ".npy"),
    "normals": (".png", ".npy"),
    "edges": (".png",),
    "saliency": (".png",),
    "human_parts": (".png",),
    "hha": (".png", ".jpg", ".jpeg"),
}
"""By task, what the names of its files end with."""
_MILLIMETRES = 1000
_NOT_SURE = 128
"""The grey of a pixel of which nothing is known, half-way between no and yes."""


def read_target(task: str, path: Path) -> Shaped[np.ndarray, "channels height width"]:
    """The target of a task from its file; several files of one annotator each from a folder of edges.

    Raises:
        InputError: It cannot be decoded, or is not what its task needs.
    """
    readers: dict[str, Callable[[Path], Shaped[np.ndarray, "channels height width"]]] = {
        "depth": read_depth,
        "normals": read_normals,
        "edges": read_edges,
        "saliency": read_mask,
        "human_parts": read_parts,
        "hha": read_hha,
    }
    return readers[task](path)


def read_depth(path: Path) -> Float32[np.ndarray, "1 height width"]:
    """Metres, from a PNG of 16 bits in millimetres or from numbers in metres; 0 and NaN are not known.

    Raises:
        InputError: It has another type, or depths below 0.
    """
    if path.suffix.lower() == ".npy":
        metres = _numbers(path, axes=2).astype(np.float32)
    else:
        picture = open_map(path.read_bytes(), source=str(path))
        if not picture.mode.startswith("I"):
            raise InputError(
                f"{path}: has pixels of type {picture.mode}; depth is a grey PNG of 16 bits in millimetres, or .npy in "
                f"metres: write it so"
            )
        metres = np.array(picture).astype(np.float32) / _MILLIMETRES
    if (metres < 0).any():
        raise InputError(
            f"{path}: has depths below 0, the least {np.nanmin(metres):.4g}; they are metres (.npy) or millimetres "
            f"(PNG) along the optical axis, 0 where they are not known: write them so"
        )
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.float32(np.nan))[None]


def read_normals(path: Path) -> Float16[np.ndarray, "3 height width"]:
    """Unit vectors (x right, y up, z towards the camera), from RGB with n = 2 v / 255 - 1 or from (height, width, 3).

    Not known where all of RGB are 0, where a number is NaN, and where a vector is shorter than half a unit (so is the
    grey of 127 or 128). The others are made one unit long.

    Raises:
        InputError: Most vectors are not of one unit, or point away from the camera: other axes, or another coding.
    """
    if path.suffix.lower() == ".npy":
        vectors = _numbers(path, axes=3).astype(np.float32)
    else:
        pixels = decode_image(path.read_bytes(), source=str(path))
        vectors = np.where(pixels.any(axis=2, keepdims=True), pixels * np.float32(2 / 255) - 1, np.float32(np.nan))
    if vectors.shape[2] != 3:
        raise InputError(f"{path}: has the shape {vectors.shape}; normals are (height, width, 3): write them so")
    length = np.linalg.norm(vectors, axis=2)
    known = length >= SHORTEST
    check_length(length, source=str(path))
    if known.any():
        _check_direction(path, vectors[known])
    unit = np.divide(vectors, length[..., None], out=np.full_like(vectors, np.nan), where=known[..., None])
    return unit.transpose(2, 0, 1).astype(np.float16)


def _check_direction(path: Path, vectors: Float[np.ndarray, "pixels 3"]) -> None:
    towards = float(vectors[:, 2].mean())
    if towards < 0:
        raise InputError(
            f"{path}: its normals point away from the camera (z is {towards:.3g} in the mean), as where y is down and "
            f"z forward; write them with x right, y up and z towards the camera: there, turn the signs of y and z"
        )


def read_edges(path: Path) -> UInt8[np.ndarray, "annotators height width"]:
    """1 on a boundary, from a file, or from a folder with a file of each annotator, in the order of their names.

    Raises:
        InputError: A file is not a hard mask, or not of the size of the others.
    """
    if not path.is_dir():
        return read_mask(path)
    masks = {each: read_mask(each) for each in sorted(path.iterdir()) if not each.name.startswith(".")}
    if not masks:
        raise InputError(f"{path}: is empty; it needs a PNG of each annotator, or remove it and its image")
    first = next(iter(masks))
    for each, mask in masks.items():
        check_size(each, mask.shape[1:], image=first, pixels=masks[first].shape[1:])
    return np.concatenate(list(masks.values()))


def read_mask(path: Path) -> UInt8[np.ndarray, "1 height width"]:
    """0, 1, or IGNORE_INDEX, from a hard mask.

    Raises:
        InputError: It has several channels, or values between no and yes.
    """
    picture = open_map(path.read_bytes(), source=str(path))
    if picture.mode not in ("1", "L"):
        raise InputError(
            f"{path}: has pixels of type {picture.mode}; it must be grey of 8 bits or of 1: convert it (mogrify "
            f"-colorspace gray -depth 8 FILE)"
        )
    values = np.array(picture).astype(np.uint8)
    # A mask of 0 and 1 looks black, and is as common as one of 0 and 255.
    if values.max(initial=0) <= 1:
        return values[None]
    strange = ~np.isin(values, (0, _NOT_SURE, 255))
    if strange.any():
        row, column = np.argwhere(strange)[0]
        raise InputError(
            f"{path}: the value {values[row, column]} is at row {row}, column {column} ({strange.sum()} pixels are "
            f"neither 0, 255 nor {_NOT_SURE}); a mask is hard: mogrify -threshold 50% FILE"
        )
    return np.where(values == _NOT_SURE, IGNORE_INDEX, values == 255).astype(np.uint8)[None]


def read_parts(path: Path) -> UInt8[np.ndarray, "1 height width"]:
    """Ids of the parts of a person from a grey or palette PNG: 0 none, 255 not known.

    Raises:
        InputError: It has several channels, or more than 8 bits.
    """
    return plain_ids(path, num_classes=IGNORE_INDEX, ignore_index=IGNORE_INDEX)[None]


def read_hha(path: Path) -> UInt8[np.ndarray, "3 height width"]:
    """Disparity, height and angle from the red, green and blue of a picture.

    Raises:
        InputError: It cannot be decoded, or has more than 8 bits.
    """
    return np.ascontiguousarray(decode_image(path.read_bytes(), source=str(path)).transpose(2, 0, 1))


def _numbers(path: Path, *, axes: int) -> Float[np.ndarray, "..."]:
    try:
        array = np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
    # A damaged header may ask for any memory, or be no Python.
    except (ValueError, EOFError, OSError, MemoryError, tokenize.TokenError) as error:
        raise InputError(f"{path}: cannot be read as .npy ({error}); write it again with numpy.save") from error
    if array.ndim != axes or not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{path}: has the shape {array.shape} of {array.dtype}; it must be of a floating type with {axes} axes: "
            f"height, width{', 3' if axes == 3 else ''}"
        )
    return array
