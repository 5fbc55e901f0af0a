"""How good a network is on a split: over all pixels, near boundaries, and on contours."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.losses.pictures import Pictures
from inverseform.metrics.boundary import DISTANCES, BoundaryAccuracy
from inverseform.metrics.boundary_f import PIXELS, BoundaryF
from inverseform.metrics.segmentation import Confusion
from inverseform.networks import Segmenter, normalise

Scores = dict[str, float | None]
"""`miou`, `pixel_accuracy`, `mba`, `within_1` to `within_5`, `f_1` to `f_3`, in 0 to 1; None where undefined."""


class Tally:
    """The scores of a set, image by image."""

    def __init__(self, num_classes: int) -> None:
        self.regions, self.near = Confusion(num_classes), BoundaryAccuracy()
        self.contours = BoundaryF(num_classes, tolerances=PIXELS)

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image."""
        for score in (self.regions, self.near, self.contours):
            score.update(predicted, labels)

    def scores(self) -> Scores:
        """Scores of all that was added."""
        regions, near, contours = self.regions.scores(), self.near.scores(), self.contours.scores().pooled
        return {
            "miou": regions.miou, "pixel_accuracy": regions.pixel_accuracy, "mba": near.mba,
            **{f"within_{distance}": value for distance, value in zip(DISTANCES, near.within, strict=True)},
            **{f"f_{tolerance}": score.value for tolerance, score in zip(PIXELS, contours, strict=True)},
        }  # fmt: skip


@torch.inference_mode()
def score(
    network: Segmenter, pictures: Pictures, *, num_classes: int, mean: tuple[float, ...], std: tuple[float, ...],
    apart: str, autocast: torch.autocast,
) -> Scores:  # fmt: skip
    """Scores of a network on the whole images, and, as `apart_miou` and so on, on those whose names begin with that."""
    network.eval()
    device = next(network.parameters()).device
    whole, part = Tally(num_classes), Tally(num_classes)
    for sample in pictures.samples:
        images = normalise(sample.image[None].to(device), mean=mean, std=std)
        with autocast:
            logits = network(images).segmentation
        predicted = logits[0].argmax(dim=0).byte().cpu()
        whole.update(predicted, sample.labels)
        if sample.name.startswith(apart):
            part.update(predicted, sample.labels)
    return whole.scores() | {f"apart_{name}": value for name, value in part.scores().items()}
