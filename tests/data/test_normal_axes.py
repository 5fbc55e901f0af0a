import numpy as np
import pytest

from inverseform.data.normal_axes import check_axes, check_length, unit_normals
from inverseform.settings import InputError
from tests.data.miniatures.room import room

AXES = {"left_up": (-1, 1, 1), "right_up": (1, 1, 1), "right_down": (1, -1, 1), "left_down": (-1, -1, 1)}
SCENE = room(np.random.default_rng(0), 40, 50)


@pytest.mark.parametrize("axes", AXES)
def test_normals_of_any_axes_become_ones_that_point_right_and_up(axes):
    file = 0.9 * SCENE.normals.transpose(1, 2, 0) * AXES[axes]
    found = unit_normals(file, axes)
    assert found.dtype == np.float16
    assert np.abs(found - SCENE.normals).max() < 1e-3
    check_axes(found, SCENE.normals, axes, source="a.npy")


def test_grey_is_no_normal():
    grey = np.full((2, 3, 3), 128 * 2 / 255 - 1)
    grey[0, 0] = (0, 0, 1)
    found = unit_normals(grey, "right_up")
    assert np.isfinite(found[:, 0, 0]).all() and np.isnan(found).sum() == 3 * 5


@pytest.mark.parametrize("wrong", ["right_up", "right_down", "left_down"])
def test_wrong_axes_are_told_with_the_right_ones(wrong):
    found = unit_normals(SCENE.normals.transpose(1, 2, 0) * AXES["left_up"], wrong)
    with pytest.raises(InputError, match=rf"a\.npy: read with normals_axes {wrong}, .* set normals_axes: left_up"):
        check_axes(found, SCENE.normals, wrong, source="a.npy")


def test_a_wall_straight_ahead_and_nothing_at_all_tell_nothing():
    ahead = np.zeros((3, 4, 5))
    ahead[2] = 1
    for axes in AXES:
        check_axes(ahead, ahead, axes, source="x")
        check_axes(np.full((3, 4, 5), np.nan), ahead, axes, source="x")


def test_vectors_of_another_coding_are_told_and_few_short_ones_are_not():
    few = np.array([1.0, 1.0, 1.01, 0.7, 0.01, np.nan])
    check_length(few, source="x")
    check_length(np.zeros((3, 4)), source="x")
    for wrong in (0.6, 1.2, 221.0):
        with pytest.raises(InputError, match=rf"a\.npy: most of its normals are {wrong:.3g} long and not 1"):
            check_length(np.full((3, 4), wrong), source="a.npy")
