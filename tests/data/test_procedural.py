from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from inverseform.data import open_dataset
from inverseform.data.canvas import CLASSES
from inverseform.data.dataset import decode_image
from inverseform.data.procedural import ProceduralParams

SIZE = (128, 192)


def params(**changes):
    settings = {"name": "procedural", "train": 24, "val": 3, "test": 2, "size": SIZE, "seed": 1}
    return ProceduralParams(**{**settings, **changes})


def scenes(split="train", **changes):
    return open_dataset(params(**changes), Path("unused")).splits[split]


def test_splits_have_the_sizes_asked_for_and_names_of_their_own():
    dataset = open_dataset(params(), Path("unused"))
    assert {split: len(sources) for split, sources in dataset.splits.items()} == {"train": 24, "val": 3, "test": 2}
    assert len({source.name for source in dataset.splits["train"]}) == 24
    assert len(dataset.classes) == len(dataset.colours) == len(set(dataset.colours)) == CLASSES


def test_a_scene_is_a_function_of_seed_split_and_number_alone():
    first, more = scenes(), scenes(train=50, val=7)
    # Not in their order, so that what was drawn before has no part in it.
    for number in (17, 3, 3):
        assert first[number].read().encoded == more[number].read().encoded
        assert (first[number].labels() == more[number].labels()).all()
    for other in (scenes()[4], scenes("val")[2], scenes(seed=2)[3]):
        assert (other.labels() != first[3].labels()).any()


def test_labels_are_class_ids_or_unknown_and_images_fit_them():
    for source in scenes()[:10]:
        reading = source.read()
        assert reading.labels.shape == reading.image.shape[:2] == SIZE
        assert ((reading.labels < CLASSES) | (reading.labels == 255)).all()
        assert (decode_image(reading.encoded, source="x") == reading.image).all()


def test_an_image_changes_where_its_labels_do():
    gradients = []
    for source in scenes()[:10]:
        reading = source.read()
        step = np.abs(np.diff(reading.image.astype(float), axis=1)).mean(axis=2)
        border = np.diff(reading.labels.astype(int), axis=1) != 0
        gradients.append((step[border].mean(), step[~border].mean()))
    assert np.mean([across / within for across, within in gradients]) > 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"train": 0}, "train"), ({"size": (32, 64)}, "size"), ({"seed": -1}, "seed"), ({"size": (64,)}, "size")],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        params(**changes)
