"""InverseForm: a learned distance between boundary maps, as a loss for segmentation networks.

The public names are imported on first use, so that a stage which never builds a loss does not depend on it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Type checkers and editors do not run __getattr__; they read the names here.
if TYPE_CHECKING:
    from inverseform.boundary import boundaries, probability_boundaries
    from inverseform.boundary_aware import BoundaryAwareLoss, LossTerms, balanced_cross_entropy
    from inverseform.distance import euclidean, geodesic, lie
    from inverseform.doctor import diagnose
    from inverseform.loss import InverseFormLoss

__version__ = "0.1.0"

_ROOMS = {
    "boundaries": "boundary",
    "probability_boundaries": "boundary",
    "euclidean": "distance",
    "geodesic": "distance",
    "lie": "distance",
    "diagnose": "doctor",
    "balanced_cross_entropy": "boundary_aware",
    "BoundaryAwareLoss": "boundary_aware",
    "InverseFormLoss": "loss",
    "LossTerms": "boundary_aware",
}

__all__ = [
    "BoundaryAwareLoss",
    "InverseFormLoss",
    "LossTerms",
    "balanced_cross_entropy",
    "boundaries",
    "diagnose",
    "euclidean",
    "geodesic",
    "lie",
    "probability_boundaries",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562 gives whatever the name stands for)
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
