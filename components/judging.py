"""A network before every sample of a split: what is counted of each, and which are worth a picture."""

from typing import NamedTuple

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from components.progress import track
from inverseform import overlay
from inverseform.data.sample_store import SampleStore
from inverseform.evaluation.images import Images, hashed
from inverseform.evaluation.measures import Columns, measure
from inverseform.evaluation.predictions import Predictions
from inverseform.networks import Card, Segmenter, normalise
from inverseform.overlay import Drawn
from inverseform.scores import InferenceParams, class_scores


class Judged(NamedTuple):
    """What is kept of a split: a few hundred numbers a sample, and some pictures."""

    confusion: Int64[Tensor, "classes classes"]
    """(actual, predicted), over all samples."""
    images: Images
    worst: list[Drawn]
    """Samples of the least mean boundary accuracy, the worst first."""
    median: list[Drawn]
    """Those in the middle of that order, the worse first."""


def judge(
    network: Segmenter, card: Card, store: SampleStore, *, split: str, overlays: int, inference: InferenceParams
) -> Judged:
    """Segment every sample of a split and count what is right.

    Args:
        network: Without a boundary head.
        card: Its classes, and what images are normalised by.
        store: Of the same classes.
        split: One that has samples.
        overlays: How many of the worst samples are drawn, and half as many of the middle.
        inference: How the network is shown an image.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    columns, count = Columns(card.classes), store.size(split)
    confusion = torch.zeros(len(card.classes), len(card.classes), dtype=torch.int64, device=device)
    names, labels, scores = [], [], []
    rows = torch.empty(count, len(columns.names), dtype=torch.float64)
    with torch.inference_mode(), Predictions() as predictions:
        for index in track(range(count), description=f"evaluate {split}", total=count):
            sample = store.sample(split, index)
            predicted, probabilities = answer(network, card, sample.image.to(device), inference=inference)
            found = measure(predicted, probabilities, sample.labels.to(device), columns)
            confusion += found.confusion
            rows[index] = found.row
            names.append(sample.name)
            labels.append(hashed(sample.labels))
            scores.append(found.mba)
            predictions.add(predicted.cpu())
        worst = overlay.worst(scores, names, most=overlays)
        middle = overlay.middle(scores, names, most=(overlays + 1) // 2, beside=worst)
        drawn = {
            index: overlay.draw(store.sample(split, index), predictions[index], mba=scores[index], colours=card.colours)
            for index in (*worst, *middle)
        }
    images = Images(split, columns, tuple(names), tuple(labels), rows)
    return Judged(confusion.cpu(), images, [drawn[index] for index in worst], [drawn[index] for index in middle])


def answer(
    network: Segmenter, card: Card, image: UInt8[Tensor, "3 height width"], *, inference: InferenceParams
) -> tuple[UInt8[Tensor, "height width"], Float32[Tensor, "classes height width"]]:
    """The class of each pixel, as `inference.segment` gives it, and the probabilities of all of them."""
    images = normalise(image[None], mean=card.mean, std=card.std)
    scores = class_scores(lambda images: network(images).segmentation, images, inference=inference)[0]
    # Of one view the scores are logits; of several they are means of probabilities.
    plain = len(inference.scales) == 1 and not inference.flip
    # max rather than argmax, which takes three times as long on a CPU; of equal scores both take the first.
    return scores.max(0).indices.byte(), scores.softmax(0) if plain else scores
