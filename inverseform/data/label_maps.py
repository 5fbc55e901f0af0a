"""Label maps of a folder, as class ids or as colours, to class ids from 0 and 255 for what is not known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from inverseform.data.dataset import Colour, open_picture
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

_GREY = 0
"""PNG's number for grey pixels without alpha."""


def plain_ids(path: Path, *, num_classes: int, ignore_index: int | None) -> UInt8[np.ndarray, "height width"]:
    """Class ids from a single-channel PNG.

    Raises:
        InputError: It has several channels, cannot be decoded, or holds a value of no class.
    """
    data = path.read_bytes()
    # A palette picture gives its indices here, not its colours.
    values = np.array(open_picture(data, source=str(path)))
    if values.ndim != 2:
        raise InputError(
            f"{path}: has {values.shape[2]} channels and label_format ids takes one; set label_format: colours, or "
            f"write the ids as a grey or palette PNG"
        )
    # PIL spreads grey of 2 and 4 bits over 0 to 255, which turns ids into other numbers.
    depth, kind = data[24], data[25]
    if kind == _GREY and depth in (2, 4):
        values = values // (255 // (2**depth - 1))
    # -1 is the value of no pixel.
    unknown = values == (-1 if ignore_index is None else ignore_index)
    # Compared before it is cut to 8 bits: 256 must not come out as class 0.
    outside = ~unknown & (values >= num_classes)
    if outside.any():
        value = values[outside][0]
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{path}: the value {value} is at row {row}, column {column} ({(values == value).sum()} pixels have it) "
            f"and the {num_classes} classes have ids 0 to {num_classes - 1}, ignore_index is "
            f"{ignore_index}; correct the file, or classes or ignore_index in params.yaml"
        )
    return np.where(unknown, IGNORE_INDEX, values).astype(np.uint8)


def colour_ids(path: Path, *, colours: Sequence[Colour], ignore: Colour | None) -> UInt8[np.ndarray, "height width"]:
    """Class ids from the colours of an RGB or palette PNG.

    Raises:
        InputError: It cannot be decoded, or holds a colour of no class.
    """
    picture = open_picture(path.read_bytes(), source=str(path))
    codes = _code(np.asarray(picture.convert("RGBA").convert("RGB")))
    known, ids = [*colours], list(range(len(colours)))
    if ignore is not None:
        known, ids = [*known, ignore], [*ids, IGNORE_INDEX]
    # A search among the few known colours, where a table of all would take 16 MB.
    wanted = _code(np.array(known))
    order = np.argsort(wanted)
    place = order[np.searchsorted(wanted, codes, sorter=order).clip(max=len(wanted) - 1)]
    strange = wanted[place] != codes
    if strange.any():
        row, column = np.argwhere(strange)[0]
        code = int(codes[row, column])
        colour = (code >> 16, code >> 8 & 255, code & 255)
        raise InputError(
            f"{path}: the colour {colour} is at row {row}, column {column} ({(codes == code).sum()} pixels have it) "
            f"and is of no class; add it to colours (or as ignore_index) in params.yaml, or correct the file"
        )
    return np.array(ids, dtype=np.uint8)[place]


def _code(colours: Integer[np.ndarray, "*shape 3"]) -> Integer[np.ndarray, "*shape"]:
    """One number a colour."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
