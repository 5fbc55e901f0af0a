"""Label maps, as class ids or as colours, to class ids from 0 and 255 for what is not known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from inverseform.data.dataset import Colour, open_map
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

_GREY = 0
"""PNG's number for grey pixels without alpha."""


def plain_ids(path: Path, *, num_classes: int, ignore_index: int | None) -> UInt8[np.ndarray, "height width"]:
    """Class ids from a single-channel PNG.

    Raises:
        InputError: It has several channels, cannot be decoded, or holds a value of no class.
    """
    return decode_ids(path.read_bytes(), source=str(path), num_classes=num_classes, ignore_index=ignore_index)


def decode_ids(
    data: bytes, *, source: str, num_classes: int, ignore_index: int | None, first_id: int = 0
) -> UInt8[np.ndarray, "height width"]:
    """Class ids from the bytes of a single-channel PNG, in which the first class has the value `first_id`.

    Raises:
        InputError: It has several channels, cannot be decoded, or holds a value of no class; `source` says which it is.
    """
    # A palette picture gives its indices here, not its colours.
    values = np.array(open_map(data, source=source))
    if values.ndim != 2:
        raise InputError(
            f"{source}: has {values.shape[2]} channels and label_format ids takes one; set label_format: colours, or "
            f"write the ids as a grey or palette PNG"
        )
    # PIL spreads grey of 2 and 4 bits over 0 to 255, which turns ids into other numbers.
    depth, kind = data[24], data[25]
    if kind == _GREY and depth in (2, 4):
        values = values // (255 // (2**depth - 1))
    # -1 is the value of no pixel.
    unknown = values == (-1 if ignore_index is None else ignore_index)
    # Compared before they are cut to 8 bits: 256 must not come out as class 0.
    ids = np.subtract(values, first_id, dtype=np.int32) if first_id else values
    outside = ~unknown & ((ids < 0) | (ids >= num_classes))
    if outside.any():
        value = values[outside][0]
        row, column = np.argwhere(outside)[0]
        raise InputError(
            f"{source}: the value {value} is at row {row}, column {column} ({(values == value).sum()} pixels have it) "
            f"and the {num_classes} classes have ids {first_id} to {first_id + num_classes - 1}, ignore_index is "
            f"{ignore_index}; correct the file, or classes or ignore_index in params.yaml"
        )
    return np.where(unknown, IGNORE_INDEX, ids).astype(np.uint8)


def colour_ids(path: Path, *, colours: Sequence[Colour], ignore: Colour | None) -> UInt8[np.ndarray, "height width"]:
    """Class ids from the colours of an RGB or palette PNG.

    Raises:
        InputError: It cannot be decoded, or holds a colour of no class.
    """
    return decode_colours(path.read_bytes(), source=str(path), colours=colours, ignore=ignore)


def decode_colours(
    data: bytes, *, source: str, colours: Sequence[Colour], ignore: Colour | None
) -> UInt8[np.ndarray, "height width"]:
    """Class ids from the bytes of an RGB or palette PNG.

    Raises:
        InputError: It cannot be decoded, or holds a colour of no class; `source` says which it is.
    """
    picture = open_map(data, source=source)
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
            f"{source}: the colour {colour} is at row {row}, column {column} ({(codes == code).sum()} pixels have it) "
            f"and is of no class; add it to colours (or as ignore_index) in params.yaml, or correct the file"
        )
    return np.array(ids, dtype=np.uint8)[place]


def check_size(path: Path, shape: tuple[int, ...], *, image: Path | None, pixels: tuple[int, ...]) -> None:
    """Refuse what belongs to an image and is of another height and width.

    Raises:
        InputError: The first two numbers of `shape` are not those of `pixels`.
    """
    if shape[:2] != pixels[:2]:
        found, wanted = ("x".join(map(str, each[1::-1])) for each in (shape, pixels))
        raise InputError(
            f"{path}: is {found} and {image.name if image else 'its image'} is {wanted} (width x height); what belongs "
            f"to an image has its size: copy both again, or scale one of them (labels without smoothing)"
        )


def _code(colours: Integer[np.ndarray, "*shape 3"]) -> Integer[np.ndarray, "*shape"]:
    """One number a colour."""
    return colours.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
