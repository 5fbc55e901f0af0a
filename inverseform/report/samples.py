"""The section with samples: the worst and the middling, with a slider between truth and prediction."""

import base64
import html
from collections.abc import Sequence

from inverseform import overlay
from inverseform.overlay import BAND, RIGHT, WRONG, WRONG_INSIDE, Colour, Drawn
from inverseform.plots import chip, percent


def section(
    worst: Sequence[Drawn], median: Sequence[Drawn], *, classes: Sequence[str], colours: Sequence[Colour]
) -> str:
    """Overlays of both kinds, and what their colours mean; nothing where none was asked for."""
    if not worst and not median:
        return ""
    names = "".join(
        f"<li>{chip(colour)}{html.escape(name)}</li>" for name, colour in zip(classes, colours, strict=True)
    )
    errors = "".join(
        f"<li>{chip(colour)}{text}</li>"
        for colour, text in (
            (RIGHT, f"right, within {BAND} px of a boundary"),
            (WRONG, f"wrong, within {BAND} px of a boundary"),
            (WRONG_INSIDE, "wrong elsewhere"),
        )
    )
    middling = (
        '<h3>Samples in the middle</h3><p class="soft">What is usual: those nearest to the median of that accuracy.</p>'
        f"{''.join(map(_sample, median))}"
    )
    return (
        '<h2 id="samples">Samples</h2><p class="soft">Over each image lie its true classes to the left of the line, '
        "and the predicted ones to the right; the slider moves it, as do the arrow keys. Hatched pixels have no known "
        f'class and are not judged.</p><ul class="legend">{names}</ul><ul class="legend">{errors}</ul>'
        '<h3>The worst</h3><p class="soft">Those of the least mean boundary accuracy, the worst first.</p>'
        f"{''.join(map(_sample, worst))}{middling if median else ''}"
    )


def _sample(drawn: Drawn) -> str:
    """Four panels, of which the script lays three over each other, and their caption."""
    image, truth, prediction, error = drawn.panels
    name = html.escape(drawn.name)
    # JPEG would smear the flat colours of the maps, and takes more room for them than PNG does.
    stacked = (
        _panel("image", f"Image of {name}", "Image", overlay.jpeg(image), "jpeg")
        + _panel("truth", f"Truth of {name}", "Truth", overlay.png(truth), "png")
        + _panel("prediction", f"Prediction of {name}", "Prediction", overlay.png(prediction), "png")
    )
    errors = _panel("error", f"Error at the boundary of {name}", "Error at the boundary", overlay.png(error), "png")
    score = f"boundary accuracy {percent(drawn.mba)}" if drawn.mba is not None else "no boundary"
    return (
        '<figure class="sample" style="margin-inline:0;--x:50%"><div class="strip"><div class="view">'
        f'<div class="stack">{stacked}</div><label class="slide">Truth<input type="range" min="0" max="100" value="50" '
        f'aria-label="How much of the truth of {name} is shown before the prediction begins, in per cent">Prediction'
        f"</label></div>{errors}</div><figcaption><b>{name}</b>, {score}, {percent(drawn.accuracy)} of its pixels right"
        "</figcaption></figure>"
    )


def _panel(kind: str, alt: str, caption: str, data: bytes, form: str) -> str:
    source = f"data:image/{form};base64,{base64.b64encode(data).decode()}"
    return f'<div class="{kind}"><img alt="{alt}" src="{source}"><span>{caption}</span></div>'
