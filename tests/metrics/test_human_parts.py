import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from inverseform.metrics.human_parts import PARTS, HumanParts, has_parts
from inverseform.metrics.segmentation import Confusion
from tests.metrics.maps import drawn


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32), st.booleans())
def test_iou_is_that_of_the_images_that_count(seed, skip_empty):
    random = np.random.default_rng(seed)
    parts, table, skipped = HumanParts(4, skip_empty=skip_empty), np.zeros((4, 4)), 0
    for _ in range(4):
        predicted, labels = drawn(random, tuple(random.integers(1, 5, 2).tolist()))
        if random.random() < 0.3:
            labels = labels.where(labels == 255, 0)
        parts.update(predicted, labels)
        known = labels != 255
        if skip_empty and not (set(labels.unique().tolist()) - {0, 255}):
            skipped += 1
        elif known.any():
            table += confusion_matrix(labels[known], predicted[known], labels=range(4))
    assert (parts.images, parts.skipped) == (4 - skipped, skipped)
    union = table.sum(0) + table.sum(1) - table.diagonal()
    wanted = [hit / whole if whole else None for hit, whole in zip(table.diagonal(), union, strict=True)]
    found = parts.scores()
    assert list(found.iou) == wanted
    defined = [value for value in wanted if value is not None]
    assert found.miou == (pytest.approx(np.mean(defined)) if defined else None)


def test_a_part_seen_where_nobody_is_costs_nothing_if_such_images_are_skipped():
    person, empty = torch.tensor([[0, 1]]).byte(), torch.tensor([[0, 255]]).byte()
    skipping, all_images = HumanParts(), HumanParts(skip_empty=False)
    for parts in (skipping, all_images):
        parts.update(person, person)
        parts.update(torch.tensor([[1, 1]]).byte(), empty)
    assert skipping.scores().miou == 1.0
    assert all_images.scores().iou[:2] == (0.5, 0.5)


@pytest.mark.parametrize(("labels", "some"), [([0, 0], False), ([255, 255], False), ([0, 255], False), ([0, 6], True)])
def test_neither_background_nor_the_unknown_is_a_part(labels, some):
    assert bool(has_parts(torch.tensor([labels]).byte())) is some


def test_with_all_images_it_is_any_segmentation():
    random = np.random.default_rng(2)
    parts, confusion = HumanParts(4, skip_empty=False), Confusion(4)
    for _ in range(5):
        image = drawn(random, (6, 7))
        parts.update(*image)
        confusion.update(*image)
    assert parts.scores() == confusion.scores()


def test_a_set_without_parts_has_no_score():
    parts = HumanParts()
    parts.update(torch.zeros(3, 3).byte(), torch.zeros(3, 3).byte())
    assert parts.scores().miou is None
    assert (parts.images, parts.skipped, len(parts.scores().iou)) == (0, 1, len(PARTS))


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(4)
    whole, left, right = (HumanParts(4) for _ in range(3))
    for half in (left, right, right):
        image = drawn(random, (6, 7))
        whole.update(*image)
        half.update(*image)
    left.counts += right.counts
    assert left.scores() == whole.scores() and left.skipped == whole.skipped


def test_an_id_past_the_parts_is_refused():
    with pytest.raises(ValueError, match="labels hold class 7 and the counts are of 7"):
        HumanParts().update(torch.zeros(1, 1).byte(), torch.full((1, 1), 7).byte())
