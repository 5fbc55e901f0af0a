"""The labels of Cityscapes: the classes that are scored, their ids in files, and masks as the test server takes them.

The table is the public one of the data set (github.com/mcordts/cityscapesScripts, helpers/labels.py). A class is a
number of 0 to 18 where it is trained and scored (trainId), and another in files (labelId). Neither torch nor a data set
is needed here, so that `inverseform predict` can write masks from an exported network alone.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from inverseform.settings import InputError


class CityscapesClass(NamedTuple):
    """One of the scored classes."""

    name: str
    label_id: int
    """Its value in files named *_labelIds.png."""
    colour: tuple[int, int, int]


SCORED = (
    CityscapesClass("road", 7, (128, 64, 128)),
    CityscapesClass("sidewalk", 8, (244, 35, 232)),
    CityscapesClass("building", 11, (70, 70, 70)),
    CityscapesClass("wall", 12, (102, 102, 156)),
    CityscapesClass("fence", 13, (190, 153, 153)),
    CityscapesClass("pole", 17, (153, 153, 153)),
    CityscapesClass("traffic light", 19, (250, 170, 30)),
    CityscapesClass("traffic sign", 20, (220, 220, 0)),
    CityscapesClass("vegetation", 21, (107, 142, 35)),
    CityscapesClass("terrain", 22, (152, 251, 152)),
    CityscapesClass("sky", 23, (70, 130, 180)),
    CityscapesClass("person", 24, (220, 20, 60)),
    CityscapesClass("rider", 25, (255, 0, 0)),
    CityscapesClass("car", 26, (0, 0, 142)),
    CityscapesClass("truck", 27, (0, 0, 70)),
    CityscapesClass("bus", 28, (0, 60, 100)),
    CityscapesClass("train", 31, (0, 80, 100)),
    CityscapesClass("motorcycle", 32, (0, 0, 230)),
    CityscapesClass("bicycle", 33, (119, 11, 32)),
)
"""In the order of their trainIds, which count up from 0."""
HIGHEST_LABEL_ID = 33
"""Labels that are not scored have the other ids from 0 up to here."""
LICENCE_PLATE = 255
"""Its id is -1, which a file of 8 bits has as this; not scored."""

# City names have a hyphen here and there; what follows the frame is of the kind of file.
_FRAME = re.compile(r"([A-Za-z-]+_\d{6}_\d{6})(?:_.*)?")


def submitted_mask(
    classes: UInt8[np.ndarray, "height width"], names: Sequence[str]
) -> UInt8[np.ndarray, "height width"]:
    """A mask of labelIds, as the test server takes it, from class ids.

    Args:
        classes: Ids from 0, at the size of the image.
        names: Of the classes, by id; in any order, as long as they are those of Cityscapes.

    Raises:
        InputError: They are not the scored classes.
    """
    label_ids = {known.name: known.label_id for known in SCORED}
    if sorted(names) != sorted(label_ids):
        raise InputError(
            f"the network's classes are {', '.join(names)}, and the server takes those of Cityscapes: "
            f"{', '.join(label_ids)}; name a network that was trained on Cityscapes, or leave out --format"
        )
    return np.array([label_ids[name] for name in names], dtype=np.uint8)[classes]


def submitted_name(photo: Path) -> str:
    """The file name under which the server finds the mask of an image: <city>_<seq>_<frame>_labelIds.png.

    Raises:
        InputError: The image is not named as in Cityscapes.
    """
    found = _FRAME.fullmatch(photo.stem)
    if found is None:
        raise InputError(
            f"{photo}: the server knows an image by <city>_<seq>_<frame>, as in berlin_000000_000019_leftImg8bit.png; "
            f"give the image its name in Cityscapes, or leave out --format"
        )
    return f"{found[1]}_labelIds.png"
