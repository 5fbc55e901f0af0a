"""Boundary predictions of a trained network, as files: what a data set's folders `predictions/` take.

python -m benchmarks.predictions --samples data/samples --segmenter models/segmenter --output DIR

writes DIR/train/predictions/NAME.png and so on, grey of 8 bits: the sigmoid of the boundary head, at the size of the
image. For training images a network is surer than for others; which split a pair came from tells the two apart. With
`--store DIR` instead, DIR becomes the same samples with their predictions, as ingest would have written them.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from inverseform import networks
from inverseform.data.dataset import encode_png
from inverseform.data.sample_store import SampleStore, write_info, write_samples
from inverseform.data.stored_sample import StoredSample
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


class Predictor:
    """The predictions of a network for the samples of a store, as grey maps.

    Raises:
        FileNotFoundError: One of the folders is not there.
        InputError: One of them holds something else.
    """

    def __init__(self, samples: Path, segmenter: Path) -> None:
        self.store = SampleStore.open(samples)
        self.network, self.card = networks.load(segmenter)

    def check(self, splits: Sequence[str]) -> None:
        """Refuse splits that are not there."""
        known = self.store.splits
        for split in splits:
            if split not in known:
                raise InputError(f"--splits {split}: the samples have {', '.join(known)}; name some of them")

    def grey(self, split: str, index: int) -> UInt8[np.ndarray, "height width"]:
        """255 times the boundary probabilities of a sample."""
        maps = probabilities(self.network, self.card, self.store.sample(split, index))
        return (255 * maps[0]).round().byte().numpy()

    def rows(self, split: str) -> Iterator[StoredSample]:
        """The samples of a split with their predictions."""
        for index in range(self.store.size(split)):
            yield self.store.row(split, index)._replace(prediction=encode_png(self.grey(split, index)))


def write(predictor: Predictor, output: Path, *, splits: Sequence[str]) -> None:
    """Write the predictions of splits as files.

    Raises:
        InputError: The network has no boundary head, or the store no such split.
    """
    predictor.check(splits)
    for split in splits:
        folder = output / split / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(predictor.store.names(split)):
            (folder / f"{name}.png").write_bytes(encode_png(predictor.grey(split, index)))


def write_store(predictor: Predictor, output: Path, *, splits: Sequence[str]) -> None:
    """Write the samples of splits with their predictions.

    Raises:
        FileExistsError: There is something already.
        InputError: The network has no boundary head, or the store no such split.
    """
    predictor.check(splits)
    output.mkdir(parents=True)
    info = predictor.store.info.model_copy(update={"counts": {split: predictor.store.size(split) for split in splits}})
    for split in splits:
        write_samples(output, info, split, predictor.rows(split), shard_bytes=128 << 20)
    write_info(output, info)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="a sample store, as ingest writes it")
    parser.add_argument("--segmenter", type=Path, required=True, help="a network, as train_segmentation writes it")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--output", type=Path, help="folder of the splits' folders")
    where.add_argument("--store", type=Path, help="folder for a sample store")
    parser.add_argument("--splits", nargs="*", default=[], help="which; all of them by default")
    given = parser.parse_args()
    try:
        predictor = Predictor(given.samples, given.segmenter)
        splits = given.splits or predictor.store.splits
        (write_store if given.store else write)(predictor, given.store or given.output, splits=splits)
    except (InputError, OSError) as error:
        sys.exit(f"predictions: {error}")
    for split in splits:
        print(f"{given.store or given.output}: {split}, {predictor.store.size(split)}")


if __name__ == "__main__":
    main()
