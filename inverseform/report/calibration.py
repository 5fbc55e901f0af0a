"""The section on whether a network is as sure as it is right."""

from jaxtyping import Float64
from torch import Tensor

from inverseform.evaluation.figures import Estimate
from inverseform.plots import percent
from inverseform.report.charts import Line, columns, diagonal, interval, lines


def section(error: Estimate, bins: Float64[Tensor, "3 bins"]) -> str:
    """The reliability diagram.

    Args:
        error: The expected calibration error.
        bins: Pixels, sum of confidences and right pixels of each bin of the confidence.
    """
    pixels, confidence, right = bins.tolist()
    # A bin of a few pixels among millions says nothing, and would draw the eye.
    filled = [index for index, number in enumerate(pixels) if number and number >= sum(pixels) / 10_000]
    points = [(confidence[index] / pixels[index], Estimate(right[index] / pixels[index])) for index in filled]
    shares = [number / (sum(pixels) or 1) for number in pixels]
    ticks = [(tenth / 5, f"{20 * tenth} %") for tenth in range(6)]
    drawn = lines(
        [Line("this network", points)], label="Accuracy by confidence", ticks=ticks, low=0.0,
        below=columns(shares) + diagonal(),
    )  # fmt: skip
    found, sure = sum(right) / (sum(pixels) or 1), sum(confidence) / (sum(pixels) or 1)
    over = "surer than it is right" if sure > found else "less sure than it is right"
    told = (
        f"On average it gives its choice a probability of {percent(sure)} and is right in {percent(found)} of the "
        f"pixels: it is {over}."
        if sum(pixels)
        else "No pixel is known."
    )
    return (
        '<h2 id="calibration">Calibration</h2><p class="soft">The pixels by the probability that the network gives to '
        "the class it chose, and how many of them are right: on the broken line, it is as sure as it is right; below, "
        "it is too sure. The grey columns say how many pixels there are; bins of less than one in 10,000 are not "
        f'drawn.</p><div class="wide">{drawn}<div><p>{told}</p><p>The expected calibration error, the mean distance '
        f"from the broken line over all pixels, is <b>{percent(error.value)}</b>"
        f"{f' ({interval(error)})' if interval(error) else ''}.</p></div></div>"
    )
