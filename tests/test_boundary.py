import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.boundary import boundaries, probability_boundaries
from inverseform.settings import InputError

IGNORE = 255


def label_maps(classes=4, ignored=False):
    values = [*range(classes), IGNORE] if ignored else list(range(classes))
    sides = st.tuples(st.integers(1, 9), st.integers(1, 9))
    return sides.flatmap(
        lambda side: st.lists(st.sampled_from(values), min_size=side[0] * side[1], max_size=side[0] * side[1]).map(
            lambda flat: torch.tensor(flat).reshape(1, *side)
        )
    )


def sobel_by_class(labels, classes):
    """The slow twin: one indicator map a class, each under both Sobel kernels."""
    maps = F.pad(F.one_hot(labels, classes).movedim(-1, 1).double(), (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=torch.float64)
    both = torch.stack([kernel, kernel.T])[:, None].repeat(classes, 1, 1, 1)
    return (F.conv2d(maps, both, groups=classes) != 0).any(dim=1, keepdim=True).float()


@settings(deadline=None, max_examples=200)
@given(label_maps())
def test_sobel_by_comparing_ids_is_sobel_by_class(labels):
    boundary, valid = boundaries(labels, num_classes=4)
    assert torch.equal(boundary, sobel_by_class(labels, 4))
    assert valid.all()


@settings(deadline=None, max_examples=100)
@given(label_maps(classes=2))
def test_sobel_by_comparing_ids_is_sobel_by_class_where_ids_cancel_most(labels):
    assert torch.equal(boundaries(labels, num_classes=2)[0], sobel_by_class(labels, 2))


def test_every_three_by_three_patch_of_three_classes_agrees_with_sobel_by_class():
    digits = torch.cartesian_prod(*[torch.arange(3)] * 9).reshape(-1, 3, 3)
    boundary, _ = boundaries(digits, num_classes=3)
    assert torch.equal(boundary, sobel_by_class(digits, 3))


@settings(deadline=None, max_examples=100)
@given(label_maps(), st.permutations(range(4)))
def test_renaming_classes_moves_no_boundary(labels, names):
    renamed = torch.tensor(names)[labels]
    assert torch.equal(boundaries(labels, num_classes=4)[0], boundaries(renamed, num_classes=4)[0])


@settings(deadline=None, max_examples=100)
@given(label_maps(ignored=True), st.sampled_from(["sobel", "inequality"]), st.integers(1, 3))
def test_ignored_pixels_make_no_boundary_and_are_not_valid(labels, operator, radius):
    boundary, valid = boundaries(labels, num_classes=4, operator=operator, radius=radius)
    ignored = (labels == IGNORE)[:, None]
    assert not boundary[ignored].any() and not valid[ignored].any()
    assert valid[boundary.bool()].all()
    if len(labels[labels != IGNORE].unique()) < 2:
        assert not boundary.any()
    near = F.max_pool2d(ignored.float(), 2 * radius + 1, stride=1, padding=radius).bool()
    assert torch.equal(valid.bool(), ~ignored & (boundary.bool() | ~near))


@pytest.mark.parametrize("operator", ["sobel", "inequality"])
@pytest.mark.parametrize("classes", [(0, 1), (1, 0), (7, 3)])
def test_a_straight_border_is_two_pixels_wide_a_radius(operator, classes):
    labels = torch.full((1, 12, 20), classes[0])
    labels[:, :, 10:] = classes[1]
    for radius in (1, 2, 3):
        boundary, _ = boundaries(labels, num_classes=8, operator=operator, radius=radius)
        expected = torch.zeros(20)
        expected[10 - radius : 10 + radius] = 1
        assert torch.equal(boundary[0, 0], expected.expand(12, 20))


def test_the_frame_is_no_boundary():
    boundary, valid = boundaries(torch.full((1, 5, 7), 3), num_classes=4)
    assert not boundary.any() and valid.all()


def test_any_integer_type_gives_the_same():
    labels = torch.randint(0, 4, (2, 9, 9), generator=torch.Generator().manual_seed(0))
    for dtype in (torch.uint8, torch.int16, torch.int32):
        assert torch.equal(boundaries(labels.to(dtype), num_classes=4)[0], boundaries(labels, num_classes=4)[0])


@pytest.mark.parametrize("wrong", [4, -1, 254])
def test_a_label_outside_the_classes_is_named(wrong):
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    labels[0, 2, 3] = wrong
    with pytest.raises(InputError, match=rf"hold {wrong} \(sample 0, row 2, column 3\).*num_classes"):
        boundaries(labels, num_classes=4)


@settings(deadline=None, max_examples=100)
@given(label_maps())
def test_boundaries_of_certain_probabilities_are_those_of_their_labels(labels):
    certain = F.one_hot(labels, 4).movedim(-1, 1).float()
    hard, _ = boundaries(labels, num_classes=4, operator="inequality")
    assert torch.equal(probability_boundaries(certain), hard)


def test_probability_boundaries_differ_smoothly_and_stay_in_range():
    logits = torch.randn(
        1, 3, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True
    )
    values = probability_boundaries(logits.softmax(dim=1))
    assert 0 <= values.min() and values.max() <= 1
    assert torch.autograd.gradcheck(lambda x: probability_boundaries(x.softmax(dim=1)), logits)


def test_probabilities_that_are_alike_everywhere_have_no_boundary_and_a_finite_gradient():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    values = probability_boundaries(logits.softmax(dim=1))
    values.sum().backward()
    assert not values.any() and logits.grad.isfinite().all()


def test_labels_of_eight_bits_meet_numbers_that_these_cannot_hold():
    labels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    for number in (256, 300):
        wide = boundaries(labels.long(), num_classes=number, ignore_index=-1)
        assert all(map(torch.equal, boundaries(labels, num_classes=number, ignore_index=-1), wide))
