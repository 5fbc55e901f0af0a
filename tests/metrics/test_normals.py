import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inverseform.metrics.normals import MEDIAN_ERROR, NormalErrors, angles


def drawn(random, *, degrees=40.0):
    """True normals of any length, and predicted ones that are these turned about some axis by known angles."""
    height, width = random.integers(1, 7, 2)
    normals = random.normal(size=(height * width, 3))
    across = np.cross(normals, random.normal(size=normals.shape))
    turned_by = random.uniform(0, degrees, len(normals))
    axis = across / np.linalg.norm(across, axis=1, keepdims=True) * np.radians(turned_by)[:, None]
    turned = Rotation.from_rotvec(axis).apply(normals) * random.uniform(0.1, 5, (len(normals), 1))
    maps = [torch.from_numpy(each.T.reshape(3, height, width)) for each in (turned, normals)]
    return *maps, turned_by


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from([1.0, 40.0, 180.0]))
def test_scores_are_those_of_the_angles_by_which_normals_were_turned(seed, degrees):
    random = np.random.default_rng(seed)
    scores, all_angles = NormalErrors(), []
    for _ in range(random.integers(1, 4)):
        predicted, normals, turned_by = drawn(random, degrees=degrees)
        scores.update(predicted, normals)
        all_angles.append(turned_by)
    wanted, found = np.concatenate(all_angles), scores.scores()
    assert found.mean.value == pytest.approx(wanted.mean(), abs=1e-9)
    assert found.rmse.value == pytest.approx(np.sqrt((wanted**2).mean()), abs=1e-9)
    assert abs(found.median.value - np.median(wanted)) <= MEDIAN_ERROR + 1e-9
    assert [score.value for score in found.within] == [np.mean(wanted < each) for each in (11.25, 22.5, 30)]
    assert (found.pixels, found.undirected) == (len(wanted), 0)


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 1e-3, 0.5, 90.0, 179.999, 180.0])
def test_small_and_large_angles_keep_their_digits_in_single_precision(degrees):
    one = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
    turned = torch.tensor([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0.0]).float().view(3, 1, 1)
    assert float(angles(turned, one)) == pytest.approx(degrees, rel=1e-5, abs=1e-5)


def test_lengths_do_not_matter_however_small_or_large():
    one = torch.tensor([[1e-30, 1e30]]).expand(3, 1, 2)
    other = torch.tensor([1.0, -1.0, 0.0]).view(3, 1, 1).expand(3, 1, 2)
    assert angles(one, other)[0].tolist() == pytest.approx([90.0, 90.0])


def test_a_zero_is_no_direction():
    up = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1).expand(3, 1, 4).clone()
    normals, predicted = up.clone(), up.clone()
    normals[:, :, 0], predicted[:, :, 1], predicted[0, :, 2] = 0, 0, torch.nan
    scores = NormalErrors()
    scores.update(predicted, normals)
    assert (scores.scores().pixels, scores.scores().undirected) == (1, 2)
    assert scores.scores().mean.value == 0.0
    scores = NormalErrors()
    scores.update(predicted, normals, valid=torch.tensor([[True, True, False, False]]))
    assert (scores.scores().pixels, scores.scores().undirected) == (0, 1)
    assert scores.scores().median == (None, "no pixel has both a true and a predicted normal")
    assert scores.scores().within[0].value is None


@pytest.mark.parametrize(("degrees", "within"), [(11.25, [0.0, 1.0, 1.0]), (22.5, [0.0, 0.0, 1.0])])
def test_an_angle_is_not_within_itself(degrees, within):
    one = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64).view(3, 1, 1)
    slopes = np.tan(np.radians(degrees)) * (1 + np.arange(-20, 21) * 2.0**-53)
    # Of these slopes, one whose angle is that to the last bit; 30 degrees have none.
    turned = [torch.tensor([1.0, slope, 0.0], dtype=torch.float64).view(3, 1, 1) for slope in slopes]
    exact = next(other for other in turned if float(angles(other, one)) == degrees)
    scores = NormalErrors()
    scores.update(exact, one)
    assert [score.value for score in scores.scores().within] == within


def test_halves_add_up_to_the_whole():
    random = np.random.default_rng(3)
    whole, left, right = (NormalErrors() for _ in range(3))
    for half in (left, right, right):
        predicted, normals, _ = drawn(random)
        whole.update(predicted, normals)
        half.update(predicted, normals)
    left.counts += right.counts
    assert torch.allclose(left.counts, whole.counts)
    assert left.scores().median == whole.scores().median
