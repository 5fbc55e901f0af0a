import numpy as np
import pytest
import torch

from inverseform.data.dataset import Reading, encode_png
from inverseform.data.packed_map import unpack
from inverseform.data.stored_sample import SCHEMA, StoredSample, decoded, decoded_maps, stored
from inverseform.data.tasks import TASKS
from inverseform.settings import InputError

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (13, 17, 3), dtype=np.uint8)
LABELS = RANDOM.choice([0, 1, 7, 255], (13, 17)).astype(np.uint8)
GUESS = RANDOM.integers(0, 256, (13, 17), dtype=np.uint8)
# All four of boundary and valid that there are.
BOUNDARY, VALID = torch.from_numpy(RANDOM.integers(0, 2, (2, 1, 13, 17))).float()


def row(prediction=GUESS):
    return stored("a", Reading(encode_png(IMAGE), IMAGE, LABELS, prediction), BOUNDARY, VALID)


@pytest.mark.parametrize("prediction", [GUESS, None], ids=["predicted", "not predicted"])
def test_a_sample_comes_back_as_it_was_stored(prediction):
    sample = decoded(row(prediction), source="x")
    assert sample.name == "a"
    assert np.array_equal(sample.image.numpy(), IMAGE.transpose(2, 0, 1)) and sample.image.is_contiguous()
    assert np.array_equal(sample.labels.numpy(), LABELS)
    assert torch.equal(sample.boundary, BOUNDARY) and torch.equal(sample.valid, VALID)
    if prediction is None:
        assert sample.prediction is None
    else:
        assert np.array_equal((sample.prediction[0] * 255).round().byte().numpy(), GUESS)
        assert sample.prediction.min() >= 0 and sample.prediction.max() <= 1


def test_the_image_is_kept_byte_for_byte_and_the_size_is_that_of_the_labels():
    kept = row()
    assert kept.image == encode_png(IMAGE) and (kept.height, kept.width) == LABELS.shape


def test_boundary_and_valid_share_one_map():
    bits = unpack(row().boundary, source="x")
    assert np.array_equal(bits, (BOUNDARY + 2 * VALID)[0].numpy())


@pytest.mark.parametrize("prediction", [GUESS, None], ids=["predicted", "not predicted"])
def test_the_maps_alone_are_those_of_the_whole(prediction):
    kept = row(prediction)
    whole, maps = decoded(kept, source="x"), decoded_maps("a", kept.boundary, kept.prediction, source="x")
    assert maps.name == whole.name and torch.equal(maps.boundary, whole.boundary)
    assert maps.prediction is None if prediction is None else torch.equal(maps.prediction, whole.prediction)


@pytest.mark.parametrize("part", ["image", "labels", "boundary", "prediction"])
def test_a_damaged_picture_is_told_with_where_its_row_is(part):
    kept = row()
    broken = kept._replace(**{part: getattr(kept, part)[: len(getattr(kept, part)) // 2]})
    with pytest.raises(InputError, match=r"shard 3, row 5: (its map )?cannot be decoded"):
        decoded(broken, source="shard 3, row 5")
    if part in ("boundary", "prediction"):
        with pytest.raises(InputError, match=r"shard 3, row 5: (its map )?cannot be decoded"):
            decoded_maps("a", broken.boundary, broken.prediction, source="shard 3, row 5")


def test_the_columns_are_the_fields_and_the_size_is_that_of_all_pictures():
    assert tuple(SCHEMA.names) == StoredSample._fields
    assert [field.name for field in SCHEMA if field.nullable] == ["prediction", *TASKS]
    kept, without = row(), row(None)
    assert kept.size == sum(map(len, (kept.image, kept.labels, kept.boundary, kept.prediction)))
    assert without.size == kept.size - len(kept.prediction)


def test_targets_of_other_tasks_come_back_when_they_are_wanted():
    depth = RANDOM.random((1, 13, 17), dtype=np.float32)
    kept = stored("a", Reading(encode_png(IMAGE), IMAGE, LABELS, targets={"depth": depth}), BOUNDARY, VALID)
    assert kept.normals is None and kept.size == sum(map(len, (kept.image, kept.labels, kept.boundary, kept.depth)))
    assert not decoded(kept, source="x").targets
    found = decoded(kept, source="x", wanted=["depth", "normals"]).targets
    assert list(found) == ["depth"] and np.array_equal(found["depth"].values.numpy(), depth)


def test_the_pixels_of_each_class_are_counted_and_ignored_ones_are_not():
    counts = row().class_pixels
    assert counts == [int((LABELS == klass).sum()) for klass in range(8)]
    blank = np.full_like(LABELS, 255)
    assert stored("a", Reading(encode_png(IMAGE), IMAGE, blank), BOUNDARY, VALID).class_pixels == []
