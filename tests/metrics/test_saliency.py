import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import fbeta_score, jaccard_score

from inverseform.metrics.saliency import THRESHOLDS, Saliency
from inverseform.settings import InputError


def drawn(random):
    """Probabilities, some equal to a threshold, and labels: some are not known, some maps have nothing salient."""
    shape = tuple(random.integers(1, 7, 2).tolist())
    labels = (random.random(shape) < random.choice([0.0, 0.5, 0.5])).astype(np.uint8)
    predicted = random.choice([0.0, *THRESHOLDS, 1.0], shape)
    predicted[labels == 1] = np.sqrt(predicted[labels == 1])
    labels[random.random(shape) < random.choice([0.0, 0.2, 1.0], p=[0.5, 0.4, 0.1])] = 255
    return predicted, labels


def of_mask(salient, predicted):
    """Jaccard index, precision and recall of one mask, as sets; precision is 0 where nothing is predicted."""
    both = (salient & predicted).sum()
    return both / (salient | predicted).sum(), both / max(1, predicted.sum()), both / salient.sum()


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from([0.3, 1.0]))
def test_scores_are_the_best_over_the_thresholds_of_means_over_the_images(seed, beta_squared):
    random = np.random.default_rng(seed)
    scores, images, skipped = Saliency(beta_squared=beta_squared), [], 0
    for _ in range(3):
        predicted, labels = drawn(random)
        scores.update(torch.from_numpy(predicted), torch.from_numpy(labels))
        known = labels != 255
        p, t = predicted[known], labels[known]
        if not t.any():
            skipped += 1
            continue
        images.append(np.transpose([of_mask(t == 1, p > each) for each in THRESHOLDS]))
    found = scores.scores()
    assert (found.images, found.skipped) == (len(images), skipped)
    if not images:
        assert found.miou == found.max_f == (None, "none of 3 images has a salient pixel")
        return
    jaccard, precision, recall = np.mean(images, axis=0)
    weighted = beta_squared * precision + recall
    f = (1 + beta_squared) * precision * recall / np.where(weighted > 0, weighted, 1)
    assert found.miou.value == pytest.approx(jaccard.max())
    assert found.max_f.value == pytest.approx(f.max())


def test_of_one_image_and_threshold_it_is_that_of_sklearn():
    predicted, labels = np.random.default_rng(0).random((2, 30, 40)).round(2)
    salient, found = labels > 0.6, predicted > 0.5
    scores = Saliency(thresholds=[0.5])
    scores.update(torch.from_numpy(predicted), torch.from_numpy(salient.astype(np.uint8)))
    flat = salient.ravel(), found.ravel()
    assert scores.scores().miou.value == pytest.approx(jaccard_score(*flat))
    assert scores.scores().max_f.value == pytest.approx(fbeta_score(*flat, beta=0.3**0.5))


def test_thresholds_are_those_of_astmt():
    assert THRESHOLDS == pytest.approx(np.linspace(0.2, 0.9, 15))


def test_a_probability_has_to_be_above_the_threshold():
    scores = Saliency(thresholds=[0.5])
    scores.update(torch.tensor([[0.5, 0.75]]), torch.tensor([[1, 1]]).byte())
    assert scores.scores().miou.value == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_probability_at_the_threshold_is_not_above_it_in_any_precision(dtype):
    # .3 of these digits is more than .3 of 64 bits, and .9 of half of them less.
    for threshold in (0.3, 0.9):
        scores = Saliency(thresholds=[threshold])
        scores.update(torch.tensor([[threshold, 1.0]], dtype=dtype), torch.tensor([[1, 1]]).byte())
        assert scores.scores().miou.value == 0.5


def test_f_leans_to_precision():
    wide, narrow = Saliency(thresholds=[0.5]), Saliency(thresholds=[0.5])
    labels = torch.tensor([[1, 1, 0, 0]]).byte()
    wide.update(torch.tensor([[0.9, 0.9, 0.9, 0.9]]), labels)
    narrow.update(torch.tensor([[0.9, 0.1, 0.1, 0.1]]), labels)
    assert wide.scores().max_f.value == pytest.approx(1.3 * 0.5 / (0.15 + 1))
    assert narrow.scores().max_f.value == pytest.approx(1.3 * 0.5 / (0.3 + 0.5))


def test_each_image_counts_the_same_and_the_threshold_is_that_of_the_set():
    scores = Saliency(thresholds=[0.3, 0.6])
    scores.update(torch.full((1, 1), 0.5), torch.ones(1, 1).byte())
    scores.update(torch.tensor([[0.9] * 5 + [0.5] * 5]), torch.tensor([[1] * 5 + [0] * 5]).byte())
    assert scores.scores().miou.value == (1 + 0.5) / 2


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(InputError, match=f"predicted holds {wrong}.*put logits through a sigmoid"):
        Saliency().update(torch.tensor([[0.5, wrong]], dtype=torch.float64), torch.zeros(1, 2).byte())


def test_what_is_no_mask_is_refused():
    with pytest.raises(InputError, match="labels hold 7: 1 is salient"):
        Saliency().update(torch.zeros(1, 2), torch.tensor([[1, 7]]).byte())


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(5)
    whole, left, right = (Saliency() for _ in range(3))
    for half in (left, right, right, left):
        predicted, labels = map(torch.from_numpy, drawn(random))
        whole.update(predicted, labels)
        half.update(predicted, labels)
    left.counts += right.counts
    assert torch.allclose(left.counts, whole.counts)
    assert left.scores().images == whole.scores().images > 0
