import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from inverseform.segmentation_loss import (
    LOSSES,
    SegmentationLoss,
    SegmentationLossParams,
    boundary_weighted,
    cross_entropy,
    enet_weights,
    ohem,
)
from inverseform.settings import InputError
from tests.drawn import CLASSES, scene
from tests.shares import SEGMENTATION as SETTINGS
from tests.shares import WEIGHTS


def params(name, **changes):
    return TypeAdapter(SegmentationLossParams).validate_python({"name": name, **SETTINGS[name], **changes})


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=list(SETTINGS))
def criterion(request):
    return SegmentationLoss(params(request.param), num_classes=CLASSES)


def entropies(logits, labels):
    """The pixels of an image as (row, column, class, cross entropy), written out; ignored ones left out."""
    return [
        (y, x, int(labels[y, x]), float(-logits[:, y, x].double().log_softmax(0)[labels[y, x]]))
        for y in range(labels.shape[0])
        for x in range(labels.shape[1])
        if labels[y, x] != 255
    ]


def mean(weighed):
    """Weighted mean of pairs (weight, value)."""
    return sum(w * v for w, v in weighed) / sum(w for w, _ in weighed)


def test_cross_entropy_is_the_mean_of_the_pixels_weighted_by_class():
    logits, labels = draw(2, CLASSES, 12, 14), scene(12, 14, ignored=0.2)
    pixels = [pixel for image in range(2) for pixel in entropies(logits[image], labels[image])]
    found = cross_entropy(logits, labels, class_weights=torch.tensor(WEIGHTS))
    assert float(found) == pytest.approx(mean([(WEIGHTS[c], e) for _, _, c, e in pixels]), rel=1e-5)
    assert float(cross_entropy(logits, labels)) == pytest.approx(mean([(1, e) for *_, e in pixels]), rel=1e-5)


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.1, 0.05), (0.1, 0.5), (0.9, 0.01), (1.0, 0.2), (0.001, 1.0)])
def test_ohem_keeps_the_pixels_under_the_threshold_and_the_hardest_of_each_image(threshold, min_kept):
    logits, labels = draw(2, CLASSES, 12, 14) * 2, scene(12, 14, ignored=0.2)
    labels[1, :8] = 255  # images with different numbers of known pixels
    kept = []
    for image in range(2):
        ranked = sorted(entropies(logits[image], labels[image]), key=lambda pixel: -pixel[3])
        least = math.ceil(min_kept * len(ranked))
        kept += [p for rank, p in enumerate(ranked) if rank < least or math.exp(-p[3]) <= threshold]
    found = ohem(logits, labels, threshold=threshold, min_kept=min_kept)
    assert float(found) == pytest.approx(mean([(1, e) for *_, e in kept]), rel=1e-5)
    weighted = ohem(logits, labels, threshold=threshold, min_kept=min_kept, class_weights=torch.tensor(WEIGHTS))
    assert float(weighted) == pytest.approx(mean([(WEIGHTS[c], e) for _, _, c, e in kept]), rel=1e-5)


def test_ohem_of_everything_is_cross_entropy_and_leaves_easy_pixels_alone():
    logits, labels = draw(2, CLASSES, 12, 14), scene(12, 14, ignored=0.2)
    everything = ohem(logits, labels, threshold=1.0, min_kept=0.1)
    assert torch.allclose(everything, cross_entropy(logits, labels))
    logits.requires_grad_()
    ohem(logits, labels, threshold=0.1, min_kept=0.1).backward()
    touched = (logits.grad != 0).any(dim=1)
    true = logits.softmax(1).gather(1, labels.where(labels != 255, 0)[:, None])[:, 0]
    assert true[touched].max() < true[~touched & (labels != 255)].min()


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_boundary_weighted_counts_a_pixel_more_if_another_class_is_within_the_radius(radius):
    logits, labels = draw(2, CLASSES, 16, 18), scene(16, 18)
    weighed = []
    for image in range(2):
        for y, x, klass, entropy in entropies(logits[image], labels[image]):
            around = labels[image, max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
            weighed.append((5.0 if (around != klass).any() else 1.0, entropy))
    assert {weight for weight, _ in weighed} == {1.0, 5.0}
    found = boundary_weighted(logits, labels, weight=5.0, radius=radius)
    assert float(found) == pytest.approx(mean(weighed), rel=1e-5)


def test_a_boundary_that_weighs_once_is_cross_entropy():
    logits, labels = draw(2, CLASSES, 16, 18), scene(16, 18, ignored=0.1)
    assert torch.allclose(boundary_weighted(logits, labels, weight=1.0, radius=2), cross_entropy(logits, labels))


def test_gradients_are_those_of_the_functions(criterion):
    logits, labels = draw(1, CLASSES, 10, 11, dtype=torch.float64) * 3, scene(10, 11, batch=1, ignored=0.1)
    # What ohem keeps changes where two pixels change places, which the small steps of the check do not reach.
    assert torch.autograd.gradcheck(lambda x: criterion(x, labels), logits.requires_grad_(), fast_mode=True)


def test_nothing_known_is_a_zero_with_a_gradient(criterion):
    logits = draw(2, CLASSES, 12, 14).requires_grad_()
    loss = criterion(logits, torch.full((2, 12, 14), 255))
    loss.backward()
    assert loss == 0 and logits.grad is not None and (logits.grad == 0).all()


def test_an_ignored_image_beside_a_known_one_leaves_everything_finite(criterion):
    labels, logits = scene(12, 14), draw(2, CLASSES, 12, 14).requires_grad_()
    labels[0] = 255
    loss = criterion(logits, labels)
    loss.backward()
    assert logits.grad is not None and loss > 0 and logits.grad.isfinite().all()
    assert (logits.grad[0] == 0).all() and (logits.grad[1] != 0).any()


def test_what_is_predicted_where_the_class_is_not_known_does_not_matter(criterion):
    labels, logits = scene(24, 26, ignored=0.2), draw(2, CLASSES, 24, 26)
    other = logits.where((labels != 255)[:, None], draw(2, CLASSES, 24, 26, seed=1) * 9)
    assert not torch.equal(logits, other) and torch.equal(criterion(logits, labels), criterion(other, labels))


def test_copies_mirrored_images_and_renamed_classes_cost_the_same(criterion):
    labels, logits = scene(24, 24, ignored=0.1), draw(2, CLASSES, 24, 24)
    loss = criterion(logits, labels)
    assert torch.allclose(criterion(logits.repeat(3, 1, 1, 1), labels.repeat(3, 1, 1)), loss, rtol=1e-5)
    assert torch.allclose(criterion(logits.flip(-1), labels.flip(-1)), loss, rtol=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    if criterion.class_weights is not None:
        criterion.class_weights = criterion.class_weights[order]
    renamed = labels.where(labels == 255, order.argsort()[labels.where(labels != 255, 0)])
    assert torch.allclose(criterion(logits[:, order], renamed), loss, rtol=1e-5)


def test_the_right_classes_cost_less_than_vague_ones_and_those_less_than_wrong_ones(criterion):
    labels = scene(24, 26)
    right = torch.nn.functional.one_hot(labels, CLASSES).movedim(-1, 1).float() * 20 - 10
    losses = [float(criterion(logits, labels)) for logits in (right, right * 0.1, -right)]
    assert losses == sorted(losses) and losses[0] < 0.5 * losses[1] < 0.5 * losses[2]


def test_autocast_and_half_precision_change_nothing_behind_the_logits(criterion):
    labels, logits = scene(24, 26, ignored=0.1), draw(2, CLASSES, 24, 26).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = criterion(logits, labels)
    assert cast.dtype == torch.float32 and torch.equal(cast, criterion(logits.float(), labels))


def test_labels_of_eight_bits_count_as_those_of_64(criterion):
    labels, logits = scene(24, 26, ignored=0.1), draw(2, CLASSES, 24, 26)
    assert torch.equal(criterion(logits, labels.byte()), criterion(logits, labels))
    signed = labels.where(labels != 255, -100)
    options = {**criterion.options, "ignore_index": -100}
    if criterion.class_weights is not None:
        options["class_weights"] = criterion.class_weights
    assert torch.equal(LOSSES[criterion.name](logits, signed, **options), criterion(logits, labels))


def test_class_weights_stay_in_single_precision_follow_a_move_and_are_not_saved():
    criterion = SegmentationLoss(params("cross_entropy"), num_classes=CLASSES)
    model = torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "loss": criterion}).half()
    (weights,) = criterion.buffers()
    assert weights.tolist() == list(WEIGHTS) and weights.dtype == torch.float32
    assert not [key for key in model.state_dict() if "loss" in key] and not list(criterion.parameters())
    assert [buffer.device.type for buffer in criterion.to("meta").buffers()] == ["meta"]


def test_class_weights_of_counts_are_those_of_enet():
    counts = [700, 200, 100, 0]
    criterion = SegmentationLoss(params("ohem", class_weights="enet"), num_classes=CLASSES, counts=counts)
    expected = [1 / math.log(1.02 + count / 1000) for count in counts]
    (weights,) = criterion.buffers()
    assert weights.tolist() == pytest.approx(expected, rel=1e-6)
    assert SegmentationLoss(params("ohem", class_weights="equal"), num_classes=CLASSES).class_weights is None


@pytest.mark.parametrize(
    ("weights", "counts", "words"),
    [
        ("enet", None, "class_weights are 'enet' and the counts of pixels are None"),
        ("enet", [1, 2], r"the counts of pixels are \[1, 2\]: give one for each of the 4 classes"),
        ("enet", [0, 0, 0, 0], "none of the labels is known"),
        ((1.0, 2.0), None, r"class_weights are \[1.0, 2.0\]: one for each of the 4 classes"),
        ((0.0,) * 4, None, "not all of them 0"),
    ],
)
def test_class_weights_that_cannot_be_had_are_refused(weights, counts, words):
    with pytest.raises(InputError, match=words):
        SegmentationLoss(params("cross_entropy", class_weights=weights), num_classes=CLASSES, counts=counts)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cross_entropy", {"class_weights": "median"}),
        ("cross_entropy", {"class_weights": (1.0, -1.0)}),
        ("ohem", {"threshold": 0.0}),
        ("ohem", {"min_kept": 1.5}),
        ("boundary_weighted", {"weight": 0.5}),
        ("boundary_weighted", {"radius": 0}),
        ("rmi", {"class_weights": "equal"}),
    ],
)
def test_settings_out_of_range_are_refused(name, changes):
    with pytest.raises(ValidationError):
        params(name, **changes)


def test_enet_weights_fall_with_the_share_of_a_class():
    weights = enet_weights([0, 1, 10, 100, 1000])
    assert list(weights) == sorted(weights, reverse=True) and 1 < weights[-1] and weights[0] < 51
