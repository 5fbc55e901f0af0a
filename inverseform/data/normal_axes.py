"""Surface normals of published files to this project's axes: x right, y up, z towards the camera."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float16

from inverseform.settings import InputError

NormalAxes = Literal["left_up", "right_up", "right_down", "left_down"]
"""Where the first two axes of a file point in the image; its third points towards the camera."""

_SIGNS = {"left_up": (-1, 1), "right_up": (1, 1), "right_down": (1, -1), "left_down": (-1, -1)}
SHORTEST = 0.5
"""Of a normal: a shorter one is the mean of several directions, or of none, as grey of 8 bits is, and says nothing."""
# Two ways of smoothing the same depth differ by a few degrees; another sign turns most normals by far more.
_MARGIN = 10.0
"""Degrees by which other axes must fit better before they are called the right ones."""


def unit_normals(
    vectors: Float[np.ndarray, "height width 3"], axes: NormalAxes
) -> Float16[np.ndarray, "3 height width"]:
    """Unit normals in this project's axes; nan where the file has a vector shorter than a half, so none."""
    length = np.sqrt((vectors * vectors).sum(axis=2, keepdims=True))
    units = np.divide(vectors, length, out=np.full(vectors.shape, np.nan, vectors.dtype), where=length >= SHORTEST)
    return (units * np.array([*_SIGNS[axes], 1])).transpose(2, 0, 1).astype(np.float16)


def check_length(length: Float[np.ndarray, "*pixels"], *, source: str) -> None:
    """Refuse vectors that are no unit vectors in the middle; those shorter than a half, or nan, are none and pass.

    Raises:
        InputError: They are of another coding; `source` says whose.
    """
    known = length[length >= SHORTEST]
    # Of 8 bits a unit vector comes back within 1 %; where smoothing mixed two surfaces it is shorter, on few pixels.
    if known.size and not 0.9 < (middle := float(np.median(known))) < 1.1:
        raise InputError(
            f"{source}: most of its normals are {middle:.3g} long and not 1; write n as (n + 1) / 2 * 255 in a PNG, or "
            f"as it is in .npy"
        )


def check_axes(
    normals: Float[np.ndarray, "3 height width"],
    seen: Float[np.ndarray, "3 height width"],
    axes: NormalAxes,
    *,
    source: str,
) -> None:
    """Compare normals, read as `axes` says, with those that the depth of the same image gives.

    Raises:
        InputError: Other axes fit clearly better.
    """
    known = np.isfinite(normals).all(axis=0) & np.isfinite(seen).all(axis=0)
    if not known.any():
        return
    there = normals[:, known].astype(np.float64) * np.array([*_SIGNS[axes], 1])[:, None]
    errors = {}
    for name, signs in _SIGNS.items():
        cosines = (there * np.array([*signs, 1])[:, None] * seen[:, known]).sum(axis=0)
        errors[name] = float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).mean())
    best = min(errors, key=errors.__getitem__)
    if errors[best] < errors[axes] - _MARGIN:
        raise InputError(
            f"{source}: read with normals_axes {axes}, its normals are {errors[axes]:.0f} degrees from those of the "
            f"depth on average, and {errors[best]:.0f} with {best}; set normals_axes: {best}"
        )
