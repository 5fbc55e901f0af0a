import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inverseform.networks.heads import BoundaryHeadParams, HrnetV2Head, join, mixing, resize


def enlarged(values, length):
    """One line at another length, linearly between the centres of its cells."""
    result = []
    for index in range(length):
        place = (index + 0.5) * len(values) / length - 0.5
        place = min(max(place, 0.0), len(values) - 1.0)
        low = int(place)
        high = min(low + 1, len(values) - 1)
        result.append(values[low] + (place - low) * (values[high] - values[low]))
    return result


def bilinear(feature, rows, columns):
    """Each line, then each column."""
    wide = [enlarged(line, columns) for line in feature.tolist()]
    return torch.tensor([enlarged([line[c] for line in wide], rows) for c in range(columns)]).T


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 3), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_join_is_bilinear_to_the_finest(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    fine = torch.rand(2, 2, 4 * rows, 4 * columns, generator=generator)
    coarse = [torch.rand(2, count, f * rows, f * columns, generator=generator) for count, f in ((3, 2), (1, 1))]
    joined = join([fine, *coarse])
    assert joined.shape == (2, 6, 4 * rows, 4 * columns)
    assert torch.equal(joined[:, :2], fine)
    slow = [bilinear(plane, 4 * rows, 4 * columns) for f in coarse for plane in f.flatten(0, 1)]
    fast = [plane for part in (joined[:, 2:5], joined[:, 5:]) for plane in part.flatten(0, 1)]
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(slow, fast, strict=True))


def test_a_head_is_one_mixing_and_one_linear_layer_at_each_place_alone():
    torch.manual_seed(0)
    head = HrnetV2Head((3, 5), outputs=4).eval()
    features = torch.randn(2, 8, 3, 2)
    logits = head(features)
    convolution, norm, _ = head.mix
    for row in range(3):
        for column in range(2):
            mixed = features[..., row, column] @ convolution.weight[..., 0, 0].T + convolution.bias
            mixed = (mixed - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
            slow = mixed.relu() @ head.classify.weight[..., 0, 0].T + head.classify.bias
            assert torch.allclose(logits[..., row, column], slow, atol=1e-5)


def test_the_mixing_layer_is_as_wide_as_what_was_joined_unless_it_is_said():
    assert HrnetV2Head((18, 36, 72, 144), outputs=19).mix[0].out_channels == 270
    assert HrnetV2Head((18, 36), outputs=19, hidden=7).classify.in_channels == 7


def test_feedback_needs_a_boundary_head():
    for head, feedback in ((False, False), (True, False), (True, True)):
        assert BoundaryHeadParams(boundary_head=head, boundary_feedback=feedback).boundary_feedback == feedback
    with pytest.raises(ValidationError, match="set boundary_head to true, or both to false"):
        BoundaryHeadParams(boundary_head=False, boundary_feedback=True)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_mixing_layer_keeps_the_size_and_has_no_bias_that_its_norm_takes_off(kernel):
    layer = mixing(3, 5, kernel=kernel)
    assert layer(torch.randn(2, 3, 4, 7)).shape == (2, 5, 4, 7)
    assert sorted(tuple(p.shape) for p in layer.parameters()) == [(5,), (5,), (5, 3, kernel, kernel)]


def test_resize_goes_up_and_down_between_the_centres_of_the_cells():
    line = torch.arange(4.0)[None, None, None]
    assert torch.allclose(resize(line, torch.zeros(1, 1, 1, 8))[0, 0, 0], torch.tensor(enlarged([0.0, 1, 2, 3], 8)))
    assert resize(line, torch.zeros(1, 1, 1, 2)).flatten().tolist() == [0.5, 2.5]
