import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.networks.heads import HrnetV2Head, join


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
