"""A data set that is drawn: scenes of many kinds of boundaries, as many as wanted, with nobody's rights on them.

The universal inverse network learns from it. Image n of a split is a function of the seed, the split and n alone.
"""

import io
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field

from inverseform.data.canvas import CLASSES, Canvas
from inverseform.data.dataset import Dataset, Reading, decode_image
from inverseform.data.scenes import draw
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import Settings

Side = Annotated[int, Field(ge=64, le=4096)]
SPLITS = ("train", "val", "test")
COLOURS = (
    (128, 64, 128), (70, 130, 180), (107, 142, 35), (220, 20, 60), (250, 170, 30), (70, 70, 70), (152, 251, 152),
    (0, 0, 142), (190, 153, 153), (119, 11, 32), (220, 220, 0), (0, 80, 100),
)  # fmt: skip


class ProceduralParams(Settings):
    """Drawn scenes: label maps of random shapes in layers, and flat, textured images of them."""

    name: Literal["procedural"]
    """Which data set: scenes drawn by inverseform itself; nothing is read or downloaded."""
    train: int = Field(ge=1)
    val: int = Field(ge=1)
    test: int = Field(ge=1)
    """How many images each split has; more of them leave the first ones as they are."""
    size: tuple[Side, Side]
    """Height and width of every image, in pixels."""
    seed: int = Field(ge=0, lt=2**32)


@dataclass(frozen=True)
class DrawnScene:
    """One scene, not drawn yet."""

    params: ProceduralParams
    split: str
    number: int

    @property
    def name(self) -> str:
        """Its number in the split."""
        return f"scene-{self.number:06d}"

    def labels(self) -> UInt8[np.ndarray, "height width"]:
        """Draw the label map: class ids, or 255 where the class is not known."""
        return draw(*self.params.size, self._generator("labels"))

    def read(self) -> Reading:
        """Draw the label map and an image of it."""
        labels = self.labels()
        encoded = _jpeg(_image(labels, self._generator("image")))
        return Reading(encoded, decode_image(encoded, source=self.name), labels)

    def _generator(self, what: str) -> np.random.Generator:
        # A generator each, so that how images look can change and their labels stay.
        return np.random.default_rng([self.params.seed, SPLITS.index(self.split), self.number, len(what)])


def open_procedural(params: ProceduralParams) -> Dataset:
    """List the scenes of all splits; none is drawn yet."""
    counts = {"train": params.train, "val": params.val, "test": params.test}
    splits = {split: [DrawnScene(params, split, number) for number in range(n)] for split, n in counts.items()}
    return Dataset("procedural", tuple(f"class {number}" for number in range(CLASSES)), COLOURS, splits)


def _image(
    labels: UInt8[np.ndarray, "height width"], random: np.random.Generator
) -> UInt8[np.ndarray, "height width 3"]:
    """A colour for each class, light that changes over the picture, and a texture that differs between classes."""
    table = random.integers(40, 216, (IGNORE_INDEX + 1, 3), dtype=np.int16)
    grain = random.uniform(0, 14, IGNORE_INDEX + 1).astype(np.float32)
    height, width = labels.shape
    canvas = Canvas(height, width, random)
    light = 12 * canvas.noise(height / 2, 1) + grain[labels] * canvas.noise(random.uniform(2, 8), 1)
    # Bounded where there is one number a pixel, so that the sum stays within 0 to 255.
    light = np.clip(light, -40, 40).astype(np.int16)
    return (table[labels] + light[..., None]).astype(np.uint8)


def _jpeg(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    # A PNG of textured pixels would be eight times as large, and nothing learns from these images.
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=85)
    return file.getvalue()
