"""Depth to geometry: surface normals, the direction of gravity, and the HHA image (Gupta et al., ECCV 2014).

Axes of every vector here: x right, y up, z towards the camera, so that what the camera sees has negative z. Depth is in
metres along the optical axis, nan where it is not known. A level camera has gravity at (0, -1, 0).

HHA is an image of 8 bits whose channels are, as the authors scale them:

- horizontal disparity: 31000 over the depth in centimetres, depths of less than a metre counted as one;
- height above ground: centimetres above the lowest point; where that is less than 90 cm below the camera, so that no
  floor is in sight, above a floor assumed 130 cm below it;
- angle with gravity: degrees between the normal and the direction up, plus 38: 38 a floor, 128 a wall, 218 a ceiling;
  218 too where depth is known and no plane fits.

All three are 0 where depth is not known, which the angle never is otherwise.
"""

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from pydantic import PositiveFloat

from inverseform.settings import Settings

Map = Float[np.ndarray, "height width"]
Vectors = Float[np.ndarray, "3 height width"]

FINE, COARSE = 3, 10
"""Radii of the windows that planes are fitted in: for the angle, and for gravity. Gupta et al.'s."""
THRESHOLDS = (45.0, 15.0)
"""Degrees within which a surface counts as level or upright; the first brings gravity near, the second settles it."""
ITERATIONS = 5
"""Updates of gravity at each threshold."""
# Ours. One bare wall leaves every direction in it equally good, and the noise would pick one, up to a right angle off.
# Where floor, ceiling or two walls are in sight, the eigenvalues differ by far more and the estimate is Gupta et al.'s.
UNDECIDED = 0.003
"""Difference of eigenvalues, as a share of the normals, below which directions count as equally good."""
# Fewer points make a plane of noise: at the rim of a hole, and where a window of two surfaces has lost one of them.
LEAST_KNOWN = 0.5
"""Share of a window, so far as it lies in the image, whose depth must be known."""


class CameraParams(Settings):
    """A pinhole camera without distortion."""

    focal: tuple[PositiveFloat, PositiveFloat]
    """Focal lengths along x and y, in pixels. NYUv2's colour camera: [518.857901, 519.469611]."""
    centre: tuple[float, float]
    """Column and row of the principal point; the first pixel is 0. NYUv2's: [324.582449, 252.736166]. Its toolbox
    counts from 1 and says 1 more."""


def points(depth: Map, camera: CameraParams) -> Vectors:
    """Where each pixel's surface lies, in metres from the camera; nan where depth is not known."""
    x, y = _rays(depth.shape, camera)
    return np.stack([x * depth, -y * depth, -depth])


def normals_from_depth(
    depth: Map, camera: CameraParams, *, radius: int = FINE
) -> Float32[np.ndarray, "3 height width"]:
    """Unit normals on the camera's side of each surface, from the plane that fits the window around a pixel best.

    A plane n . P = 1 is linear in the inverse depth: n . (x, y, 1) = 1 / depth for the ray (x, y, 1) of a pixel. The
    fit is by least squares in inverse depth, in which the noise of structured light is even.

    Args:
        depth: In metres; nan where it is not known.
        camera: Whose depth it is.
        radius: Of the square window, in pixels: 2 radius + 1 on each side.

    Returns:
        Normals; nan where depth is not known, or in less than half of the window.
    """
    known = np.isfinite(depth) & (depth > 0)
    x, y = (np.where(known, ray, 0.0) for ray in _rays(depth.shape, camera))
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape), where=known)
    one = known.astype(np.float64)
    xx, xy, xz, yy, yz, zz = (_window_sum(map, radius) for map in (x * x, x * y, x, y * y, y, one))
    a, b, c = (_window_sum(map * inverse, radius) for map in (x, y, one))
    # Cramer's rule on the symmetric 3x3 of each window. The determinant only scales n, and it is positive.
    normal = np.stack(
        [
            (yy * zz - yz * yz) * a + (xz * yz - xy * zz) * b + (xy * yz - xz * yy) * c,
            (xz * yz - xy * zz) * a + (xx * zz - xz * xz) * b + (xy * xz - xx * yz) * c,
            (xy * yz - xz * yy) * a + (xy * xz - xx * yz) * b + (xx * yy - xy * xy) * c,
        ]
    )
    length = np.sqrt((normal * normal).sum(axis=0))
    whole = _window_sum(np.ones(depth.shape), radius)
    fits = known & (zz >= LEAST_KNOWN * whole) & (length > 0)
    # n points away from the camera, along its rays; turned around and to y up.
    turned = normal * np.array([-1.0, 1.0, 1.0])[:, None, None]
    return np.divide(turned, length, out=np.full(normal.shape, np.nan), where=fits).astype(np.float32)


def gravity(normals: Vectors) -> Float[np.ndarray, "3"]:
    """The direction that things fall in, as a unit vector, from the normals of an indoor image (Gupta et al., sec. 3).

    The direction that normals of level surfaces are most parallel to, and those of upright ones most perpendicular: the
    eigenvector, of the smallest eigenvalue, of W W' - L L', where L are the normals within a threshold of the last
    estimate and W those within it of a right angle with it.
    It begins at the camera's own down and stays there so far as nothing in sight decides (UNDECIDED); a camera tilted
    by more than 45 degrees is out of its reach.
    """
    vectors = normals.reshape(3, -1).astype(np.float64)
    vectors = vectors[:, np.isfinite(vectors).all(axis=0)]
    down = np.array([0.0, -1.0, 0.0])
    for threshold in np.radians(np.repeat(THRESHOLDS, ITERATIONS)):
        along = np.abs(down @ vectors)
        level, upright = vectors[:, along > np.cos(threshold)], vectors[:, along < np.sin(threshold)]
        values, axes = np.linalg.eigh(upright @ upright.T - level @ level.T)
        # Of equally good directions the one nearest to the last estimate: it, projected onto them. Mostly there is one.
        good = axes[:, values <= values[0] + UNDECIDED * vectors.shape[1]]
        nearest = good @ (good.T @ down)
        length = np.linalg.norm(nearest)
        # At a right angle to the last estimate, either sense is as good.
        down = nearest / length if length > 1e-6 else good[:, 0]
    return down


def hha(depth: Map, camera: CameraParams) -> UInt8[np.ndarray, "3 height width"]:
    """The HHA image of a depth map: horizontal disparity, height above ground, angle with gravity; 0 where unknown."""
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        return np.zeros((3, *depth.shape), dtype=np.uint8)
    up = -gravity(normals_from_depth(depth, camera, radius=COARSE))
    centimetres = 100 * depth.astype(np.float64)
    angle = np.degrees(np.arccos(np.clip(np.tensordot(up, normals_from_depth(depth, camera), 1), -1, 1)))
    channels = np.stack(
        [
            31000 / np.maximum(centimetres, 100),
            _above_ground(np.tensordot(up, points(centimetres, camera), 1), known),
            np.where(np.isnan(angle), 180, angle) + 38,
        ]
    )
    return np.where(known, np.clip(np.rint(channels), 0, 255), 0).astype(np.uint8)


def _above_ground(height: Map, known: Bool[np.ndarray, "height width"]) -> Map:
    """Centimetres above ground, from those above the camera."""
    lowest = height[known].min()
    return height - (lowest if lowest <= -90 else -130)


def _rays(shape: tuple[int, ...], camera: CameraParams) -> tuple[Map, Map]:
    """Of each pixel, how far right and down its ray is at a distance of 1; y down, as rows are counted."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - camera.centre[0]) / camera.focal[0], (rows - camera.centre[1]) / camera.focal[1]


def _window_sum(map: Map, radius: int) -> Map:
    """Sums over square windows, as far as they lie in the map; at a cost that does not grow with the radius."""
    for axis in (0, 1):
        sums = np.cumsum(map, axis=axis)
        cells = np.arange(map.shape[axis])
        last = np.take(sums, np.minimum(cells + radius, len(cells) - 1), axis=axis)
        before = np.take(np.insert(sums, 0, 0, axis=axis), np.maximum(cells - radius, 0), axis=axis)
        map = last - before
    return map
