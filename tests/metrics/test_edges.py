import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage import morphology

from inverseform.metrics.edges import (
    THRESHOLDS,
    EdgeScores,
    average_precision,
    count,
    f_measure,
    rates,
)
from inverseform.settings import InputError

FEW = (0.2, 0.4, 0.6, 0.8)


def scene(seed, *, size=(14, 17), annotators=3, edges=0.15):
    """Probabilities in steps of a tenth, and what a few people drew."""
    random = np.random.default_rng(seed)
    probability = random.integers(0, 11, size) / 10
    return torch.from_numpy(probability), torch.from_numpy(random.random((annotators, *size)) < edges)


def slow_counts(probability, annotators, *, thresholds, tolerance):
    """Annotated pixels matched, annotated, and predicted: the numbers that any largest matching gives."""
    radius = tolerance * math.hypot(*probability.shape)
    rows = []
    for threshold in thresholds:
        lines = morphology.thin(probability.numpy() >= threshold)
        ours, hits = np.argwhere(lines), 0
        for annotated in annotators.numpy():
            near = np.hypot(*np.moveaxis(ours[:, None] - np.argwhere(annotated), -1, 0)) <= radius
            if near.size:
                hits += int((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum())
        rows.append([hits, int(annotators.sum()), int(lines.sum())])
    return rows


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 14), st.integers(1, 14)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.sampled_from([0.0, 0.05, 0.1, 0.2]),
)
def test_counts_are_those_of_the_definition(seed, size, annotators, edges, tolerance):
    probability, drawn = scene(seed, size=size, annotators=annotators, edges=edges)
    counts = count(probability, drawn, thresholds=FEW, tolerance=tolerance)
    expected = slow_counts(probability, drawn, thresholds=FEW, tolerance=tolerance)
    assert counts[:, [0, 1, 3]].tolist() == expected
    # Everybody's largest matching is in the union, and no more than all of them together.
    assert (counts[:, 2] <= counts[:, 3]).all() and (counts[:, 2] <= counts[:, 0]).all()
    if annotators == 1:
        assert torch.equal(counts[:, 2], counts[:, 0])
    else:
        alone = torch.stack([count(probability, each[None], thresholds=FEW, tolerance=tolerance) for each in drawn])
        assert (counts[:, 2] >= alone[:, :, 0].amax(0)).all()
        assert torch.equal(counts[:, 0], alone[:, :, 0].sum(0))


def test_without_tolerance_the_union_is_what_anybody_drew():
    probability, drawn = scene(3)
    lines = torch.from_numpy(morphology.thin((probability >= 0.5).numpy()))
    [found] = count(probability, drawn, thresholds=[0.5], tolerance=0.0).tolist()
    assert found == [int((lines & drawn).sum()), int(drawn.sum()), int((lines & drawn.any(0)).sum()), int(lines.sum())]


def test_a_predicted_pixel_of_several_annotators_counts_once():
    line = torch.zeros(9, 9, dtype=torch.bool)
    line[4] = True
    [found] = count(line.double(), torch.stack([line, line, line]), thresholds=[0.5]).tolist()
    assert found == [27, 27, 9, 9]


def test_a_probability_at_the_threshold_is_above_it_in_either_precision():
    probability, drawn = torch.full((1, 5), 51 / 255), torch.ones(1, 1, 5, dtype=torch.bool)
    for dtype in (torch.float32, torch.float64):
        counts = count(probability.to(dtype), drawn)
        assert counts[:, 3].tolist() == [5 if threshold <= 0.2 else 0 for threshold in THRESHOLDS]


def test_pixels_that_are_not_valid_count_on_neither_side():
    line = torch.zeros(9, 20, dtype=torch.bool)
    line[4] = True
    valid = torch.ones(9, 20, dtype=torch.bool)
    valid[:, 15:] = False
    [found] = count(line.double(), line[None], thresholds=[0.5], valid=valid).tolist()
    assert found == [15, 15, 15, 15]


def test_a_line_is_thinned_before_what_is_not_valid_is_taken_out():
    band = torch.zeros(9, 20)
    band[2:7] = 1.0
    valid = torch.ones(9, 20, dtype=torch.bool)
    # The line would move to the middle of the rows that are left.
    valid[:4] = False
    drawn = torch.zeros(1, 9, 20, dtype=torch.bool)
    drawn[0, 4] = True
    [found] = count(band, drawn, thresholds=[0.5], tolerance=0.0, valid=valid).tolist()
    whole = count(band, drawn, thresholds=[0.5], tolerance=0.0)[0].tolist()
    assert found == whole


def perfect():
    line = torch.zeros(30, 40, dtype=torch.bool)
    line[7] = line[:, 20] = True
    return torch.from_numpy(morphology.thin(line.numpy()))


def test_a_perfect_map_scores_one():
    scores = EdgeScores()
    assert scores.update(perfect().float(), perfect()[None]) == 1.0
    found = scores.scores()
    assert (found.ods, found.ois, found.images, found.empty) == (1.0, 1.0, 1, 0)
    # Its recall is the same at all thresholds.
    assert found.ap is None and "same recall" in found.undefined


def test_a_line_farther_off_than_the_tolerance_scores_nothing():
    scores = EdgeScores(tolerance=0.05)
    line, far = torch.zeros(30, 40, dtype=torch.bool), torch.zeros(30, 40)
    line[5], far[8] = True, 1.0
    assert scores.update(far, line[None]) == 0.0
    scores = EdgeScores(tolerance=0.06)
    assert scores.update(far, line[None]) == 1.0


def test_each_image_has_its_own_best_threshold_in_ois_and_not_in_ods():
    scores = EdgeScores(thresholds=FEW)
    for on, off in ((0.9, 0.5), (0.5, 0.3)):
        probability = torch.where(perfect(), on, 0.0)
        probability[25:28:2, :15] = off
        assert scores.update(probability, perfect()[None]) == 1.0
    found = scores.scores()
    assert found.ois == 1.0
    assert found.ods < 0.95


def test_images_without_edges_make_false_pixels_alone():
    scores = EdgeScores(thresholds=FEW)
    scores.update(perfect().float() * 0.9, perfect()[None])
    before = scores.scores()
    nothing = torch.zeros(1, 30, 40, dtype=torch.bool)
    assert scores.update(perfect().float() * 0.5, nothing) is None
    after = scores.scores()
    # At .6 the second image is rightly empty: for the set as for itself.
    assert (after.ods, after.ois) == (before.ods, before.ois) == (1.0, 1.0)
    assert scores.counts[0].tolist() == [perfect().sum(), perfect().sum(), perfect().sum(), 2 * perfect().sum()]
    assert (after.images, after.empty) == (1, 1)


def test_a_set_without_edges_has_no_score():
    scores = EdgeScores()
    assert scores.scores()[:6] == (None, None, None, None, 0, 0)
    scores.update(torch.rand(8, 9), torch.zeros(2, 8, 9, dtype=torch.bool))
    found = scores.scores()
    assert found[:6] == (None, None, None, None, 0, 1)
    assert "no edge is annotated in 1 images" in found.undefined


def test_a_map_that_finds_nothing_scores_zero():
    scores = EdgeScores()
    assert scores.update(torch.zeros(30, 40), perfect()[None]) == 0.0
    assert (scores.scores().ods, scores.scores().ois) == (0.0, 0.0)


def test_halves_add_up_to_the_whole():
    whole, left, right = EdgeScores(thresholds=FEW), EdgeScores(thresholds=FEW), EdgeScores(thresholds=FEW)
    for seed, half in enumerate([left, right, right]):
        for scores in (whole, half):
            scores.update(*scene(seed))
    left.counts += right.counts
    left.best += right.best
    left.images += right.images
    assert left.scores() == whole.scores()


def slow_ods(thresholds, recall, precision):
    """The benchmark's loop over points between neighbours."""
    best = (f_measure(recall[:1], precision[:1]).item(), thresholds[0])
    for i in range(1, len(thresholds)):
        for share in np.linspace(0, 1, 100):
            r, p = (float(each[i] * share + each[i - 1] * (1 - share)) for each in (recall, precision))
            f = 2 * p * r / (p + r) if p + r else 0.0
            best = max(best, (f, thresholds[i] * share + thresholds[i - 1] * (1 - share)), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize("seed", range(5))
def test_ods_is_the_best_also_between_thresholds(seed):
    scores = EdgeScores(thresholds=FEW, tolerance=0.1)
    scores.update(*scene(seed))
    found = scores.scores()
    ods, threshold = slow_ods(FEW, *rates(scores.counts))
    assert found.ods == pytest.approx(ods, abs=1e-12)
    assert found.threshold == pytest.approx(threshold, abs=1e-12)
    assert found.ods >= f_measure(*rates(scores.counts)).max()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=12))
def test_average_precision_is_the_sum_that_numpy_makes(points):
    recall, precision = torch.tensor(points, dtype=torch.float64).T / 20
    at, first = np.unique(recall.numpy(), return_index=True)
    if len(at) < 2:
        assert average_precision(recall, precision) is None
        return
    between = np.interp(np.arange(101) / 100, at, precision.numpy()[first], left=0, right=0)
    assert average_precision(recall, precision) == pytest.approx(between.sum() / 100, abs=1e-12)


@pytest.mark.parametrize("thresholds", [[], [0.0, 0.5], [0.5, 0.4], [0.5, 0.5]])
def test_thresholds_rise_from_above_zero(thresholds):
    with pytest.raises(InputError, match="they rise, and are above 0"):
        EdgeScores(thresholds=thresholds)


@pytest.mark.parametrize("value", [-0.5, 1.5, math.nan])
def test_logits_are_no_probabilities(value):
    probability = torch.full((4, 5), 0.5)
    probability[1, 2] = value
    with pytest.raises(InputError, match=r"a probability is 0 to 1: pass torch\.sigmoid"):
        count(probability, torch.ones(1, 4, 5, dtype=torch.bool))


def test_somebody_must_have_annotated():
    with pytest.raises(InputError, match="there are none"):
        count(torch.rand(4, 5), torch.zeros(0, 4, 5, dtype=torch.bool))
    with pytest.raises(InputError, match=r"probability: its shape is \(0, 5\); an image has pixels"):
        count(torch.rand(0, 5), torch.zeros(1, 0, 5, dtype=torch.bool))
