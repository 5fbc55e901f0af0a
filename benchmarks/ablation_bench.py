"""What `benchmarks.ablation` trains and measures a row with."""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components import stage, synthesize
from components.pair_params import SynthesizeParams
from components.train_inverse import TrainInverseParams
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.data.sample_store import SampleStore, write_info, write_samples
from inverseform.data.stored_sample import StoredSample, stored
from inverseform.degradation import degrade
from inverseform.distance import DISTANCES, Distance, DistanceName, euclidean
from inverseform.inverse_net import InverseNet, InverseNetSettings
from inverseform.inverse_net.dense import Dense
from inverseform.metrics.inverse_net import Determination, Explained
from inverseform.metrics.response import Answers, answers, figures
from inverseform.pairs import reflect
from inverseform.params import load_section
from inverseform.probes import probes
from inverseform.spatial_transformer import SpatialTransformerParams
from inverseform.training.batches import Part
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.launch import PLAIN, launch
from inverseform.training.loop import train
from inverseform.training.optimiser import OptimiserParams
from inverseform.transform import from_offsets, offsets


def _level(stride: int, reach: int, width: int, depth: int) -> dict[str, int]:
    return {"stride": stride, "reach": reach, "width": width, "depth": depth}


BATCH, TIMED, RUNS, TEST_PAIRS, PROBE_TILES = 64, 32, 15, 1024, 64
OURS = "ours"
NETWORKS: dict[str, tuple[float, dict[str, Any]]] = {
    "small dense": (1e-3, {"name": "dense", "pooling": 4, "hidden": [1024, 256]}),
    "the paper's dense": (1e-3, {"name": "dense", "pooling": 2, "hidden": [1000, 32]}),
    "the published": (1e-3, {"name": "dense", "pooling": 1, "hidden": [1000, 32]}),
    "AET siamese": (1e-3, {"name": "siamese", "pooling": 4, "widths": [32, 64, 96, 128]}),
}
"""Learning rate and settings; ours is that of `--params`."""
LEVELS: dict[str, list[dict[str, int]]] = {
    "ours, two levels": [_level(16, 3, 48, 2), _level(8, 0, 32, 1)],
    "ours, fine reach 1": [_level(16, 3, 48, 2), _level(8, 1, 32, 1), _level(8, 1, 32, 1)],
    "ours, fine reach 2": [_level(16, 3, 48, 2), _level(8, 2, 32, 1), _level(8, 2, 32, 1)],
    "ours, coarse cells alone": [_level(16, 3, 48, 2), _level(16, 1, 48, 1), _level(16, 1, 48, 1)],
}
"""Ours with other levels."""
LOCALISER = SpatialTransformerParams(temperature=0.01, steps=400, batch=64, learning_rate=0.003)


class Row(NamedTuple):
    """What one row of the table is trained and measured with."""

    name: str
    tables: str
    network: str = OURS
    pretrained: bool = False
    tile: int = 128
    shrink: int = 1
    """1: the samples' own resolution; 2: every second pixel of the labels."""
    radius: int = 1
    source: str = "random"
    identity: float = 0.05
    regressed: str = "theta"
    trained: bool = True
    """False: random weights, measured as they are."""
    longer: int = 1
    """How many times the steps of the others."""
    calibrated: bool = True
    distance: DistanceName = "euclidean"


class Direct(InverseNet):
    """Dense layers with one output, the distance itself; it stands where theta has its shift along x."""

    def __init__(self, settings: InverseNetSettings, distances: Tensor) -> None:
        super().__init__(settings)
        self.network = Dense(settings.network, settings.tile // self.pooling, 1)  # pyright: ignore[reportArgumentType]
        self.mean, self.scale = distances.mean()[None], distances.std()[None]

    def theta(self, numbers: Tensor) -> Tensor:
        """The carrier of a distance."""
        return from_offsets(F.pad(numbers * self.scale + self.mean, (2, 3)))

    def estimate(self, predicted: Tensor, target: Tensor, *, calibrated: bool = True, pooled: bool = False) -> Tensor:
        """The carrier of the distance, less that of the target from itself if calibrated."""
        assert not pooled, "asked by figures alone, which have tiles as they are"
        numbers = self(predicted, target)
        with torch.no_grad():
            bias = self(target, target) + self.mean / self.scale if calibrated else 0
        return self.theta(numbers - bias)


class Bench:
    """What all rows share: samples, settings, and a place for what they make."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.work = given, given.work
        made = load_section(given.params, "synthesize", SynthesizeParams)
        self.made = made.model_copy(update={"spatial_transformer": LOCALISER})
        self.trained = load_section(given.params, "train_inverse", TrainInverseParams)
        self.size = SampleStore.open(given.samples).maps("val", 0).boundary.shape[-2:]

    def settings(self, row: Row) -> dict[str, Any]:
        """All that decides what comes out, as columns; the digest is of what has no column of its own."""
        kept = {"ranges", "degrees_of_freedom"} | ({"spatial_transformer"} if row.source != "random" else set())
        base = [self.made.model_dump(mode="json", include=kept), self.trained.degradation.model_dump(mode="json")]
        height, width = (length // row.shrink for length in self.size)
        return {
            **{name: value for name, value in row._asdict().items() if name != "longer"},
            "resolution": f"{width}x{height}", "occupancy": self.occupancy(row),
            "steps": self.steps(row), "batch": BATCH, "real_pairs": TEST_PAIRS if self._real(row) else 0,
            "digest": fingerprint(base, self.network(row), TEST_PAIRS, PROBE_TILES)[:8],
        }  # fmt: skip

    def steps(self, row: Row) -> int:
        """How many steps a row is trained for."""
        return self.given.steps * row.longer

    def occupancy(self, row: Row) -> float:
        """The share that tiles need: of wider lines as much more, so that it takes as long a boundary."""
        return self.made.occupancy * row.radius

    def network(self, row: Row) -> tuple[float, dict[str, Any]]:
        """Learning rate and settings of a row's network."""
        if row.network in NETWORKS:
            return NETWORKS[row.network]
        levels = {"levels": LEVELS[row.network]} if row.network in LEVELS else {}
        return self.trained.optimiser.learning_rate, self.trained.network.model_dump(mode="json") | levels

    def train(self, row: Row) -> tuple[InverseNet, float | None]:
        """The network of a row, and the milliseconds of one core that a step took; None if it was trained before."""
        made = {"train_pairs": self.steps(row) * BATCH, "val_pairs": 1, "probe_tiles": 1}
        folders = [self.given.procedural] * row.pretrained + [self._samples(row)]
        stores = [PairStore(self._pairs(row, folder, made), "train") for folder in folders]
        net = self._initial(row, stores[-1])
        spread = euclidean(stores[-1].theta()).std()
        optimiser = OptimiserParams(name="adamw", learning_rate=self.network(row)[0], weight_decay=0.01, batch=BATCH,
                                    steps=self.steps(row), warm_up=50, schedule="cosine", seed=1, accumulate=1,
                                    clip=None, ema=None)  # fmt: skip

        def batch(part: Part) -> Pairs:
            # One schedule over all stores: the last one gets the small steps.
            return stores[part.step * len(stores) // self.steps(row)].batch(part.step, BATCH, seed=1)

        def loss(_: nn.Module, pairs: Pairs) -> dict[str, Tensor]:
            tile, warped, theta = reflect(pairs.tile, pairs.warped, pairs.theta, pairs.seed)
            each = net.refine(degrade(warped.float(), pairs.seed, self.trained.degradation), tile.float())
            if row.regressed == "theta":
                truth = (offsets(theta, self.made.degrees_of_freedom) - net.mean) / net.scale
                errors = [answer - truth for answer in each]
            else:
                errors = [(_reading(net, row)(net.theta(answer)) - euclidean(theta)) / spread for answer in each]
            return {"total": torch.stack([error.square().mean() for error in errors]).mean()}

        learned = self.settings(row._replace(name="", tables="", calibrated=True, distance="euclidean"))
        run = fingerprint({**learned, "real_pairs": 0})
        begun, done = time.process_time(), 0
        if row.trained:
            place = Place(self.work / f"net-{run[:12]}", json.loads(json.dumps(learned, default=str)), {})
            for _ in train(net, batch, loss, optimiser, machine=launch(PLAIN), place=place, keep=True):
                done += 1
        return net.eval(), 1000 * (time.process_time() - begun) / done if done > 1 else None

    @torch.no_grad()
    def measure(self, row: Row, net: InverseNet) -> dict[str, Any]:
        """The figures of a trained network on held-out images."""
        if not row.calibrated:
            net.estimate = partial(net.estimate, calibrated=False)  # pyright: ignore[reportAttributeAccessIssue]
        # Held-out pairs are the same for all rows of a tile and a width: at random, and none of the identity.
        test = row._replace(source="random", identity=0.0)
        made = {"train_pairs": 1, "val_pairs": TEST_PAIRS, "probe_tiles": PROBE_TILES, "seed": 7}
        hard = self._pairs(test, self._samples(row), made)
        found: dict[str, Any] = {"parameters": sum(p.numel() for p in net.parameters()), "ms_per_tile": speed(net)}
        found |= self._explained(row, net, PairStore(hard, "val"))
        if self._real(row):
            real = self._pairs(test, self.given.predicted, {**made, "predicted": 1.0})
            figures = self._explained(row, net, PairStore(real, "val"))
            names = ("r2_degraded", "r2_degraded_calibrated")
            found |= {name.replace("degraded", "real"): figures[name] for name in names}
        return found | self._response(row, net, PairStore(hard, "probe"))

    def _explained(self, row: Row, net: InverseNet, store: PairStore) -> dict[str, Any]:
        """R2 of theta and of the distance, of hard maps, and of degraded ones or, where there are some, predictions."""
        explained, read, truth = Explained(net), _reading(net, row), DISTANCES[row.distance]
        scores = {"r2_d": Determination(1), "r2_d_degraded": Determination(1)}
        occupied: list[float] = []
        for pairs in store.all():
            tile, warped = pairs.tile.float(), pairs.warped.float()
            real = pairs.prediction
            soft = degrade(warped, pairs.seed, self.trained.degradation) if real is None else real / 255
            occupied.append(tile.mean().item())
            if not isinstance(net, Direct):
                explained.update(tile, warped, soft, pairs.theta)
            for score, predicted in zip(scores.values(), (warped, soft), strict=True):
                score.update(read(net.estimate(predicted, tile))[:, None], truth(pairs.theta)[:, None])
        known = {} if isinstance(net, Direct) else explained.figures()
        taken = {f"{name}_taken": known.get(f"{name}_calibrated") for name in ("r2", "r2_degraded")}
        distances = {name: score.compute()[0] for name, score in scores.items()}
        return {"boundary_share": statistics.fmean(occupied), **known, **taken, **distances}

    def _response(self, row: Row, net: InverseNet, store: PairStore) -> dict[str, Any]:
        """How the distance answers to one move at a time."""
        moves, parts = probes(row.tile), []
        asked = cycle(moves)
        for pairs in store.all():
            which, warped = list(islice(asked, len(pairs.seed))), pairs.warped.float()
            degraded = degrade(warped, pairs.seed, self.trained.degradation)
            parts.append(answers(net, pairs.tile.float(), warped, degraded, which, distance=_reading(net, row)))
        table = Answers(*(torch.cat(c).unflatten(0, (-1, len(moves))) for c in zip(*parts, strict=True)))
        found = {name: value for name, value in figures(table, moves, row.tile).items() if not isinstance(value, dict)}
        # One number is no displacement.
        return found | ({"normal_error_pixels": None} if isinstance(net, Direct) else {})

    def _initial(self, row: Row, store: PairStore) -> InverseNet:
        mean, scale = store.moments(self.made.degrees_of_freedom)
        units = {"network": self.network(row)[1], "mean": mean.tolist(), "scale": scale.tolist()}
        settings = InverseNetSettings.model_validate({**store.settings, **units}, strict=False)
        torch.manual_seed(1)
        direct = row.regressed == "distance" and row.network in NETWORKS
        return Direct(settings, euclidean(store.theta())) if direct else InverseNet(settings)

    def _real(self, row: Row) -> bool:
        return self.given.predicted is not None and "D" in row.tables

    def _pairs(self, row: Row, samples: Path, made: Mapping[str, Any]) -> Path:
        chosen = {"tile": row.tile, "source": row.source, "identity": row.identity, "occupancy": self.occupancy(row)}
        params = self.made.model_copy(update={"workers": 1, "predicted": 0.0, "pairs_per_sample": 32, **chosen, **made})
        folder = self.work / f"pairs-{fingerprint(params.model_dump(mode='json'), str(samples))[:12]}"
        paths = {"samples": samples, "checkpoints": folder.with_name(f"{folder.name}-checkpoints")}
        return _whole(folder, lambda into: stage.run(synthesize.synthesize, params, {**paths, "pairs": into}))

    def _samples(self, row: Row) -> Path:
        if row.shrink == row.radius == 1:
            return self.given.samples
        return _whole(self.work / f"samples-{row.shrink}-{row.radius}", lambda into: self._derive(row, into))

    def _derive(self, row: Row, folder: Path) -> None:
        """The same samples at another resolution, with boundaries of another width."""
        store = SampleStore.open(self.given.samples)
        line = store.info.boundary.model_copy(update={"radius": row.radius})
        counts = {split: store.size(split) for split in ("train", "val")}
        info = store.info.model_copy(update={"boundary": line, "counts": counts})
        folder.mkdir(parents=True)
        for split in counts:
            write_samples(folder, info, split, _smaller(store, split, row.shrink, line), shard_bytes=1 << 27)
        write_info(folder, info)


@torch.no_grad()
def speed(net: InverseNet) -> float:
    """Milliseconds of one core that an answer takes, the target described already; the median of some batches."""
    side = net.settings.tile
    target, predicted = (torch.rand(2, TIMED, side, side, generator=torch.Generator().manual_seed(0)) < 0.06).float()
    embedded, times = net.embed(target), []
    for _ in range(RUNS + 1):
        begun = time.thread_time()
        net.compare(predicted, embedded)
        times.append(1000 * (time.thread_time() - begun) / TIMED)
    return statistics.median(times[1:])


def _reading(net: InverseNet, row: Row) -> Distance:
    """How a distance is read from what a network says."""
    return (lambda theta: theta[:, 0, 2]) if isinstance(net, Direct) else DISTANCES[row.distance]


def _smaller(store: SampleStore, split: str, step: int, line: BoundaryParams) -> Iterator[StoredSample]:
    for index in range(store.size(split)):
        sample = store.sample(split, index)
        image = sample.image[:, ::step, ::step].permute(1, 2, 0).contiguous().numpy()
        labels = sample.labels[::step, ::step].contiguous()
        classes = len(store.info.classes)
        edge, valid = boundaries(labels[None], num_classes=classes, operator=line.operator, radius=line.radius)
        yield stored(sample.name, Reading(encode_png(image), image, labels.numpy()), edge[0], valid[0])


def _whole(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that is there whole or is made now."""
    if not folder.exists():
        shutil.rmtree(part := folder.with_name(f".partial.{folder.name}"), ignore_errors=True)
        make(part)
        part.rename(folder)
    return folder
