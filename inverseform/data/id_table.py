"""The ids of a published data set to class ids from 0."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Integer, UInt8

from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError


def class_ids(
    values: Integer[np.ndarray, "height width"], table: Mapping[int, int], *, source: str
) -> UInt8[np.ndarray, "height width"]:
    """Look up each pixel.

    Args:
        values: As the file has them.
        table: Class by published id, from 0; IGNORE_INDEX where the class is not known.
        source: Where they are from, for the message.

    Raises:
        InputError: A value is not in the table.
    """
    last = max(table)
    # One more entry, for what is outside: its number is no class and not IGNORE_INDEX either.
    classes = np.full(last + 2, -1, dtype=np.int16)
    classes[list(table)] = list(table.values())
    found = classes[np.where((values < 0) | (values > last), last + 1, values)]
    if (found < 0).any():
        row, column = np.argwhere(found < 0)[0]
        value = values[row, column]
        unknown = [number for number, each in table.items() if each == IGNORE_INDEX]
        raise InputError(
            f"{source}: the value {value} is at row {row}, column {column} ({(values == value).sum()} pixels have it) "
            f"and ids are {min(table)} to {last}{f', with {unknown} for unknown' if unknown else ''}; copy the file "
            f"again, from the release that data/raw/README.md names"
        )
    return found.astype(np.uint8)
