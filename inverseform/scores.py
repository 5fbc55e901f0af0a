"""What a network says of an image that it sees at several sizes, mirrored or through a window: one score per class."""

from collections.abc import Callable
from typing import Annotated, Any

from jaxtyping import Float
from pydantic import AfterValidator, Field

from inverseform.arrays import array_functions, bilinear, mirrored, softmax
from inverseform.settings import Settings
from inverseform.sliding import slide


def _each_once(scales: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(scales)) < len(scales):
        raise ValueError("a scale stands once; write for instance [0.75, 1.0, 1.25]")
    return scales


# Eight times each side is far beyond any published setting; what is above was most likely meant as a percentage.
_Scale = Annotated[float, Field(gt=0, le=8, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1)]


class InferenceParams(Settings):
    """How an image is shown to a network: whole or in windows, at which sizes, mirrored or not.

    Each costs what it adds to the pixels the network sees: a flip doubles the time, scales add their squares.
    """

    window: tuple[_Side, _Side] | None
    """Height and width of a window that slides over the image, in pixels; null: the image is seen whole."""
    overlap: float = Field(ge=0, lt=1)
    """Of neighbouring windows, as a share of the window; HRNet's is 1/3. Without a window it means nothing."""
    flip: bool
    """Whether the mirror image is looked at too."""
    scales: Annotated[tuple[_Scale, ...], Field(min_length=1), AfterValidator(_each_once)]
    """Factors of the image's sides at which it is looked at; the window keeps its size in pixels at each."""


PLAIN = InferenceParams(window=None, overlap=0.0, flip=False, scales=(1.0,))
"""The image as it is, once."""


def class_scores(
    logits_of: Callable[[Any], Any], images: Float[Any, "batch 3 height width"], *, inference: InferenceParams
) -> Float[Any, "batch classes height width"]:
    """Of one view of the images the logits; of several (scales, flips) the mean of their class probabilities.

    As in mmsegmentation: windows share their logits, views come back to the size of the images as logits (bilinear) and
    are averaged after the softmax (SegTTAModel.merge_preds). Other codes average logits (NVIDIA's HMS), or the exp of
    them (HRNet): a view that is sure then outvotes the others. Windows are laid over the whole view, so that the mirror
    image is cut elsewhere than the image where windows do not divide it.

    Views are looked at one by one, so that memory does not grow with their number: at most 5 times the scores of the
    largest, of classes x height x width floats of 32 bits, beside what the network needs.

    Args:
        logits_of: From (batch, 3, height, width) to (batch, classes, height, width), at any height and width.
        images: Normalised.
        inference: How they are shown to the network.
    """
    size = images.shape[-2:]
    turns = (False, True) if inference.flip else (False,)
    views = len(inference.scales) * len(turns)
    total: Any = None
    for scale in inference.scales:
        # Halves are rounded up, as in mmcv and HRNet; of a small side one pixel is left.
        scaled = bilinear(images, (max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))))
        for turned in turns:
            logits = _logits(logits_of, mirrored(scaled) if turned else scaled, inference)
            # Mirrored back at the size of the images, which is a copy of few pixels where the view was enlarged.
            logits = bilinear(logits, (size[0], size[1]))
            if views == 1:
                return logits
            # Without a name, so that it goes before the next view comes.
            total = softmax(mirrored(logits) if turned else logits) + (0 if total is None else total)
    return total / views


def _logits(logits_of: Callable[[Any], Any], images: Any, inference: InferenceParams) -> Any:  # noqa: ANN401 (an array)
    if inference.window is None:
        space = array_functions(images)
        return space.asarray(logits_of(images), dtype=space.float32)
    return slide(logits_of, images, window=inference.window, overlap=inference.overlap)
