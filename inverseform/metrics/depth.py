"""How far predicted depths are from measured ones, over all pixels of a set.

With p the predicted and t the true depth of a pixel, over the N valid pixels of the set (Eigen et al. 2014):
RMSE sqrt(sum (p - t)^2 / N); absolute relative error sum |p - t| / t / N; log10 error sum |log10 p - log10 t| / N;
delta_n, the share of pixels with max(p / t, t / p) < 1.25^n. RMSE per image is the mean over the images of each one's
RMSE, which some programs print under the same name. A pixel is valid where its true depth is finite and above 0 and
the mask, if there is one, says so; what is predicted elsewhere is not looked at.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from inverseform.metrics.score import Score, check_alike, ratio

POWERS = (1, 2, 3)
"""The n of delta_n."""

_FIELDS = ("pixels", "squared", "relative", "log10", *(f"delta_{n}" for n in POWERS), "not_finite", "not_positive",
           "images", "rmse")  # fmt: skip


class DepthScores(NamedTuple):
    """What the errors of a set amount to; lower is better but for `delta`."""

    rmse: Score
    """Over all pixels of the set, in the unit of the depths."""
    rmse_per_image: Score
    """Mean of the images' RMSE."""
    abs_rel: Score
    log10: Score
    """Undefined where a predicted depth is not above 0."""
    delta: tuple[Score, ...]
    """Shares within 1.25^n, 0 to 1; a predicted depth that is not above 0 is within none."""
    pixels: int
    """Valid ones."""


def count(
    predicted: Float[Tensor, "height width"],
    depth: Float[Tensor, "height width"],
    *,
    valid: Bool[Tensor, "height width"] | None = None,
) -> Float64[Tensor, " fields"]:
    """Sums over the valid pixels of an image; they add."""
    check_alike(predicted=predicted.shape, depth=depth.shape, valid=depth.shape if valid is None else valid.shape)
    known = torch.isfinite(depth) & (depth > 0)
    known = known if valid is None else known & valid
    finite = known & torch.isfinite(predicted)
    positive = finite & (predicted > 0)
    # Where there is nothing to compare, both are 1 and no term has a value.
    p, t = predicted.double().where(finite, 1.0), depth.double().where(finite, 1.0)
    squared = (p - t).square().sum()
    above = p.where(positive, 1.0)
    logs = (above.log10() - t.log10()).abs() * positive
    factor = torch.maximum(above / t, t / above)
    pixels, compared = known.sum(), finite.sum()
    sums = [
        pixels, squared, ((p - t).abs() / t).sum(), logs.sum(),
        *(((factor < 1.25**n) & positive).sum() for n in POWERS),
        pixels - compared, compared - positive.sum(), compared > 0, (squared / compared.clamp(min=1)).sqrt(),
    ]  # fmt: skip
    return torch.stack([each.double() for each in sums])


class DepthErrors:
    """The scores of a whole set, image by image."""

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self.counts: Float64[Tensor, " fields"] = torch.zeros(len(_FIELDS), dtype=torch.float64, device=device)
        """Sums over pixels and images, as `count` gives them; adds across processes."""

    def update(
        self,
        predicted: Float[Tensor, "height width"],
        depth: Float[Tensor, "height width"],
        *,
        valid: Bool[Tensor, "height width"] | None = None,
    ) -> None:
        """Add an image."""
        self.counts += count(predicted, depth, valid=valid).to(self.counts.device)

    def scores(self) -> DepthScores:
        """Scores of all that was added."""
        found = dict(zip(_FIELDS, self.counts.tolist(), strict=True))
        pixels, wrong = int(found["pixels"]), int(found["not_finite"])
        nothing = "no pixel has a valid depth"
        if wrong:
            lost = Score(None, f"{wrong} of {pixels} predicted depths are not finite")
            return DepthScores(lost, lost, lost, lost, (lost,) * len(POWERS), pixels)
        below = int(found["not_positive"])
        mean_square = ratio(found["squared"], pixels, reason=nothing)
        return DepthScores(
            rmse=Score(mean_square.value**0.5) if mean_square.value is not None else mean_square,
            rmse_per_image=ratio(found["rmse"], found["images"], reason=nothing),
            abs_rel=ratio(found["relative"], pixels, reason=nothing),
            log10=Score(None, f"{below} of {pixels} predicted depths are not above 0")
            if below
            else ratio(found["log10"], pixels, reason=nothing),
            delta=tuple(ratio(found[f"delta_{n}"], pixels, reason=nothing) for n in POWERS),
            pixels=pixels,
        )
