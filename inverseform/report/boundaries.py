"""The section on accuracy beside the boundaries, by the distance from them."""

from collections.abc import Mapping

from inverseform.evaluation.figures import Difference, Estimate
from inverseform.evaluation.measures import DISTANCES
from inverseform.plots import percent
from inverseform.report.charts import Line, interval, lines


def section(figures: Mapping[str, Estimate], earlier: Mapping[str, Difference] | None) -> str:
    """A curve over the distance, with that of an earlier evaluation if there is one, and its numbers."""
    found = [(distance, figures[f"accuracy_within_{distance}_px"]) for distance in DISTANCES]
    shown = [Line("this network", found)]
    if earlier:
        there = [(d, Estimate(earlier[f"accuracy_within_{d}_px"].earlier)) for d in DISTANCES]
        shown.append(Line("the earlier one", there, dashed=True))
    least = min((each.low or each.value or 0.0 for line in shown for _, each in line.points), default=0.0)
    ticks = [(distance, str(distance)) for distance in DISTANCES]
    # Not from 0 on, so that small differences can be seen, but at a fifth: its quarters are whole per cents.
    drawn = lines(shown, label="Accuracy by pixels from a boundary", ticks=ticks, low=min(4, int(5 * least)) / 5)
    rows = "".join(
        f'<tr><th scope="row">within {distance} px</th><td class="num">{percent(each.value)}</td>'
        f'<td class="num soft">{interval(each)}</td></tr>'
        for distance, each in [*found, ("all", figures["pixel_accuracy"])]
    ).replace("within all px", "all pixels")
    return (
        '<h2 id="boundaries">Accuracy beside the boundaries</h2><p class="soft">Of the pixels at most so many pixels '
        "from a boundary between two true classes, pooled over all images, the share with the right class. Crisp "
        "boundaries keep the left end of the curve close to its right end.</p>"
        f'<div class="wide">{drawn}<table class="figures"><thead><tr><th></th><th>accuracy</th><th>95 % interval</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
