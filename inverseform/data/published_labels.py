"""Label maps of published data sets: values or colours that a table knows, to class ids from 0 and 255 for the rest.

A value that is in no table is an error, told with its place: it means other files than the reader was written for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from inverseform.data.dataset import Colour, Reading, decode_image, open_map
from inverseform.data.label_maps import check_size
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError

_GREY = 0
"""PNG's number for grey pixels without alpha."""


@dataclass(frozen=True)
class LabelledImage:
    """An image and its label map, not read yet."""

    name: str
    image: Path
    labels: Path | None
    """None where they are not published: every pixel is unknown then."""
    class_ids: Callable[[Path], UInt8[np.ndarray, "height width"]]
    """Reads a label map."""

    def read(self) -> Reading:
        """Read both files.

        Raises:
            InputError: One cannot be decoded, their sizes differ, or a label is not known.
        """
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        if self.labels is None:
            return Reading(encoded, image, np.full(image.shape[:2], IGNORE_INDEX, np.uint8))
        labels = self.class_ids(self.labels)
        check_size(self.labels, labels.shape, image=self.image, pixels=image.shape)
        return Reading(encoded, image, labels)


def class_ids(
    path: Path, table: Mapping[int, int], *, rule: str, values_per_id: int = 1
) -> UInt8[np.ndarray, "height width"]:
    """Class ids of a single-channel PNG.

    Args:
        path: Of 8 or 16 bits; of a palette its indices count.
        table: The class of each id, from 0, or 255.
        rule: Which ids there are, for the error.
        values_per_id: How many values of a pixel belong to an id, as 256 where the low byte counts instances.

    Raises:
        InputError: It has several channels, cannot be decoded, or holds an id that is not in the table.
    """
    values = single_channel(path)
    ids = values // values_per_id if values_per_id > 1 else values
    # A table of all that 16 bits can hold: one look-up a pixel, and no larger array on the way.
    classes, known = np.full(1 << 16, IGNORE_INDEX, np.uint8), np.zeros(1 << 16, dtype=bool)
    for value, klass in table.items():
        classes[value], known[value] = klass, True
    if not (fits := known[ids]).all():
        row, column = _first(~fits)
        raise _strange(path, f"the id {ids[row, column]}", row, column, int((ids == ids[row, column]).sum()), rule)
    return classes[ids]


def class_ids_of_colours(path: Path, table: Mapping[Colour, int], *, rule: str) -> UInt8[np.ndarray, "height width"]:
    """Class ids of an RGB or palette PNG.

    Args:
        path: Where it is.
        table: The class of each colour, from 0, or 255.
        rule: Which colours there are, for the error.

    Raises:
        InputError: It cannot be decoded, or holds a colour that is not in the table.
    """
    picture = np.array(open_map(path.read_bytes(), source=str(path)).convert("RGB")).astype(np.int32)
    codes = _code(picture)
    # In the order of their codes, too.
    known = sorted(table)
    # A search among the few known colours, where a table of all would take 16 MB.
    wanted = _code(np.array(known))
    place = np.searchsorted(wanted, codes).clip(max=len(wanted) - 1)
    if not (fits := wanted[place] == codes).all():
        row, column = _first(~fits)
        count = int((codes == codes[row, column]).sum())
        raise _strange(path, f"the colour {tuple(picture[row, column].tolist())}", row, column, count, rule)
    return np.array([table[colour] for colour in known], dtype=np.uint8)[place]


def single_channel(path: Path) -> Shaped[np.ndarray, "height width"]:
    """The values of a PNG of one channel, of 8 or 16 bits.

    Raises:
        InputError: It cannot be decoded, or is of another kind.
    """
    data = path.read_bytes()
    values = np.array(open_map(data, source=str(path)))
    # PIL spreads grey of 2 and 4 bits over 0 to 255, which turns ids into other numbers.
    depth, kind = data[24], data[25]
    if values.ndim != 2 or values.dtype not in (np.uint8, np.uint16) or (kind == _GREY and depth < 8):
        channels = 1 if values.ndim == 2 else values.shape[2]
        raise InputError(
            f"{path}: has {channels} channel(s) of {depth} bits, and this label map is published as one channel of 8 "
            f"or 16 bits; copy it again from its origin"
        )
    return values


def _code(colours: Shaped[np.ndarray, "*shape 3"]) -> Shaped[np.ndarray, "*shape"]:
    """One number a colour."""
    return colours @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)


def _first(where: Bool[np.ndarray, "height width"]) -> tuple[int, int]:
    row, column = divmod(int(where.argmax()), where.shape[1])
    return row, column


def _strange(path: Path, what: str, row: int, column: int, count: int, rule: str) -> InputError:
    return InputError(
        f"{path}: {what} is at row {row}, column {column} ({count} pixels have it), and {rule}; copy the file again "
        f"from its origin"
    )
