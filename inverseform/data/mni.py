"""The embedded default: axial slices of the averaged brain that the package nilearn carries, in four classes.

It is one averaged, mirror-symmetric volume, so neighbouring slices are alike. Splits are therefore blocks with unused
slices between them, and a score on it says that the pipeline works, not that a method is better.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from einops import rearrange
from jaxtyping import Integer, Shaped, UInt8

from inverseform.data.dataset import Dataset, Reading, encode_png
from inverseform.settings import InputError, Settings

CLASSES = ("outside", "grey matter", "white matter", "rest of the brain")
COLOURS = ((0, 0, 0), (200, 80, 80), (240, 240, 220), (60, 120, 220))
BLOCKS = (("train", 8), (None, 2), ("val", 2), (None, 2), ("test", 2), (None, 2))
"""Slices from the bottom up, over and over: which split takes how many of them. None are the gaps."""
# Slices with less show no more than a tip of the brain, nearly all of one class.
LEAST_BRAIN = 0.1
"""Share of a slice that must be brain for it to be used."""


class MniParams(Settings):
    """The embedded default data set; it has no settings of its own."""

    name: Literal["mni"]
    """Which data set: slices of the ICBM 152 average in the installed package nilearn; nothing is downloaded."""


@dataclass(frozen=True)
class MniSource:
    """One axial slice."""

    name: str
    image: UInt8[np.ndarray, "height width"]
    labels: UInt8[np.ndarray, "height width"]

    def read(self) -> Reading:
        """Encode the slice as an RGB image."""
        image = np.repeat(self.image[..., None], 3, axis=2)
        return Reading(encode_png(image), image, np.ascontiguousarray(self.labels))


def open_mni() -> Dataset:
    """Open the volume and deal its slices out to the splits.

    Raises:
        InputError: nilearn or nibabel is not installed, or has no such files.
    """
    t1, grey, white = (_volume(name) for name in ("t1", "gm", "wm"))
    labels = tissue(t1, grey, white)
    # One factor for the whole volume, so that a tissue is equally bright in every slice.
    images = np.round(t1 * np.float32(255 / t1.max())).astype(np.uint8)
    splits: dict[str, list[MniSource]] = {"train": [], "val": [], "test": []}
    dealt = [split for split, count in BLOCKS for _ in range(count)]
    used = np.flatnonzero((labels > 0).mean(axis=(0, 1)) >= LEAST_BRAIN)
    for place, level in enumerate(used):
        # By place among the used slices, not by level, so that the first block is whole.
        if split := dealt[place % len(dealt)]:
            source = MniSource(f"axial-{level:03d}", upright(images[..., level]), upright(labels[..., level]))
            splits[split].append(source)
    return Dataset("mni", CLASSES, COLOURS, splits)


def tissue(
    t1: Integer[np.ndarray, "*shape"], grey: Integer[np.ndarray, "*shape"], white: Integer[np.ndarray, "*shape"]
) -> UInt8[np.ndarray, "*shape"]:
    """Class ids from the T1 image and the maps of grey and white matter, which hold 0 to 255 for a share of 0 to 1.

    Outside is where the image is 0; a tissue is where the larger of its maps is at least a half; grey matter where
    they are equal; the rest of the brain is what is left: ventricles, fluid, the narrow space between the folds.
    """
    # Ids of 8 bits from the start: whole volumes of 64-bit integers would take 200 MB on the way.
    outside, grey_matter, white_matter, rest = np.arange(4, dtype=np.uint8)
    matter = np.where(white > grey, white_matter, grey_matter)
    brain = np.where(np.maximum(grey, white) >= 255 / 2, matter, rest)
    return np.where(t1 == 0, outside, brain)


def upright(slice: Shaped[np.ndarray, "right anterior"]) -> Shaped[np.ndarray, "height width"]:
    """A slice as radiologists look at it: the front of the head up, the patient's right on the left."""
    return rearrange(slice[::-1, ::-1], "right anterior -> anterior right")


def _volume(name: str) -> Integer[np.ndarray, "right anterior superior"]:
    # Importing nilearn takes seconds; its files are found without it.
    package = importlib.util.find_spec("nilearn")
    if package is None or package.origin is None or importlib.util.find_spec("nibabel") is None:
        raise InputError(
            f"data.name mni: reads mni_icbm152_{name} from the package nilearn by the package nibabel, and one is "
            f'missing; pip install "inverseform[demo]"'
        )
    path = Path(package.origin).parent / f"datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    if not path.is_file():
        raise InputError(
            f'{path}: not in this release of nilearn; install the one that has it: pip install "inverseform[demo]"'
        )
    import nibabel

    return np.asanyarray(nibabel.Nifti1Image.from_filename(path).dataobj)
