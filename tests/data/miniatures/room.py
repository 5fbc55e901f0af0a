"""A furnished room that a tilted camera looks at: its depth, normals, labels and gravity are known exactly."""

from typing import NamedTuple

import numpy as np

from inverseform.data.hha import CameraParams

WALL, FLOOR, CEILING = 1, 2, 22
FURNITURE = (4, 5, 7, 40)
"""Ids of NYUv2's 40 classes, from 1."""


def small_camera(height, width):
    """A camera with the field of view of NYUv2's."""
    return CameraParams(focal=(0.81 * width, 0.81 * width), centre=((width - 1) / 2, (height - 1) / 2))


class Room(NamedTuple):
    depth: np.ndarray
    """Metres."""
    normals: np.ndarray
    """(3, height, width): x right, y up, z towards the camera."""
    labels: np.ndarray
    """1 to 40."""
    gravity: np.ndarray
    """In the axes of the normals."""
    camera: CameraParams


def room(random, height=96, width=128, *, tilt=25.0):
    """Draw one; the camera is pitched and rolled by up to `tilt` degrees, and looks in any direction."""
    camera = small_camera(height, width)
    size = np.array([random.uniform(4, 6), random.uniform(2.4, 3), random.uniform(4, 6)])
    eye = size * [random.uniform(0.4, 0.6), random.uniform(0.45, 0.65), random.uniform(0.4, 0.6)]
    turn = _turned(*np.radians([random.uniform(0, 360), *random.uniform(-tilt, tilt, 2)]))
    rows, columns = np.mgrid[:height, :width]
    rays = np.stack(
        [
            (columns - camera.centre[0]) / camera.focal[0],
            -(rows - camera.centre[1]) / camera.focal[1],
            -np.ones((height, width)),
        ]
    )
    # The depth is the length along a ray whose z is -1.
    world = np.tensordot(turn, rays, 1)
    depth, normals, labels = _inside(eye, world, size)
    for kind in FURNITURE:
        low = np.array([random.uniform(0, size[0] - 1), 0, random.uniform(0, size[2] - 1)])
        high = low + random.uniform(0.5, 1.2, 3)
        if (np.abs((low + high)[[0, 2]] / 2 - eye[[0, 2]]) < 0.9).all():
            continue
        near, face = _outside(eye, world, low, high)
        hit = near < depth
        depth, labels = np.where(hit, near, depth), np.where(hit, kind, labels)
        normals = np.where(hit, face, normals)
    down = turn.T @ [0, -1, 0]
    return Room(depth, np.tensordot(turn.T, normals, 1), labels.astype(np.uint8), down, camera)


def _turned(yaw, pitch, roll):
    """Camera to world: roll about z, then pitch about x, then yaw about y, which is up."""
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    around_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return around_y @ around_x @ around_z


def _planes(eye, rays, low, high):
    """Where rays pass the two planes of each axis: the nearer one and the farther one."""
    with np.errstate(divide="ignore"):
        one, other = ((bound - eye)[:, None, None] / rays for bound in (low, high))
    return np.minimum(one, other), np.maximum(one, other)


def _inside(eye, rays, size):
    leave = _planes(eye, rays, np.zeros(3), size)[1]
    axis = leave.argmin(axis=0)
    normals = -np.sign(rays) * (axis == np.arange(3)[:, None, None])
    labels = np.where(axis != 1, WALL, np.where(normals[1] > 0, FLOOR, CEILING))
    return leave.min(axis=0), normals, labels


def _outside(eye, rays, low, high):
    enter, leave = _planes(eye, rays, low, high)
    axis, near = enter.argmax(axis=0), enter.max(axis=0)
    near = np.where((near > 0) & (near < leave.min(axis=0)), near, np.inf)
    return near, -np.sign(rays) * (axis == np.arange(3)[:, None, None])


def spoilt(random, depth):
    """A depth map as a structured-light sensor gives it: even noise in disparity, and holes."""
    noisy = 1 / (1 / depth + random.normal(0, 0.0015, depth.shape))
    rows, columns = np.mgrid[: depth.shape[0], : depth.shape[1]]
    for _ in range(6):
        row, column = random.uniform(0, depth.shape[0]), random.uniform(0, depth.shape[1])
        radius = random.uniform(0.03, 0.12) * depth.shape[0]
        noisy[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = np.nan
    noisy[random.uniform(size=depth.shape) < 0.05] = np.nan
    return noisy
