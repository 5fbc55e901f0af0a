"""What every data set is behind its reader, and how its pictures become arrays."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from inverseform.settings import InputError

Channel = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Channel, Channel, Channel]
"""Red, green and blue, 0 to 255."""

ORIENTATION = 0x0112
"""EXIF's tag."""
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
"""All that PIL raises for a damaged file: the readers of the formats differ in this."""

STORED = (b"\x89PNG", b"\xff\xd8\xff")
"""How files begin that samples keep as they are: PNG and JPEG."""


class Reading(NamedTuple):
    """One image and its labels, as a source gives them."""

    encoded: bytes
    """The image as PNG or JPEG, untouched."""
    image: UInt8[np.ndarray, "height width 3"]
    """The same, decoded to RGB."""
    labels: UInt8[np.ndarray, "height width"]
    """Class ids from 0, or 255 where the class is not known."""
    prediction: UInt8[np.ndarray, "height width"] | None = None
    """255 times the boundary probability that some network gave for the image; None where none is there."""
    targets: Mapping[str, Shaped[np.ndarray, "channels height width"]] = {}
    """What is known for other tasks, as `tasks.TASKS` describes it."""


@runtime_checkable
class Source(Protocol):
    """One image of a data set, not read yet."""

    @property
    def name(self) -> str:
        """Unique within its split."""
        ...

    def read(self) -> Reading:
        """Read and check it; a source is sent to another process for that, so it holds names, and no open files."""
        ...


@dataclass(frozen=True)
class Dataset:
    """A data set: what its labels mean, and where its images are."""

    name: str
    """Which reader it comes from."""
    classes: tuple[str, ...]
    """Names by class id."""
    colours: tuple[Colour, ...]
    """One per class, for pictures."""
    splits: Mapping[str, Sequence[Source]]
    """Sources of train, val and test, in a fixed order."""
    tasks: tuple[str, ...] = ()
    """Tasks beside segmentation that its images have targets for, of `tasks.TASKS`."""
    expected: Mapping[str, int] = field(default_factory=dict)
    """How many images a split has where it is published; others are not known."""


def open_picture(data: bytes, *, source: str) -> Image.Image:
    """Decode a PNG or JPEG file whole, so that one which was cut short is noticed.

    Raises:
        InputError: It cannot be decoded, or wants to be turned before it is looked at; `source` says which it is.
    """
    try:
        # Only the two that are asked for: the readers of rarer formats need not see files from outside.
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        picture.load()
        turn = picture.getexif().get(ORIENTATION, 1)
    except UNREADABLE as error:
        # PIL names an object of Python's there.
        what = "begins like no PNG or JPEG" if not data.startswith(STORED) else "its header is damaged"
        told = what if isinstance(error, UnidentifiedImageError) else error
        raise InputError(
            f"{source}: cannot be decoded as PNG or JPEG ({told}); copy it again from its origin, or take it and the "
            f"file that belongs to it out of the data set"
        ) from error
    check_upright(turn, source=source)
    return picture


def check_upright(turn: int, *, source: str) -> None:
    """Raise InputError where an EXIF orientation wants a picture turned before it is looked at."""
    # Whether labels were drawn on the turned or the unturned picture, no file tells: so neither is guessed.
    if turn not in (0, 1):
        raise InputError(
            f"{source}: has the EXIF orientation {turn}, so viewers turn it and its labels may not fit; turn the "
            f"pixels (mogrify -auto-orient FILE) or remove the tag (exiftool -Orientation= FILE): whichever fits them"
        )


def open_map(data: bytes, *, source: str) -> Image.Image:
    """Decode a map of ids, colours or numbers: a PNG, whatever its name ends with.

    Raises:
        InputError: It is another format, or cannot be decoded.
    """
    picture = open_picture(data, source=source)
    if picture.format != "PNG":
        raise InputError(
            f"{source}: is a {picture.format} file, whatever its name says, and must be PNG: JPEG blends neighbouring "
            f"ids into ids of other classes, so make the PNG from the original map, not from this file"
        )
    return picture


def decode_image(data: bytes, *, source: str) -> UInt8[np.ndarray, "height width 3"]:
    """Decode a PNG or JPEG file to RGB; grey and palette images become RGB, transparency is dropped.

    Raises:
        InputError: It cannot be decoded, or has more than 8 bits a channel.
    """
    picture = open_picture(data, source=source)
    # PIL takes RGB of 16 bits for RGB of 8 and drops half of it; a PNG says how many it has in its 25th byte.
    deep = picture.format == "PNG" and data[24] > 8
    if deep or picture.mode.startswith(("I", "F")):
        kind = f"{data[24]} bits, read as {picture.mode}" if deep else picture.mode
        raise InputError(
            f"{source}: has pixels of {kind}; images need 8 bits a channel, so convert it (mogrify -depth 8 FILE)"
        )
    # PIL warns of a palette with transparency when it goes to RGB at once.
    if "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"))


def decode_map(data: bytes, *, source: str) -> UInt8[np.ndarray, "height width"]:
    """Decode a map that `encode_png` wrote."""
    return np.array(open_picture(data, source=source))


def encode_png(array: UInt8[np.ndarray, "height width *channels"]) -> bytes:
    """Encode a grey or RGB array as PNG, the same array always to the same bytes."""
    file = io.BytesIO()
    # Level 1 takes two thirds of the time of level 6 on label maps, and a few kilobytes more.
    Image.fromarray(array).save(file, format="PNG", compress_level=1)
    return file.getvalue()
