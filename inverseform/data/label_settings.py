"""How label maps are to be read: which value or colour is which class."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from pydantic import Field, field_validator

from inverseform.data.dataset import Channel, Colour
from inverseform.data.label_maps import decode_colours, decode_ids
from inverseform.settings import Settings


class LabelSettings(Settings):
    """The classes of a data set, and how its label maps tell them."""

    label_format: Literal["ids", "colours"]
    """ids: single-channel PNG, the value (or palette index) of a pixel is its class. colours: RGB PNG."""
    classes: tuple[str, ...] = Field(min_length=2, max_length=255)
    """Names of the classes, by id from 0."""
    colours: tuple[Colour, ...]
    """One RGB colour a class, 0 to 255: for pictures, and what label_format colours looks up."""
    ignore_index: Channel | Colour | None
    """The label that means unknown: an id, 0 to 255, or an RGB colour with label_format colours; null for none.
    An id that also names a class takes that class out: its pixels are unknown."""

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if twice := {name for name in classes if classes.count(name) > 1}:
            raise ValueError(f"classes has {', '.join(sorted(twice))} twice; give each class a name of its own")
        return classes

    @field_validator("colours")
    @classmethod
    def _check_colours(cls, colours: tuple[Colour, ...], info: Any) -> tuple[Colour, ...]:  # noqa: ANN401
        # `info` is pydantic's ValidationInfo, a protocol that cannot be checked while running. Its data lack a field
        # that was itself refused.
        classes = info.data.get("classes", colours)
        if len(colours) != len(classes):
            raise ValueError(f"colours has {len(colours)} entries for {len(classes)} classes; give one a class")
        if info.data.get("label_format") == "colours" and len(set(colours)) != len(colours):
            raise ValueError(
                f"colours has {len(colours) - len(set(colours))} twice; labels need one of its own a class"
            )
        return colours

    @field_validator("ignore_index")
    @classmethod
    def _check_ignore_index(cls, label: int | Colour | None, info: Any) -> int | Colour | None:  # noqa: ANN401
        label_format = info.data.get("label_format", "ids")
        if label is not None and isinstance(label, tuple) != (label_format == "colours"):
            kind = "an RGB colour" if label_format == "colours" else "an id from 0 to 255"
            raise ValueError(f"ignore_index with label_format {label_format} is {kind}, or null")
        if label in info.data.get("colours", ()):
            raise ValueError(f"ignore_index {label} is also the colour of a class; give the class another")
        return label

    def decode(self, data: bytes, *, source: str, first_id: int = 0) -> UInt8[np.ndarray, "height width"]:
        """Class ids of a label map, in whichever format the settings name; 255 where the class is not known.

        Args:
            data: A PNG.
            source: What it is called in an error.
            first_id: The value of the first class, with label_format ids.

        Raises:
            InputError: It cannot be decoded, or a pixel is of no class.
        """
        unknown = self.ignore_index
        if self.label_format == "colours":
            colour = unknown if isinstance(unknown, tuple) else None
            return decode_colours(data, source=source, colours=self.colours, ignore=colour)
        index = unknown if isinstance(unknown, int) else None
        return decode_ids(data, source=source, num_classes=len(self.classes), ignore_index=index, first_id=first_id)

    def read(self, path: Path) -> UInt8[np.ndarray, "height width"]:
        """Class ids of a file.

        Raises:
            InputError: It cannot be decoded, or a pixel is of no class.
        """
        return self.decode(path.read_bytes(), source=str(path))
