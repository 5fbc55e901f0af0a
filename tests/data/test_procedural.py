from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from inverseform.boundary import boundaries
from inverseform.data import open_dataset
from inverseform.data.canvas import CLASSES, Canvas
from inverseform.data.dataset import decode_image
from inverseform.data.procedural import ProceduralParams
from inverseform.data.scenes import LAYERS, SCENES

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
    for source in scenes():
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


@pytest.mark.parametrize("layer", [*SCENES, *LAYERS], ids=lambda layer: layer.__name__)
def test_every_layer_draws_boundaries_at_any_size(layer):
    for height, width in (SIZE, (64, 200), (300, 64)):
        found = 0
        for seed in range(5):
            canvas = Canvas(height, width, np.random.default_rng(seed))
            layer(canvas)
            assert canvas.labels.shape == (height, width)
            found += len(np.unique(canvas.labels)) > 1
        assert found >= 4


@pytest.fixture(scope="module")
def maps():
    """Boundary maps of a few dozen scenes, at the size that CamVid's are compared at."""
    labels = np.stack([source.labels() for source in scenes(size=(384, 512))])
    return boundaries(torch.from_numpy(labels), num_classes=CLASSES)[0]


def test_tiles_are_occupied_as_diversely_as_those_of_street_scenes(maps):
    # Of CamVid's 128-pixel tiles, 5, 25, 50, 75 and 95% have at most .01, .04, .07, .10 and .15 boundary.
    low, middle, high = F.avg_pool2d(maps, 128).flatten().quantile(torch.tensor([0.1, 0.5, 0.9]))
    assert low < 0.02
    assert 0.045 < middle < 0.1
    assert 0.12 < high < 0.25


def test_boundaries_run_in_every_direction_and_more_of_them_upright_or_level(maps):
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    across, down = F.conv2d(F.avg_pool2d(maps, 5, stride=1), torch.stack([sobel, sobel.T])[:, None]).unbind(1)
    angle = torch.atan2(down, across)[torch.hypot(across, down) > 0.2] % torch.pi
    turns = torch.bincount((angle / torch.pi * 4).round().long() % 4, minlength=4).float()
    shares = turns / turns.sum()
    assert shares.min() > 0.1
    assert shares[::2].sum() > shares[1::2].sum()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"train": 0}, "train"), ({"size": (32, 64)}, "size"), ({"seed": -1}, "seed"), ({"size": (64,)}, "size")],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        params(**changes)
