import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from inverseform.arrays import array_functions, bilinear, mirrored, softmax

sides = st.integers(1, 70)
either = pytest.mark.parametrize("of", [np.asarray, torch.asarray], ids=["numpy", "torch"])


def maps(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@either
@settings(deadline=None, max_examples=60)
@given(old=st.tuples(sides, sides), new=st.tuples(sides, sides))
def test_resized_as_torch_resizes(of, old, new):
    given_ = maps(2, 3, *old)
    expected = F.interpolate(torch.from_numpy(given_), size=new, mode="bilinear", align_corners=False)
    found = bilinear(of(given_), new)
    assert array_functions(found) is array_functions(of(given_)) and found.dtype == of(given_).dtype
    assert np.abs(np.asarray(found) - expected.numpy()).max() < 2e-6


@either
@pytest.mark.parametrize("new", [(1333, 3), (3001, 2), (2250, 3)])
def test_places_are_as_exact_as_torchs_in_a_large_image(of, new):
    given_ = maps(1, 1, 2001, 3)
    expected = F.interpolate(torch.from_numpy(given_), size=new, mode="bilinear", align_corners=False)
    assert np.abs(np.asarray(bilinear(of(given_), new)) - expected.numpy()).max() < 1e-5


@either
def test_resizing_leaves_its_input_as_it_is_and_its_own_size_alone(of):
    given_ = of(maps(1, 2, 5, 7))
    bilinear(given_, (9, 4))
    assert np.array_equal(np.asarray(given_), maps(1, 2, 5, 7))
    assert bilinear(given_, (5, 7)) is given_


@either
def test_an_image_in_channels_last_and_a_mirrored_one_are_resized_too(of):
    lying = maps(2, 9, 11, 4)
    seen = np.moveaxis(lying, 3, 1)
    view = np.moveaxis(lying, 3, 1) if of is np.asarray else torch.from_numpy(lying).permute(0, 3, 1, 2)
    expected = F.interpolate(torch.from_numpy(seen[..., ::-1].copy()), size=(5, 20), mode="bilinear")
    assert np.abs(np.asarray(bilinear(mirrored(view), (5, 20))) - expected.numpy()).max() < 2e-6


@either
def test_probabilities_are_torchs_and_finite_for_large_logits(of):
    logits = maps(2, 5, 3, 4) * 300
    found = softmax(of(logits))
    assert np.abs(np.asarray(found) - torch.from_numpy(logits).softmax(1).numpy()).max() < 1e-6
    assert np.abs(np.asarray(found).sum(1) - 1).max() < 1e-6


@either
def test_mirrored_exchanges_left_and_right(of):
    given_ = maps(1, 2, 3, 4)
    found = np.asarray(mirrored(of(given_)))
    assert np.array_equal(found, given_[..., ::-1]) and min(found.strides) > 0


def test_numpy_comes_without_torch():
    code = "import sys, inverseform.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
