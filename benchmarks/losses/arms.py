"""The losses of the comparison: what each is made of, and the trials that its weight and its start are chosen from.

All stand on the same cross entropy and have as many trials. What a weight means differs from loss to loss: the grids
of three were laid so that terms pull at the class logits about 0.2, 0.6 and 2 times as hard as cross entropy does after
the first phase (docs/losses.md).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jaxtyping import Float, Integer
from pydantic import Field
from torch import Tensor, nn

from benchmarks.losses import peers
from benchmarks.losses.active_boundary import active_boundary
from benchmarks.losses.boundary_dou import boundary_dou
from inverseform import weights
from inverseform.boundary import boundaries
from inverseform.boundary_aware import BoundaryAwareLoss, balanced_cross_entropy
from inverseform.coupling import BoundaryFrom, LossParams, class_boundary_logits, gamma_at
from inverseform.distance import DistanceName
from inverseform.inverse_net import PRETRAINED
from inverseform.loss import InverseFormLoss, enlarge
from inverseform.segmentation_loss import BoundaryWeightedParams, CrossEntropyParams, boundary_weighted, cross_entropy
from inverseform.settings import InputError, Settings

CROSS_ENTROPY, WEIGHTED = "cross_entropy", "boundary_weighted"
BALANCED: dict[BoundaryFrom, str] = {"head": "boundary_head", "classes": "boundary_classes"}
"""The arms of boundary cross entropy alone, by the boundary they see."""
TRIALS = 4
"""Of each loss but cross entropy, which has nothing to choose."""
LATE = 0.5
"""The start of the trial that begins late."""
NEAR = 2
"""Radius of boundary-weighted cross entropy, in pixels."""
_PLAIN = CrossEntropyParams(name="cross_entropy", class_weights="equal")


class Trial(Settings):
    """What is chosen for a loss."""

    weight: float = Field(ge=0)
    """Of its term; for boundary-weighted cross entropy, how many times a pixel near a boundary counts."""
    start: float = Field(ge=0, lt=1)
    """Share of the training before which it is cross entropy alone, with boundary cross entropy if it has that."""
    beta: float = Field(ge=0)
    """Weight of what InverseForm stands on, boundary cross entropy or the pixels near a boundary: what was chosen for
    that alone."""


class Criterion(Protocol):
    """A loss as the training calls it."""

    def __call__(
        self,
        logits: Float[Tensor, "batch classes height width"],
        labels: Integer[Tensor, "batch height width"],
        boundary_logits: Float[Tensor, "batch 1 rows columns"],
        progress: float,
    ) -> Float[Tensor, ""]:
        """What is to be minimised at a share of the training, 0 to 1."""
        ...


class Arm(NamedTuple):
    """A loss of the comparison."""

    name: str
    words: str
    """For tables."""
    grid: Sequence[tuple[float, float]]
    """Weights and starts of its trials."""
    make: Callable[[Trial, int], Criterion]
    """Of a trial and the number of classes."""
    beneath: str | None = None
    """The arm whose chosen weight is the beta of all trials."""
    inverse_net: str | None = None
    """SHA-256 of the weights of the inverse network in it."""

    def trials(self, *, beta: float = 0.0) -> list[Trial]:
        """All that one is chosen from."""
        return [Trial(weight=weight, start=start, beta=beta) for weight, start in self.grid]


def arms(others: Mapping[str, Path] | None = None) -> dict[str, Arm]:
    """All losses by name, cross entropy first and each after the one beneath it.

    Args:
        others: Folders of further inverse networks, by names for their arms.

    Raises:
        InputError: A folder holds no inverse network, or a name is taken.
    """
    known = [
        Arm(CROSS_ENTROPY, "cross entropy", [(0.0, 0.0)], _plain),
        Arm(WEIGHTED, "boundary-weighted cross entropy", _at_once(3, 8, 20, 50), _weighted),
        Arm(BALANCED["head"], "+ boundary cross entropy, head", _at_once(0.1, 0.5, 2, 10), _on(_head)),
        Arm(BALANCED["classes"], "+ boundary cross entropy, classes", _at_once(0.01, 0.03, 0.1, 0.3),
            _on(_classes)),
        *(_inverseform(f"inverseform_{distance}_{seen}", PRETRAINED, distance, seen, "InverseForm")
          for distance, seen in product(("euclidean", "geodesic", "lie"), BALANCED)),
        *(_inverseform(f"weighted_inverseform_{distance}", PRETRAINED, distance, "classes", "InverseForm", WEIGHTED)
          for distance in ("euclidean", "geodesic", "lie")),
        Arm("monai_boundary", "+ boundary loss (MONAI)", _grid(0.15, 0.5, 1.5), _module(peers.monai_boundary)),
        Arm("monai_hausdorff", "+ Hausdorff by distances (MONAI)", _grid(0.0015, 0.005, 0.015),
            _module(peers.monai_hausdorff)),
        Arm("kornia_hausdorff", "+ Hausdorff by erosion (kornia)", _grid(0.06, 0.2, 0.6),
            _module(peers.kornia_hausdorff)),
        Arm("active_boundary", "+ active boundary loss", _grid(0.3, 1, 3), _on(_ours(active_boundary))),
        Arm("boundary_dou", "+ boundary DoU", _grid(0.2, 0.6, 2), _on(_ours(boundary_dou))),
    ]  # fmt: skip
    found = {arm.name: arm for arm in known}
    for name, folder in (others or {}).items():
        for seen in BALANCED:
            arm = _inverseform(f"{name}_{seen}", folder, "euclidean", seen, f"InverseForm of {name}")
            if arm.name in found:
                raise InputError(f"--inverse-net {name}={folder}: {arm.name} is there already; give another name")
            found[arm.name] = arm
    return found


class OnTop:
    """Cross entropy, and from the start of a trial on its weight times a term."""

    def __init__(self, term: Callable[[Tensor, Tensor, Tensor], Tensor], trial: Trial) -> None:
        self.term, self.trial = term, trial

    def __call__(self, logits: Tensor, labels: Tensor, boundary_logits: Tensor, progress: float) -> Tensor:
        """The sum."""
        total = cross_entropy(logits, labels)
        if progress < self.trial.start:
            return total
        return total + self.trial.weight * self.term(logits, labels, boundary_logits)


def _at_once(*sizes: float) -> list[tuple[float, float]]:
    """Trials of the weight alone."""
    return [(weight, 0.0) for weight in sizes]


def _grid(low: float, middle: float, high: float) -> list[tuple[float, float]]:
    """Three weights at once, and the middle one late."""
    return [*_at_once(low, middle, high), (middle, LATE)]


def _plain(trial: Trial, num_classes: int) -> Criterion:
    return lambda logits, labels, boundary_logits, progress: cross_entropy(logits, labels)


def _weighted(trial: Trial, num_classes: int) -> Criterion:
    return lambda logits, labels, boundary_logits, progress: boundary_weighted(
        logits, labels, weight=trial.weight, radius=NEAR
    )


def _weighting(weight: float) -> BoundaryWeightedParams:
    return BoundaryWeightedParams(name="boundary_weighted", weight=weight, radius=NEAR, class_weights="equal")


def _on(term: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Trial, int], Criterion]:
    return lambda trial, num_classes: OnTop(term, trial)


def _ours(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda logits, labels, boundary_logits: loss(logits, labels)


def _module(build: Callable[[], nn.Module]) -> Callable[[Trial, int], Criterion]:
    """A loss of a library, which is built, and its library imported, where it is used."""
    return lambda trial, num_classes: OnTop(_ours(build()), trial)


def _head(logits: Tensor, labels: Tensor, boundary_logits: Tensor) -> Tensor:
    boundary, valid = boundaries(labels, num_classes=logits.shape[1])
    return balanced_cross_entropy(enlarge(boundary_logits, boundary), boundary, valid)


def _classes(logits: Tensor, labels: Tensor, boundary_logits: Tensor) -> Tensor:
    boundary, valid = boundaries(labels, num_classes=logits.shape[1])
    return balanced_cross_entropy(class_boundary_logits(logits), boundary, valid)


def _inverseform(
    name: str, folder: Path, distance: DistanceName, seen: BoundaryFrom, words: str, beneath: str | None = None
) -> Arm:
    # Beside boundary cross entropy, as in eq. (6), or on top of boundary-weighted cross entropy: what is above the arm
    # beneath it shows what InverseForm adds.
    beneath = beneath or BALANCED[seen]
    told = "boundary-weighted + InverseForm" if beneath == WEIGHTED else f"+ boundary cross entropy + {words}"
    make = partial(_boundary_aware, folder=folder, distance=distance, seen=seen, beneath=beneath)
    sizes = (0.3, 1, 3) if seen == "head" else (0.1, 0.3, 1)
    words = f"{told} ({distance}), {seen}"
    return Arm(name, words, _grid(*sizes), make, beneath=beneath, inverse_net=weights.digest(folder))


def _boundary_aware(
    trial: Trial, num_classes: int, *, folder: Path, distance: DistanceName, seen: BoundaryFrom, beneath: str
) -> Criterion:
    weighted = beneath == WEIGHTED
    params = LossParams(
        segmentation=_weighting(trial.beta) if weighted else _PLAIN, beta=0.0 if weighted else trial.beta,
        gamma=trial.weight, gamma_start=trial.start, gamma_ramp=0.0, distance=distance, boundary_from=seen,
        boundary_outputs=("main",), debias=False,
    )  # fmt: skip
    inverse = InverseFormLoss.load(folder, distance=distance)
    loss = BoundaryAwareLoss.of(params, inverse, num_classes=num_classes)

    def criterion(logits: Tensor, labels: Tensor, boundary_logits: Tensor, progress: float) -> Tensor:
        given: dict[str, Any] = {"boundary_logits": boundary_logits} if seen == "head" else {}
        # The frozen network follows the logits to their device: nobody else holds it.
        return loss.to(logits.device)(logits, labels, gamma=gamma_at(params, progress), **given).total

    return criterion
