from pathlib import Path

import numpy as np
import pytest

from inverseform.cityscapes_labels import SCORED, submitted_mask, submitted_name
from inverseform.settings import InputError
from tests.data.miniatures.cityscapes import LABEL_IDS

NAMES = tuple(known.name for known in SCORED)


def test_the_scored_classes_are_those_of_the_public_table():
    assert tuple(known.label_id for known in SCORED) == LABEL_IDS
    assert NAMES[0] == "road" and NAMES[-1] == "bicycle" and len({known.colour for known in SCORED}) == 19


def test_a_mask_has_label_ids_in_8_bits():
    classes = np.arange(19, dtype=np.uint8).reshape(1, 19)
    mask = submitted_mask(classes, NAMES)
    assert mask.dtype == np.uint8 and mask.tolist() == [list(LABEL_IDS)]


def test_classes_are_known_by_their_names_whatever_their_order():
    mask = submitted_mask(np.array([[0, 18]], np.uint8), NAMES[::-1])
    assert mask.tolist() == [[33, 7]]


@pytest.mark.parametrize("names", [NAMES[:-1], (*NAMES, "void"), (*NAMES[:-1], "road"), ("a", "b")])
def test_other_classes_are_refused(names):
    with pytest.raises(InputError, match=r"the network's classes are .*leave out --format"):
        submitted_mask(np.zeros((1, 1), np.uint8), names)


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        ("test/berlin/berlin_000000_000019_leftImg8bit.png", "berlin_000000_000019_labelIds.png"),
        ("bad-honnef_000000_000000.png", "bad-honnef_000000_000000_labelIds.png"),
        ("munich_000398_000019_leftImg8bit.jpg", "munich_000398_000019_labelIds.png"),
    ],
)
def test_a_mask_has_the_name_of_its_image(photo, name):
    assert submitted_name(Path(photo)) == name


@pytest.mark.parametrize("photo", ["photo.png", "berlin_0_19.png", "berlin_000000_0000190.png", "_000000_000019.png"])
def test_an_image_of_another_name_is_refused(photo):
    with pytest.raises(InputError, match=rf"{photo}: the server knows an image by"):
        submitted_name(Path(photo))
