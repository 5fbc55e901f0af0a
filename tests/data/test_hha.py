import numpy as np
import pytest

from inverseform.data.hha import COARSE, CameraParams, gravity, hha, normals_from_depth, points
from tests.data.miniatures.room import CEILING, FLOOR, WALL, room, small_camera, spoilt

NYUV2 = CameraParams(focal=(518.857901, 519.469611), centre=(324.582449, 252.736166))


def degrees(one, other):
    return np.degrees(np.arccos(np.clip((one * other).sum(axis=0), -1, 1)))


def drawn(seed, *, size=(120, 160), tilt=25.0, level=0.05):
    """A room in which floor and ceiling are at least so much of the image, and the generator it came from."""
    random = np.random.default_rng(seed)
    while True:
        scene = room(random, *size, tilt=tilt)
        if np.isin(scene.labels, (FLOOR, CEILING)).mean() >= level:
            return scene, random


def test_points_lie_on_the_rays_of_their_pixels():
    camera = CameraParams(focal=(2.0, 4.0), centre=(1.0, 0.0))
    depth = np.array([[2.0, 2.0, np.nan], [1.0, 4.0, 3.0]])
    found = points(depth, camera)
    assert np.array_equal(found[:, 0, 0], [-1, 0, -2]) and np.array_equal(found[:, 0, 1], [0, 0, -2])
    # A row further down is lower, and y is up.
    assert np.array_equal(found[:, 1, 2], [1.5, -0.75, -3])
    assert np.isnan(found[:, 0, 2]).all()


@pytest.mark.parametrize("radius", [1, 3, 10])
def test_the_normals_of_a_plane_are_exact_up_to_the_frame(radius):
    camera = small_camera(40, 50)
    normal = np.array([0.3, 0.5, 0.8]) / np.linalg.norm([0.3, 0.5, 0.8])
    # n . P = -2, so that the plane is in front of the camera; P is the depth times the ray.
    depth = -2 / np.tensordot(normal, points(np.ones((40, 50)), camera), 1)
    assert (depth > 0).all()
    found = normals_from_depth(depth, camera, radius=radius)
    assert found.dtype == np.float32
    assert degrees(found.astype(float), normal[:, None, None]).max() < 0.01


def test_normals_of_a_room_are_right_but_where_surfaces_meet():
    scene, _ = drawn(1)
    error = degrees(normals_from_depth(scene.depth, scene.camera), scene.normals)
    assert np.percentile(error, 60) < 0.05


def test_normals_are_not_known_in_holes_and_are_at_their_rims():
    scene, _ = drawn(2)
    depth = scene.depth.copy()
    depth[40:60, 50:80] = np.nan
    depth[0, 0] = 0
    found = normals_from_depth(depth, scene.camera)
    known = np.isfinite(found).all(axis=0)
    assert (known == (np.isfinite(depth) & (depth > 0))).all()
    assert np.allclose(np.linalg.norm(found[:, known], axis=0), 1, atol=1e-6)


def test_a_lonely_pixel_has_no_normal():
    depth = np.full((30, 30), np.nan)
    depth[15, 10:20] = 2.0
    assert np.isnan(normals_from_depth(depth, small_camera(30, 30))).all()


@pytest.mark.parametrize("seed", range(25))
def test_gravity_is_found_to_a_degree_in_a_tilted_room_with_noise_and_holes(seed):
    scene, random = drawn(seed, size=(240, 320), tilt=30.0)
    found = gravity(normals_from_depth(spoilt(random, scene.depth), scene.camera, radius=COARSE))
    assert np.linalg.norm(found) == pytest.approx(1)
    assert degrees(found, scene.gravity) < 1


def test_one_bare_wall_leaves_gravity_where_the_camera_has_it():
    random = np.random.default_rng(0)
    depth = 1 / (1 / np.full((120, 160), 2.0) + random.normal(0, 0.0015, (120, 160)))
    found = gravity(normals_from_depth(depth, small_camera(120, 160), radius=COARSE))
    assert degrees(found, np.array([0, -1, 0])) < 2


def test_gravity_is_a_unit_vector_at_a_right_angle_to_the_cameras_too():
    # Two slopes, like a tent's along x: x is the direction that both are most upright to.
    slopes = np.array([[0, 0.69, 0.724], [0, -0.69, 0.724]]).T[..., None]
    found = gravity(slopes / np.linalg.norm(slopes, axis=0))
    assert np.allclose(np.abs(found), [1, 0, 0])


def test_without_any_depth_gravity_is_the_cameras_own_down():
    nothing = np.full((3, 8, 8), np.nan)
    assert np.array_equal(gravity(nothing), [0, -1, 0])
    assert not hha(np.full((8, 8), np.nan), NYUV2).any()


def test_the_channels_of_hha_are_the_authors():
    scene, _ = drawn(3, size=(240, 320))
    found = hha(scene.depth, scene.camera).astype(float)
    assert np.abs(found[0] - np.clip(31000 / (100 * scene.depth).clip(100), 0, 255)).max() <= 0.5
    # Centimetres above the floor, which is in sight: the lowest point.
    height = -np.tensordot(scene.gravity, points(100 * scene.depth, scene.camera), 1)
    assert height.min() < -90
    # Some metres away, gravity turned by half a degree is a few of them.
    assert np.abs(found[1] - (height - height.min()).clip(0, 255)).mean() < 3
    for label, angle in ((FLOOR, 38), (WALL, 128)):
        assert np.abs(np.median(found[2][scene.labels == label]) - angle) <= 1


def test_a_ceiling_has_the_largest_angle():
    scene, _ = next(
        (scene, random) for scene, random in map(drawn, range(40)) if (scene.labels == CEILING).mean() > 0.05
    )
    assert np.abs(np.median(hha(scene.depth, scene.camera)[2][scene.labels == CEILING].astype(float)) - 218) <= 1


def test_without_a_floor_in_sight_one_is_assumed_130_cm_below():
    # A wall 2 m away, seen straight on: its lowest point is less than 90 cm below the camera.
    camera = small_camera(60, 120)
    found = hha(np.full((60, 120), 2.0), camera)[1].astype(float)
    assert points(np.full((60, 120), 200.0), camera)[1].min() > -90
    assert found[29:31].mean() == pytest.approx(130, abs=1) and found[0].mean() > found[-1].mean()


def test_hha_is_0_where_depth_is_not_known_and_only_there():
    scene, random = drawn(4)
    depth = spoilt(random, scene.depth)
    found = hha(depth, scene.camera)
    assert found.dtype == np.uint8 and found.shape == (3, 120, 160)
    assert ((found == 0).all(axis=0) == np.isnan(depth)).all()
    assert found[2][np.isfinite(depth)].min() >= 38
