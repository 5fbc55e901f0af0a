"""Boundary predictions of a trained network, as files: what a data set's folders `predictions/` take.

python -m benchmarks.predictions --samples data/samples --segmenter models/segmenter --output DIR

writes DIR/train/predictions/NAME.png and so on, grey of 8 bits: the sigmoid of the boundary head, at the size of the
image. For training images a network is surer than for others; which split a pair came from tells the two apart.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from inverseform import networks
from inverseform.data.dataset import encode_png
from inverseform.data.sample_store import SampleStore
from inverseform.loss import enlarge
from inverseform.networks import Card, Segmenter, normalise
from inverseform.sample import Sample
from inverseform.settings import InputError


def probabilities(network: Segmenter, card: Card, sample: Sample) -> Float[Tensor, "1 height width"]:
    """Boundary probabilities of an image, at its size; as the loss sees them.

    Raises:
        InputError: The network has no boundary head.
    """
    with torch.inference_mode():
        logits = network(normalise(sample.image[None], mean=card.mean, std=card.std)).boundary
    if logits is None:
        raise InputError("segmenter: has no boundary head; train it with network.boundary_head: true")
    return torch.sigmoid(enlarge(logits, sample.boundary[None]))[0]


def write(samples: Path, segmenter: Path, output: Path, *, splits: Sequence[str]) -> dict[str, int]:
    """Write the predictions of splits; how many there are of each.

    Raises:
        InputError: The store has no such split, or the network has no boundary head.
    """
    store = SampleStore.open(samples)
    network, card = networks.load(segmenter)
    for split in splits or store.splits:
        if split not in store.splits:
            raise InputError(f"--splits {split}: {samples} has {', '.join(store.splits)}; name one of them")
        folder = output / split / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(store.size(split)):
            sample = store.sample(split, index)
            grey = (255 * probabilities(network, card, sample)[0]).round().byte()
            (folder / f"{sample.name}.png").write_bytes(encode_png(grey.numpy()))
    return {split: store.size(split) for split in splits or store.splits}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="a sample store, as ingest writes it")
    parser.add_argument("--segmenter", type=Path, required=True, help="a network, as train_segmentation writes it")
    parser.add_argument("--output", type=Path, required=True, help="folder of the splits' folders")
    parser.add_argument("--splits", nargs="*", default=[], help="which; all of them by default")
    given = parser.parse_args()
    try:
        counts = write(given.samples, given.segmenter, given.output, splits=given.splits)
    except (InputError, OSError) as error:
        sys.exit(f"predictions: {error}")
    for split, count in counts.items():
        print(f"{given.output / split / 'predictions'}: {count}")


if __name__ == "__main__":
    main()
