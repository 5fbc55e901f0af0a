"""Human parts: mean intersection over union over the parts and the background.

Counts are pooled over the set, as for any segmentation (`segmentation`), but ASTMT takes only images that show a
person: nearly all of PASCAL is background otherwise. `skip_empty=False` takes all images, as MTI-Net's program does
while training. ASTMT skips an image whose labels are all 0 or all 255; here one with both and no part is skipped, too.
A part that occurs nowhere is 0 in its mean, and here is left out.
"""

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from inverseform.metrics import segmentation
from inverseform.metrics.segmentation import Scores
from inverseform.sample import IGNORE_INDEX

PARTS = ("background", "head", "torso", "upper arm", "lower arm", "upper leg", "lower leg")
"""Those of PASCAL-Context's multi-task labels, by class id."""


def has_parts(labels: UInt8[Tensor, "height width"]) -> Bool[Tensor, ""]:
    """Whether any pixel is of a part."""
    return ((labels != 0) & (labels != IGNORE_INDEX)).any()


class HumanParts:
    """The scores of a whole set, image by image."""

    def __init__(
        self, num_classes: int = len(PARTS), *, skip_empty: bool = True, device: torch.device | str = "cpu"
    ) -> None:
        self.num_classes, self.skip_empty = num_classes, skip_empty
        self.counts: Int64[Tensor, " counts"] = torch.zeros(2 + num_classes**2, dtype=torch.int64, device=device)
        """Images that count, images that are skipped, confusion table row by row; adds across processes."""

    def update(self, predicted: UInt8[Tensor, "height width"], labels: UInt8[Tensor, "height width"]) -> None:
        """Add an image.

        Raises:
            ValueError: A class id is not below `num_classes`.
        """
        empty = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=labels.device)
        table = segmentation.update(empty, predicted, labels)
        taken = has_parts(labels).long() if self.skip_empty else torch.ones_like(empty[0, 0])
        found = torch.cat([torch.stack([taken, 1 - taken]), taken * table.flatten()])
        self.counts += found.to(self.counts.device)

    @property
    def images(self) -> int:
        """Images that count."""
        return int(self.counts[0])

    @property
    def skipped(self) -> int:
        """Images without a part, where these are skipped."""
        return int(self.counts[1])

    def scores(self) -> Scores:
        """Scores of all that was added; None for a part that occurs in no image, neither truly nor predicted."""
        return segmentation.scores(self.counts[2:].view(self.num_classes, self.num_classes))
