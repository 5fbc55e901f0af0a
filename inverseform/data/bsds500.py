"""BSDS500 (Arbelaez et al., TPAMI 2011): 500 photos of 481 x 321 pixels, each divided into regions by 4 to 9 people.

```
mat       BSR/BSDS500/data/images/{train,val,test}/<name>.jpg           200, 100 and 200 photos
          BSR/BSDS500/data/groundTruth/{train,val,test}/<name>.mat      cells groundTruth{k}.Segmentation, .Boundaries
shares    {train,val,test}/images/<name>.jpg
          .../boundaries/<name>.png      8 bits: 255 times the share of the people who drew a boundary there
          .../segments/<name>.png        16 bits: regions of the annotator with the median number of them
```

Regions have no classes. What the labels hold are colours of one annotator's regions, of which no two that touch share
one (`region_colours`): the boundary map that ingest makes is that annotator's, which is what an inverse network learns
from, and a segmentation network has nothing to learn here. The task edges has all annotators, a channel each.

From shares nobody can tell who drew what: channel n has the pixels that more than n people drew, so that the mean over
the channels is the share, and a score that goes by single annotators is another than with mat. How many people there
were is the smallest number of which all shares of an image are multiples.

Traps. The official `Boundaries` lie on one side of a border, one pixel wide, and the boundary maps of this library on
both. The folders of images hold a Thumbs.db. The .mat files are read by scipy, which executes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from pydantic import model_validator

from inverseform.data.dataset import Dataset, Reading, decode_image
from inverseform.data.label_maps import check_size
from inverseform.data.layout import LayoutError, files, unpaired
from inverseform.data.matlab import read_mat
from inverseform.data.published_labels import single_channel
from inverseform.data.region_colours import region_colours
from inverseform.settings import InputError, Settings

COUNTS = {"train": 200, "val": 100, "test": 200}
COLOURS = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (227, 119, 194),
    (127, 127, 127), (188, 189, 34), (23, 190, 207), (0, 0, 0), (255, 255, 255),
)  # fmt: skip
"""More than any drawing needs: see `region_colours`."""
MOST_ANNOTATORS = 12
_PLACES = ("BSR/BSDS500/data", "BSDS500/data", ".")


class Bsds500Params(Settings):
    """BSDS500."""

    name: Literal["bsds500"]
    """Which data set: the one under data/raw, whose README.md describes the layouts."""
    layout: Literal["mat", "shares"]
    """mat: the official archive; shares: boundaries and segments as PNG, made from it."""
    annotator: Literal["coarsest", "median", "finest"]
    """Whose regions the labels are, by their number; of an even number of people the finer of the middle two."""

    @model_validator(mode="after")
    def _check_annotator(self) -> "Bsds500Params":
        if self.layout == "shares" and self.annotator != "median":
            raise ValueError(
                f"annotator is {self.annotator} and the layout shares has the median one; set it to median"
            )
        return self


class Annotation(NamedTuple):
    """What people drew on a photo."""

    regions: Integer[np.ndarray, "height width"]
    """Of one of them, by any ids."""
    edges: UInt8[np.ndarray, "annotators height width"]
    """1 where each drew a boundary."""


@dataclass(frozen=True)
class Bsds500Source:
    """A photo and what people drew on it, not read yet."""

    name: str
    image: Path
    annotation: Path
    """The file that is named in errors."""
    annotated: Callable[[Path], Annotation]

    def read(self) -> Reading:
        """Read both.

        Raises:
            InputError: One cannot be read, or they do not fit each other.
        """
        encoded = self.image.read_bytes()
        image = decode_image(encoded, source=str(self.image))
        regions, edges = self.annotated(self.annotation)
        check_size(self.annotation, regions.shape, image=self.image, pixels=image.shape)
        colours = region_colours(regions)
        if colours.max() >= len(COLOURS):
            raise InputError(
                f"{self.annotation}: its regions need {colours.max() + 1} colours and {len(COLOURS)} are there, more "
                f"than connected regions ever need; copy the file again from its origin"
            )
        return Reading(encoded, image, colours, targets={"edges": edges})


def open_bsds500(params: Bsds500Params, raw: Path) -> Dataset:
    """List the photos of all splits; none is read yet.

    Raises:
        LayoutError: Folders or files are missing, or have no counterpart.
        InputError: scipy is not installed, which reads .mat.
    """
    splits: dict[str, list[Bsds500Source]] = {}
    problems: list[str] = []
    for split in COUNTS:
        try:
            splits[split] = _official(raw, split, params) if params.layout == "mat" else _shares(raw / split)
        except LayoutError as error:
            problems += error.problems
    if problems:
        raise LayoutError(problems)
    classes = tuple(f"region colour {number}" for number in range(len(COLOURS)))
    return Dataset("bsds500", classes, COLOURS, splits, tasks=("edges",), expected=COUNTS)


def annotation(path: Path, *, annotator: Literal["coarsest", "median", "finest"]) -> Annotation:
    """What all annotators drew, and the regions of one.

    Raises:
        InputError: The file is damaged, or not of BSDS500.
    """
    (found,) = read_mat(path, "groundTruth")
    try:
        # A single cell comes without its array.
        cells = [found] if isinstance(found, dict) else list(found)
        regions = [np.asarray(cell["Segmentation"]) for cell in cells]
        edges = np.stack([np.asarray(cell["Boundaries"]) > 0 for cell in cells]).astype(np.uint8)
        if (
            edges.ndim != 3
            or not edges.size
            or any(each.shape != edges.shape[1:] or each.dtype.kind not in "ui" for each in regions)
        ):
            raise ValueError("its regions and boundaries are of different sizes, or no ids")
    except (ValueError, IndexError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: holds no groundTruth as BSDS500 has it, cells with Segmentation and Boundaries ({error}); copy "
            f"it again from the archive"
        ) from error
    # Stable: of equally many regions the first annotator's.
    order = sorted(range(len(regions)), key=lambda number: len(np.unique(regions[number])))
    place = {"coarsest": 0, "median": len(order) // 2, "finest": len(order) - 1}[annotator]
    return Annotation(regions[order[place]], edges)


def annotators_of_shares(shares: UInt8[np.ndarray, "height width"], *, source: Path) -> int:
    """How many people there were: the smallest number of which all shares, of 0 to 255, are multiples.

    Raises:
        InputError: No number up to 12 fits.
    """
    found = np.unique(shares).astype(np.float64)
    for count in range(1, MOST_ANNOTATORS + 1):
        # Rounded to 8 bits a share is off by half at most; truncated by one.
        if (np.abs(np.round(found * count / 255) * 255 / count - found) < 1).all():
            return count
    raise InputError(
        f"{source}: its values are {', '.join(f'{value:g}' for value in found[:8])}, and shares of at most "
        f"{MOST_ANNOTATORS} people are 255 times k of n; copy it again from its origin"
    )


def _official(raw: Path, split: str, params: Bsds500Params) -> list[Bsds500Source]:
    try:
        import scipy.io  # noqa: F401 (asked for here, so that it is missed before the first image is read)
    except ImportError as error:
        raise InputError(
            'data.layout is mat: scipy reads .mat files and is missing; pip install "inverseform[matlab]"'
        ) from error
    data = next((raw / place for place in _PLACES if (raw / place / "images").is_dir()), raw / _PLACES[0])
    images = files(data / "images" / split, ending=".jpg")
    drawn = files(data / "groundTruth" / split, ending=".mat")
    if problems := unpaired(images, drawn, what="drawing of people", folder=data / "groundTruth" / split):
        raise LayoutError(problems)
    read = partial(annotation, annotator=params.annotator)
    return [Bsds500Source(name, path, drawn[name], read) for name, path in images.items()]


def _shares(folder: Path) -> list[Bsds500Source]:
    images = files(folder / "images", ending=".jpg")
    problems = []
    for kind in ("boundaries", "segments"):
        problems += unpaired(images, files(folder / kind, ending=".png"), what=f"file of {kind}", folder=folder / kind)
    if problems:
        raise LayoutError(problems)
    return [
        Bsds500Source(name, path, folder / "segments" / f"{name}.png", _read_shares) for name, path in images.items()
    ]


def _read_shares(segments: Path) -> Annotation:
    path = segments.parents[1] / "boundaries" / segments.name
    shares, regions = single_channel(path), single_channel(segments)
    if shares.dtype != np.uint8 or shares.shape != regions.shape:
        raise InputError(
            f"{path}: is of {shares.dtype} and {shares.shape[1]}x{shares.shape[0]}; shares have 8 bits and the size of "
            f"{segments.name} in segments, {regions.shape[1]}x{regions.shape[0]}; copy both again"
        )
    count = annotators_of_shares(shares, source=path)
    drawn = np.round(shares * (count / 255)).astype(np.uint8)
    return Annotation(regions, (drawn > np.arange(count)[:, None, None]).astype(np.uint8))
