import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.sliding import slide, starts

sides = st.integers(1, 24)
shares = st.floats(0, 1, exclude_max=True)
WEIGHTS = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def spread(images):
    """A network that knows its neighbours: a 3 x 3 convolution, padded with 0 at the frame."""
    return F.conv2d(images, WEIGHTS, padding=1)


def pixelwise(images):
    return torch.einsum("kc,bchw->bkhw", WEIGHTS[:, :, 1, 1], images)


def drawn(height, width, batch=1):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height * 100 + width))


@settings(deadline=None, max_examples=100)
@given(window=st.integers(1, 40), more=st.integers(0, 90), overlap=shares)
def test_windows_cover_a_side_exactly_and_overlap_as_asked(window, more, overlap):
    found = starts(window + more, window, overlap=overlap)
    assert found[0] == 0 and found[-1] == more
    steps = [after - before for before, after in itertools.pairwise(found)]
    stride = max(1, window - round(window * overlap))
    assert all(step == stride for step in steps[:-1]) and all(1 <= step <= stride for step in steps)


def test_there_are_as_many_windows_as_mmsegmentation_lays():
    for side, window, stride in itertools.product(range(20, 60), (8, 15, 20), (3, 5, 8)):
        grids = max(side - window + stride - 1, 0) // stride + 1
        theirs = [max(min(i * stride + window, side) - window, 0) for i in range(grids)]
        assert starts(side, window, overlap=1 - stride / window) == theirs


@settings(deadline=None, max_examples=40)
@given(size=st.tuples(sides, sides), window=st.tuples(sides, sides), overlap=shares)
def test_a_network_that_looks_at_one_pixel_says_the_same_through_any_window(size, window, overlap):
    images = drawn(*size, batch=2)
    found = slide(pixelwise, images, window=window, overlap=min(overlap, 0.8))
    assert found.shape == (2, 4, *size)
    assert (found - pixelwise(images)).abs().max() < 1e-5


@settings(deadline=None, max_examples=40)
@given(size=st.tuples(sides, sides), window=st.tuples(sides, sides), overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_beyond_its_reach_of_a_windows_edge_a_network_says_what_it_says_of_the_whole(size, window, overlap):
    images = drawn(*size)
    found, whole = (slide(spread, images, window=window, overlap=overlap), spread(images))
    # What the network pads with 0 at the image's own frame, and what smaller images are padded with, is the same.
    inside = torch.ones(size, dtype=torch.bool)
    for side, span, rows in ((size[0], window[0], inside), (size[1], window[1], inside.T)):
        for begin in starts(max(side, span), span, overlap=overlap):
            if begin > 0:
                rows[begin] = False
            if begin + span < side:
                rows[begin + span - 1] = False
    assert ((found - whole).abs() * inside).max() < 1e-5


def test_at_its_edge_a_window_is_blind_and_overlap_makes_up_for_it():
    images = drawn(24, 24)
    errors = [
        (slide(spread, images, window=(8, 8), overlap=overlap) - spread(images)).square().mean()
        for overlap in (0.0, 0.5, 0.75)
    ]
    assert errors[0] > 1.3 * errors[1] > 1.3 * errors[2] > 0.1


def test_logits_are_averaged_with_the_same_weight_for_every_window():
    # Each window says its number; they begin at 0, 2 and, shifted inwards, 3.
    number = itertools.count()
    found = slide(lambda x: torch.full_like(x[:, :1], next(number)), drawn(4, 7), window=(4, 4), overlap=0.5)
    assert found[0, 0, 0].tolist() == [0, 0, 0.5, 1, 1.5, 1.5, 2]
    assert torch.equal(found[0, 0, 0], found[0, 0, 3])


def test_one_window_of_one_shape_at_a_time_and_small_images_padded_with_nothing():
    shapes, corners = [], []

    def network(tile):
        shapes.append(tile.shape)
        corners.append(tile[0, 0, -1, -1].item())
        return tile

    images = drawn(5, 20).abs() + 1
    found = slide(network, images, window=(8, 6), overlap=0.3)
    assert set(shapes) == {(1, 3, 8, 6)} and len(shapes) == 5 and set(corners) == {0.0}
    assert (found - images).abs().max() < 1e-6


def test_a_single_window_gives_the_networks_own_numbers():
    images = drawn(9, 9)
    assert torch.equal(slide(spread, images, window=(9, 9), overlap=0.5), spread(images))


@pytest.mark.parametrize("window", [(7, 9), (40, 5)])
def test_numpy_and_torch_give_the_same_logits(window):
    images = drawn(23, 31)
    by_numpy = slide(
        lambda x: spread(torch.from_numpy(np.ascontiguousarray(x))).numpy(), images.numpy(), window=window, overlap=0.4
    )
    assert isinstance(by_numpy, np.ndarray) and by_numpy.dtype == np.float32
    assert np.abs(by_numpy - slide(spread, images, window=window, overlap=0.4).numpy()).max() < 1e-5


def test_half_precision_is_summed_in_32_bits():
    found = slide(lambda x: pixelwise(x).half(), drawn(12, 12), window=(5, 5), overlap=0.6)
    assert found.dtype == torch.float32
