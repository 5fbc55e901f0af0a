import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score

from inverseform.metrics.segmentation import Confusion, examples, scores, update


def drawn(classes, *, seed=0, shape=(23, 31), ignored=0.2):
    """Random labels, some of them ignored, and predictions that agree with half of them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, shape, generator=generator)
    predicted = torch.where(
        torch.rand(shape, generator=generator) < 0.5, labels, torch.randint(0, classes, shape, generator=generator)
    )
    labels[torch.rand(shape, generator=generator) < ignored] = 255
    return predicted.byte(), labels.byte()


def empty(classes):
    return torch.zeros(classes, classes, dtype=torch.int64)


# 15 and 16, 128 and 129 are the last and first sizes at which an index of the next wider type is needed.
@pytest.mark.parametrize("classes", [2, 15, 16, 19, 128, 129, 255])
def test_counts_are_those_of_sklearn(classes):
    predicted, labels = drawn(classes)
    known = labels != 255
    wanted = confusion_matrix(labels[known].numpy(), predicted[known].numpy(), labels=range(classes))
    np.testing.assert_array_equal(update(empty(classes), predicted, labels).numpy(), wanted)


@pytest.mark.parametrize("classes", [2, 5, 19])
def test_iou_is_that_of_sklearn(classes):
    predicted, labels = drawn(classes, seed=classes)
    known = labels != 255
    wanted = jaccard_score(labels[known].numpy(), predicted[known].numpy(), average=None, labels=range(classes))
    found = scores(update(empty(classes), predicted, labels))
    assert found.iou == pytest.approx(wanted)
    assert found.miou == pytest.approx(wanted.mean())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, 255])), max_size=20))
def test_scores_are_set_arithmetic(pixels):
    predicted = torch.tensor([pixel[0] for pixel in pixels], dtype=torch.uint8)
    labels = torch.tensor([pixel[1] for pixel in pixels], dtype=torch.uint8)
    found = scores(update(empty(4), predicted, labels))
    known = [(number, *pixel) for number, pixel in enumerate(pixels) if pixel[1] != 255]
    wanted = []
    for name in range(4):
        actual = {number for number, _, label in known if label == name}
        guessed = {number for number, guess, _ in known if guess == name}
        wanted.append(len(actual & guessed) / len(actual | guessed) if actual | guessed else None)
    defined = [value for value in wanted if value is not None]
    assert found.iou == tuple(wanted)
    assert found.miou == (pytest.approx(sum(defined) / len(defined)) if defined else None)
    right = sum(guess == label for _, guess, label in known)
    assert found.pixel_accuracy == (right / len(known) if known else None)


def test_a_class_nobody_saw_is_left_out_of_the_mean():
    labels = torch.tensor([[0, 0, 1, 1]], dtype=torch.uint8)
    found = scores(update(empty(3), labels, labels))
    assert found.iou == (1.0, 1.0, None)
    assert found.miou == 1.0


def test_an_empty_set_has_no_scores():
    assert scores(empty(3)) == (None, None, (None, None, None))


@pytest.mark.parametrize("classes", [5, 19])
def test_ignored_pixels_count_for_nothing_whatever_is_predicted_there(classes):
    labels = torch.full((classes,), 255, dtype=torch.uint8)
    assert update(empty(classes), torch.arange(classes).byte(), labels).sum() == 0


def test_halves_add_up_to_the_whole():
    predicted, labels = drawn(7)
    whole, left, right = Confusion(7), Confusion(7), Confusion(7)
    whole.update(predicted, labels)
    left.update(predicted[:10], labels[:10])
    right.update(predicted[10:], labels[10:])
    assert scores(left.counts + right.counts) == whole.scores()


def test_images_of_a_set_are_pooled_and_not_averaged():
    confusion = Confusion(2)
    confusion.update(torch.zeros(1, 90, dtype=torch.uint8), torch.zeros(1, 90, dtype=torch.uint8))
    confusion.update(torch.zeros(1, 10, dtype=torch.uint8), torch.ones(1, 10, dtype=torch.uint8))
    assert confusion.scores().iou == (0.9, 0.0)


def test_counting_changes_neither_counts_nor_images():
    predicted, labels = drawn(4)
    before = [empty(4), predicted.clone(), labels.clone()]
    counts = empty(4)
    update(counts, predicted, labels)
    for tensor, was in zip([counts, predicted, labels], before, strict=True):
        assert torch.equal(tensor, was)


@pytest.mark.parametrize(("predicted", "label", "name"), [(3, 0, "predicted"), (0, 3, "labels"), (0, 254, "labels")])
def test_an_id_past_the_classes_is_refused_by_value(predicted, label, name):
    with pytest.raises(ValueError, match=f"{name} hold class {max(predicted, label)} and the counts are of 3"):
        update(empty(3), torch.tensor([predicted]).byte(), torch.tensor([label]).byte())


def test_no_pixels_change_nothing():
    nothing = torch.zeros(0, dtype=torch.uint8)
    assert update(empty(3), nothing, nothing).sum() == 0


def test_few_counts_are_all_given_as_examples():
    assert examples(torch.tensor([[2, 0], [1, 1]]), most=10) == [(0, 0), (0, 0), (1, 0), (1, 1)]


def test_many_counts_are_given_in_proportion():
    pairs = examples(torch.tensor([[500_000, 0], [250_000, 250_000]]), most=100)
    assert [pairs.count(pair) for pair in [(0, 0), (0, 1), (1, 0), (1, 1)]] == [50, 0, 25, 25]


def test_no_counts_give_no_examples():
    assert examples(empty(3), most=100) == []
