"""What an exported network says about itself, in the metadata of its ONNX file: all that is needed to use it alone."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from inverseform.settings import InputError, Settings

FORMAT = "inverseform.onnx/1"
PREPROCESSING = (
    "RGB image, upright (EXIF orientation applied), 8 bits a channel; divide by 255, subtract mean, divide by std, "
    "per channel; batch x 3 x height x width, float32, any height and width (padded inside). "
    "The class of a pixel is the largest of its logits; there is no softmax in the graph."
)

Byte = Annotated[int, Field(ge=0, le=255)]
Deviation = Annotated[float, Field(gt=0)]


class Manifest(Settings):
    """What an exported file says about itself, in the metadata of its ONNX model."""

    classes: tuple[str, ...] = Field(min_length=1, max_length=255)
    """Names in the order of the logits."""
    colours: tuple[tuple[Byte, Byte, Byte], ...]
    """RGB of each class."""
    mean: tuple[float, float, float]
    """Taken off each channel, after the division by 255."""
    std: tuple[Deviation, Deviation, Deviation]
    """What each channel is then divided by."""
    ignore_index: int
    """The label of unknown pixels in the data it was trained on; never predicted."""
    params: str
    """SHA-256 of the training's section of params.yaml."""
    inverse_net: str
    """SHA-256 of the frozen inverse network of the training; empty where there was none."""
    segmenter: str
    """SHA-256 of the weights that were exported, boundary head included."""
    licence: str
    """Who may use it for what."""

    @model_validator(mode="after")
    def _one_colour_a_class(self) -> "Manifest":
        if len(self.colours) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes and {len(self.colours)} colours; each class has one")
        return self

    def properties(self) -> dict[str, str]:
        """The metadata to write: words as they are, all else as JSON."""
        steps = {
            "input": "image", "channels": "RGB", "layout": "NCHW", "dtype": "float32", "scale": 1 / 255,
            "mean": self.mean, "std": self.std, "resize": None, "output": "logits", "decision": "argmax over axis 1",
        }  # fmt: skip
        about = {"format": FORMAT, "preprocessing": PREPROCESSING, "preprocessing_json": steps}
        entries = {**about, **self.model_dump(mode="json")}
        return {name: entry if isinstance(entry, str) else json.dumps(entry) for name, entry in entries.items()}

    @classmethod
    def read(cls, properties: Mapping[str, str], *, source: Path) -> "Manifest":
        """What `properties` wrote; keys that others added are let be.

        Raises:
            InputError: The file is not of `export`, or of another version of it.
        """
        found = properties.get("format")
        if found != FORMAT:
            raise InputError(
                f"{source}: its metadata holds format {found!r} and {FORMAT!r} was expected; "
                f"name a file that the stage export of this version wrote"
            )
        # A class list is JSON in the metadata, a licence is not: the types tell which.
        words = {name for name, field in cls.model_fields.items() if field.annotation is str}
        try:
            fields = {
                name: text if name in words else json.loads(text)
                for name, text in properties.items()
                if name in cls.model_fields
            }
            return cls.model_validate_json(json.dumps(fields))
        except (json.JSONDecodeError, ValidationError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{source}: its metadata was changed since the export ({reason}); export it again"
            ) from error
