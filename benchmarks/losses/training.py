"""One training of the comparison: a network, a loss, and batches that depend on seed and step alone."""

import math
import statistics
import time
from pathlib import Path

import torch

from benchmarks.losses.arms import Criterion
from benchmarks.losses.params import ComparisonParams, Phase
from benchmarks.losses.pictures import Pictures
from inverseform import networks, weights
from inverseform.loss import enlarge
from inverseform.networks import Segmenter, normalise
from inverseform.networks.smp import normalisation
from inverseform.settings import InputError
from inverseform.training import optimiser
from inverseform.training.optimiser import OptimiserParams

FORMAT = "inverseform.losses.base/1"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Trainer:
    """What all trainings of a comparison share."""

    def __init__(self, params: ComparisonParams, pictures: Pictures, *, num_classes: int) -> None:
        self.params, self.pictures, self.num_classes = params, pictures, num_classes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Fresh weights know images by no normalisation; theirs is as good as any.
        self.mean, self.std = normalisation(params.network) or IMAGENET

    def fresh(self, seed: int) -> Segmenter:
        """The network with the encoder's weights, the others drawn from a seed."""
        torch.manual_seed(seed)
        return networks.build(self.params.network, num_classes=self.num_classes).to(self.device)

    def base(self, seed: int, folder: Path, criterion: Criterion) -> Segmenter:
        """The network after the first phase: read from a folder, or trained and written there.

        Raises:
            InputError: The folder holds something else.
        """
        network = self.fresh(seed)
        if folder.exists():
            tensors, _ = weights.load(folder, format=FORMAT)
            weights.fill(network, tensors, source=folder)
        else:
            self.train(network, self.params.base, criterion, seed=seed)
            weights.save(folder, network.state_dict(), {"seed": seed}, format=FORMAT)
        return network

    def train(self, network: Segmenter, phase: Phase, criterion: Criterion, *, seed: int, first: int = 0) -> float:
        """Train a network in place; gives the median seconds of a step, without the drawing of its batch.

        Batches are those of the steps from `first` on: a second phase goes on where the first ended.

        On a CPU they are seconds of work, which other programs on the machine do not lengthen.

        Raises:
            InputError: The loss is not finite.
        """
        network.train()
        params = _optimiser(phase, weight_decay=self.params.weight_decay, batch=self.params.batch)
        descent = optimiser.build(params, network.parameters())
        times = []
        for step in range(phase.steps):
            place = first + step
            images, labels = self.pictures.batch(place, self.params.batch, self.params.augment, seed=seed)
            # For what is dropped at random: the same for all losses.
            torch.manual_seed(seed * 1_000_003 + place)
            for group in descent.param_groups:
                group["lr"] = optimiser.learning_rate(params, step)
            begun = self._clock()
            with self.autocast():
                prediction = network(normalise(images.to(self.device), mean=self.mean, std=self.std))
            labels = labels.to(self.device)
            assert prediction.boundary is not None, "the settings ask for a boundary head"
            logits = enlarge(prediction.segmentation.float(), labels[:, None])
            loss = criterion(logits, labels, prediction.boundary.float(), step / phase.steps)
            if not math.isfinite(loss.item()):
                raise InputError(f"the loss is {loss.item()} at step {step + 1} of seed {seed}; lower its weight")
            descent.zero_grad(set_to_none=True)
            loss.backward()
            descent.step()
            times.append(self._clock() - begun)
        return statistics.median(times)

    def autocast(self) -> torch.autocast:
        """What the network, and nothing else, is computed in."""
        enabled = self.params.precision == "bf16-mixed"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


def learning_rate(phase: Phase, step: int) -> float:
    """The learning rate of a step, counted from 0; above 0 at the first and at the last."""
    return optimiser.learning_rate(_optimiser(phase), step)


def _optimiser(phase: Phase, *, weight_decay: float = 0.0, batch: int = 1) -> OptimiserParams:
    """A phase as the settings of the library's own trainings."""
    return OptimiserParams(
        **phase.model_dump(), name="adamw", weight_decay=weight_decay, batch=batch, accumulate=1, clip=None, ema=None,
        seed=0,
    )  # fmt: skip
