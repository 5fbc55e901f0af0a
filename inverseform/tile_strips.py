"""Strips of tiles in the report on an inverse network: pairs before and after alignment, and gradients."""

import math
from collections.abc import Sequence

from inverseform.exhibits import Aligned, Push
from inverseform.plots import chip
from inverseform.tile_plots import FALL, PREDICTED, RISE, TARGET, overlaid, picture, signed, strip


def pairs(given: Sequence[Aligned]) -> str:
    """What the network makes of pairs."""
    heads = ("target", "predicted", "both", "brought back")
    shown = []
    for number, pair in enumerate(given, start=1):
        none = pair.target.new_zeros(pair.target.shape)
        maps = ((pair.target, none), (none, pair.predicted), (pair.target, pair.predicted), (pair.target, pair.brought))
        cells = [
            picture(overlaid(*both), name=f"pair {number}, {head}", caption=head)
            for head, both in zip(heads, maps, strict=True)
        ]
        true, estimate = pair.distance
        off = "no boundary left to measure" if math.isnan(pair.error) else f"off by {pair.error:.2f} px across the line"
        told = f"distance {true:.3f}, estimated {estimate:.3f}; {off}"
        shown.append(f"<figure>{strip(cells)}<figcaption>{told}</figcaption></figure>")
    return (
        f'<h2>Pairs, aligned</h2><p class="soft">Unseen pairs, evenly spaced in the store. {chip(TARGET)}The target, '
        f"{chip(PREDICTED)}the map it is compared with, degraded as in training, laid over each other as they are, and "
        "with the map brought back by the transform that the network estimates. If it works, the last picture has "
        f'orange on blue, which is black.</p><div class="panels">{"".join(shown)}</div>'
    )


def gradients(given: Sequence[Push]) -> str:
    """Where the loss pushes a prediction."""
    rows = []
    for blurred, told in ((False, "A prediction that is sure of every pixel"), (True, "A blurred prediction")):
        cells = [
            picture(
                signed(push.force, push.target), name=f"push at a shift of {push.pixels:g} pixels",
                caption=f"{push.pixels:g} px, {'points back' if push.back else 'points elsewhere'}",
            )
            for push in given
            if push.blurred == blurred
        ]  # fmt: skip
        rows.append(f'<p style="margin:14px 0 0">{told}</p>{strip(cells, wide=True)}')
    return (
        f'<h2>Where the gradient pushes</h2><p class="soft">Minus the gradient of the Euclidean loss for the predicted '
        f"map: {chip(RISE)}what should become more likely, {chip(FALL)}less likely; in grey the target. The prediction "
        "is the target shifted along x. If the loss works, red lies on the grey lines and blue beside them, where the "
        f"prediction is. Each picture has a scale of its own.</p>{''.join(rows)}"
    )
