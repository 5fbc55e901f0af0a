"""Ablations of the inverse network as a table: trained for as many pairs, measured on the same images.

    python -m benchmarks.ablation --samples data/samples --output docs/ablation.csv
    python -m benchmarks.ablation --samples data/samples --output docs/ablation.csv --only "tile 64"

`--procedural DIR`, a store of `recipes/universal.yaml`'s ingest, is what rows are pre-trained on; `--predicted DIR`,
the samples with what a network predicted for each, adds R2 on real predictions. A row that the CSV has with the same
settings is not trained again, and one that was interrupted goes on from its checkpoint in `--work`. Settings that rows
do not change are those of `--params`. At the end the tables are printed.

A  networks, each also pre-trained on procedural pairs for the first half of its steps
B  side of the tile             C  resolution and width of the boundary
D  transforms at random, or by a spatial transformer that looks at the image
E  regressing the distance itself instead of theta (sec. 3.2)
F  share of identity pairs; the distance of the answer as it is, or of its difference to that of the truth with itself
G  the three distances, of the same network
"""

import argparse
import csv
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.pair_params import SynthesizeParams
from components.synthesize import synthesize
from components.train_inverse import TrainInverseParams
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.pair_store import Pairs, PairStore
from inverseform.data.sample_store import SampleStore, write_info, write_samples
from inverseform.data.stored_sample import StoredSample, stored
from inverseform.degradation import degrade
from inverseform.distance import DISTANCES, Distance, euclidean
from inverseform.inverse_net import InverseNet, InverseNetSettings
from inverseform.inverse_net.dense import Dense
from inverseform.metrics.inverse_net import Determination, Explained
from inverseform.metrics.response import Answers, answers, figures
from inverseform.pairs import reflect
from inverseform.params import load_section
from inverseform.probes import probes
from inverseform.spatial_transformer import SpatialTransformerParams
from inverseform.training.checkpoint import Place, fingerprint
from inverseform.training.loop import train
from inverseform.training.optimiser import OptimiserParams
from inverseform.transform import from_offsets, offsets

BATCH, TIMED, RUNS, TEST_PAIRS, PROBE_TILES = 64, 32, 15, 1024, 64
OURS = "ours"
LOCALISER = SpatialTransformerParams(temperature=0.01, steps=400, batch=64, learning_rate=0.003)
NETWORKS: dict[str, tuple[float, dict[str, Any]]] = {
    "small dense": (1e-3, {"name": "dense", "pooling": 4, "hidden": [1024, 256]}),
    "the paper's dense": (1e-3, {"name": "dense", "pooling": 2, "hidden": [1000, 32]}),
    "AET siamese": (1e-3, {"name": "siamese", "pooling": 2, "widths": [64, 96, 128, 160]}),
}
"""Learning rate and settings; ours is that of `--params`."""
SHOWN = {
    "A": ["network", "pretrained", "parameters", "r2_calibrated", "r2_degraded_calibrated", "r2_real_calibrated",
          "points_back", "points_back_degraded", "normal_error_pixels", "ms_per_tile"],
    "B": ["tile", "boundary_share", "r2_calibrated", "r2_degraded_calibrated", "points_back", "points_back_degraded",
          "normal_error_pixels", "ms_per_tile"],
    "C": ["resolution", "radius", "occupancy", "boundary_share", "r2_calibrated", "r2_degraded_calibrated",
          "points_back", "points_back_degraded", "normal_error_pixels"],
    "D": ["source", "r2_calibrated", "r2_degraded_calibrated", "r2_real_calibrated", "points_back",
          "points_back_degraded", "normal_error_pixels"],
    "E": ["network", "regressed", "trained", "calibrated", "r2_d", "r2_d_degraded", "spearman_shift", "spearman_scale", "points_back",
          "points_back_degraded"],
    "F": ["network", "trained", "identity", "calibrated", "identity_ratio", "r2_taken", "r2_degraded_taken", "spearman_shift",
          "spearman_scale", "spearman_rotation", "spearman_shear", "points_back", "points_back_degraded"],
    "G": ["distance", "r2_d", "spearman_shift", "spearman_scale", "spearman_rotation", "spearman_shear", "points_back",
          "points_back_degraded"],
}  # fmt: skip


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
    calibrated: bool = True
    distance: str = "euclidean"


def rows() -> list[Row]:
    """All rows, what matters most first."""
    found = [Row(OURS, "ABCDEFG"), *(Row(name, "AEF" if name == "small dense" else "A", name) for name in NETWORKS)]
    found += [Row("small dense, distance regressed", "E", "small dense", regressed="distance")]
    found += [Row("small dense, random weights", "EF", "small dense", trained=False)]
    for share, name in ((0.05, OURS), (0.05, "small dense"), (0.0, OURS), (0.2, OURS)):
        still = f"{name}, {share:.0%} identity pairs"
        if share != 0.05:
            found.append(Row(still, "F", name, identity=share))
        found.append(
            Row(f"{still}, not calibrated", "EF" if share == 0.05 else "F", name, identity=share, calibrated=False)
        )
    found += [Row(f"{name}, pre-trained", "A", name, pretrained=True) for name in (OURS, *NETWORKS)]
    found += [Row("spatial transformer", "D", source="spatial_transformer")]
    found += [Row(f"distance {name}", "G", distance=name) for name in ("geodesic", "lie")]
    found += [Row(f"radius {r}, 1/{s}", "C", shrink=s, radius=r) for s, r in ((1, 3), (2, 1), (1, 2), (2, 2), (2, 3))]
    found += [Row(f"tile {tile}", "B", tile=tile) for tile in (64, 96, 192)]
    return [*found, Row("ours, distance regressed", "E", regressed="distance")]


class Plain(InverseNet):
    """A network whose answers are taken as they are."""

    def estimate(self, predicted: Tensor, target: Tensor, *, calibrated: bool = False) -> Tensor:
        """The transform, never calibrated."""
        return super().estimate(predicted, target, calibrated=False)


class Direct(InverseNet):
    """Dense layers with one output, the distance itself; it stands where theta has its shift along x."""

    def __init__(self, settings: InverseNetSettings, distances: Tensor) -> None:
        super().__init__(settings)
        self.network = Dense(settings.network, settings.tile, 1)  # pyright: ignore[reportArgumentType]
        self.mean, self.scale = distances.mean()[None], distances.std()[None]

    def theta(self, numbers: Tensor) -> Tensor:
        """The carrier of a distance."""
        return from_offsets(F.pad(numbers * self.scale + self.mean, (2, 3)))

    def estimate(self, predicted: Tensor, target: Tensor, *, calibrated: bool = True) -> Tensor:
        """The carrier of the distance, less that of the target from itself if calibrated."""
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

    def settings(self, row: Row) -> dict[str, Any]:
        """All that decides what comes out, as columns; the digest is of what has no column of its own."""
        kept = {"ranges", "degrees_of_freedom"} | ({"spatial_transformer"} if row.source != "random" else set())
        base = [self.made.model_dump(mode="json", include=kept), self.trained.degradation.model_dump(mode="json")]
        return {
            **row._asdict(), "resolution": f"{480 // row.shrink}x{360 // row.shrink}", "occupancy": self.occupancy(row),
            "steps": self.given.steps, "batch": BATCH, "real_pairs": TEST_PAIRS if self._real(row) else 0,
            "digest": fingerprint(base, self.network(row), TEST_PAIRS, PROBE_TILES)[:8],
        }  # fmt: skip

    def occupancy(self, row: Row) -> float:
        """The share that tiles need: of wider lines as much more, so that it takes as long a boundary."""
        return self.made.occupancy * row.radius

    def network(self, row: Row) -> tuple[float, dict[str, Any]]:
        """Learning rate and settings of a row's network."""
        if row.network != OURS:
            return NETWORKS[row.network]
        return self.trained.optimiser.learning_rate, self.trained.network.model_dump(mode="json")

    def tests(self, row: Row) -> tuple[PairStore, PairStore, PairStore | None]:
        """Held-out pairs of random transforms without the identity, probes, and pairs of real predictions."""
        test = row._replace(source="random", identity=0.0)
        made = {"train_pairs": 1, "val_pairs": TEST_PAIRS, "probe_tiles": PROBE_TILES, "seed": 7}
        hard = self._pairs(test, self._samples(row), made)
        real = self._pairs(test, self.given.predicted, {**made, "predicted": 1.0}) if self._real(row) else None
        return PairStore(hard, "val"), PairStore(hard, "probe"), PairStore(real, "val") if real else None

    def training(self, row: Row) -> list[PairStore]:
        """Pairs to learn from, one store after another."""
        made = {"train_pairs": self.given.steps * BATCH, "val_pairs": 1, "probe_tiles": 1}
        own = PairStore(self._pairs(row, self._samples(row), made), "train")
        return [PairStore(self._pairs(row, self.given.procedural, made), "train"), own] if row.pretrained else [own]

    def _real(self, row: Row) -> bool:
        return self.given.predicted is not None and row.shrink == row.radius == 1

    def _pairs(self, row: Row, samples: Path, made: Mapping[str, Any]) -> Path:
        chosen = {"tile": row.tile, "source": row.source, "identity": row.identity, "occupancy": self.occupancy(row)}
        params = self.made.model_copy(update={"workers": 1, "predicted": 0.0, "pairs_per_sample": 32, **chosen, **made})
        folder = self.work / f"pairs-{fingerprint(params.model_dump(mode='json'), str(samples))[:12]}"
        return _whole(folder, lambda into: synthesize(params, samples=samples, pairs=into))

    def _samples(self, row: Row) -> Path:
        if row.shrink == row.radius == 1:
            return self.given.samples
        return _whole(self.work / f"samples-{row.shrink}-{row.radius}", lambda into: self._derive(row, into))

    def _derive(self, row: Row, folder: Path) -> None:
        """The same samples at another resolution, with boundaries of another width."""
        store = SampleStore.open(self.given.samples)
        line = BoundaryParams(operator=store.info.boundary.operator, radius=row.radius)
        counts = {split: store.size(split) for split in ("train", "val")}
        folder.mkdir(parents=True)
        for split in counts:
            write_samples(folder, store.info.model_copy(update={"boundary": line, "counts": counts}), split,
                          _smaller(store, split, row.shrink, line), shard_bytes=1 << 27)  # fmt: skip
        write_info(folder, store.info.model_copy(update={"boundary": line, "counts": counts}))

    def train(self, row: Row) -> tuple[InverseNet, float | None]:
        """The network of a row, and the milliseconds of one core that a step took; None if it was trained before."""
        stores, (rate, network) = self.training(row), self.network(row)
        numbers = self.made.degrees_of_freedom
        mean, scale = stores[-1].moments(numbers)
        units = {"mean": mean.tolist(), "scale": scale.tolist()}
        settings = InverseNetSettings.model_validate({"network": network, **stores[-1].settings, **units}, strict=False)
        distances = euclidean(stores[-1].theta())
        torch.manual_seed(1)
        direct = row.regressed == "distance" and row.network != OURS
        net = Direct(settings, distances) if direct else InverseNet(settings)
        optimiser = OptimiserParams(name="adamw", learning_rate=rate, weight_decay=0.01, steps=self.given.steps,
                                    batch=BATCH, warm_up=50, schedule="cosine", seed=1)  # fmt: skip

        def batch(step: int) -> Pairs:
            # One schedule over all stores: the last one gets the small steps.
            return stores[step * len(stores) // self.given.steps].batch(step, BATCH, seed=1)

        def loss(_: nn.Module, pairs: Pairs) -> dict[str, Tensor]:
            tile, warped, theta = reflect(pairs.tile, pairs.warped, pairs.theta, pairs.seed)
            each = net.refine(degrade(warped.float(), pairs.seed, self.trained.degradation), tile.float())
            if row.regressed == "theta":
                errors = [answer - (offsets(theta, numbers) - net.mean) / net.scale for answer in each]
            else:
                read, truth = _reading(net, row), euclidean(theta)
                errors = [(read(net.theta(answer)) - truth) / distances.std() for answer in each]
            return {"total": torch.stack([error.square().mean() for error in errors]).mean()}

        learned = self.settings(row._replace(name="", tables="", calibrated=True, distance="euclidean"))
        run = fingerprint({**learned, "real_pairs": 0})
        if not row.trained:
            return net.eval(), None
        begun, done = time.process_time(), 0
        for _ in train(net, batch, loss, optimiser, place=Place(self.work / f"net-{run[:12]}", run), keep=True):
            done += 1
        return net.eval(), 1000 * (time.process_time() - begun) / done if done > 1 else None


def _reading(net: InverseNet, row: Row) -> Distance:
    """How a distance is read from what a network says."""
    return (lambda theta: theta[:, 0, 2]) if isinstance(net, Direct) else DISTANCES[row.distance]  # pyright: ignore


def _smaller(store: SampleStore, split: str, step: int, line: BoundaryParams) -> Iterator[StoredSample]:
    for index in range(store.size(split)):
        sample = store.sample(split, index)
        image = sample.image[:, ::step, ::step].permute(1, 2, 0).contiguous().numpy()
        labels = sample.labels[::step, ::step].contiguous()
        edge, valid = boundaries(
            labels[None], num_classes=len(store.info.classes), operator=line.operator, radius=line.radius
        )
        yield stored(sample.name, Reading(encode_png(image), image, labels.numpy()), edge[0], valid[0])


def _whole(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that is there whole or is made now."""
    if not folder.exists():
        shutil.rmtree(part := folder.with_name(f".partial.{folder.name}"), ignore_errors=True)
        make(part)
        part.rename(folder)
    return folder


@torch.no_grad()
def measure(row: Row, net: InverseNet, bench: Bench) -> dict[str, Any]:
    """The figures of a trained network on held-out images."""
    test, probe, real = bench.tests(row)
    if not row.calibrated:
        plain = Plain(net.settings)
        plain.load_state_dict(net.state_dict())
        net = plain.eval()
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in net.parameters()), "ms_per_tile": speed(net)}
    found |= _explained(row, net, test, bench, real=False) | (
        _explained(row, net, real, bench, real=True) if real else {}
    )
    moves, parts = probes(row.tile), []
    asked = cycle(moves)
    for pairs in probe.all():
        which = list(islice(asked, len(pairs.seed)))
        degraded = degrade(pairs.warped.float(), pairs.seed, bench.trained.degradation)
        distance = _reading(net, row)
        parts.append(answers(net, pairs.tile.float(), pairs.warped.float(), degraded, which, distance=distance))
    table = Answers(*(torch.cat(c).unflatten(0, (-1, len(moves))) for c in zip(*parts, strict=True)))
    each = {name: value for name, value in figures(table, moves, row.tile).items() if not isinstance(value, dict)}
    # One number is no displacement.
    return found | (each | {"normal_error_pixels": None} if isinstance(net, Direct) else each)


def _explained(row: Row, net: InverseNet, store: PairStore, bench: Bench, *, real: bool) -> dict[str, Any]:
    """R2 of theta and of the distance, of hard and of degraded maps, or of real predictions."""
    explained, read, truth = Explained(net), _reading(net, row), DISTANCES[row.distance]  # pyright: ignore
    scores = {"r2_d": Determination(1), "r2_d_degraded": Determination(1)}
    occupied: list[float] = []
    for pairs in store.all():
        tile, warped = pairs.tile.float(), pairs.warped.float()
        soft = pairs.prediction / 255 if real else degrade(warped, pairs.seed, bench.trained.degradation)  # pyright: ignore
        occupied.append(tile.mean().item())
        if not isinstance(net, Direct):
            explained.update(tile, warped, soft, pairs.theta)
        for score, predicted in zip(scores.values(), (warped, soft), strict=True):
            score.update(read(net.estimate(predicted, tile))[:, None], truth(pairs.theta)[:, None])
    known = explained.figures() if explained.parts["r2"].count else {}
    if real:
        return {name.replace("degraded", "real"): known.get(name) for name in ("r2_degraded", "r2_degraded_calibrated")}
    taken = {f"{name}_taken": known.get(f"{name}_calibrated") for name in ("r2", "r2_degraded")}
    share = {"boundary_share": statistics.fmean(occupied)}
    return share | known | taken | {name: score.compute()[0] for name, score in scores.items()}


@torch.no_grad()
def speed(net: InverseNet) -> float:
    """Milliseconds of one core that an answer takes, the target described already; the median of some batches."""
    side = net.settings.tile
    target, predicted = torch.rand(2, TIMED, side, side, generator=torch.Generator().manual_seed(0)) < 0.06
    embedded, predicted, times = net.embed(target.float()), predicted.float(), []
    for _ in range(RUNS + 1):
        begun = time.thread_time()
        net.compare(predicted, embedded)
        times.append(1000 * (time.thread_time() - begun) / TIMED)
    return statistics.median(times[1:])


def read(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by name."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def write(path: Path, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table whole, its rows in the order of `rows`."""
    order = [row.name for row in rows()]
    lines = sorted(table.values(), key=lambda line: order.index(line["name"]) if line["name"] in order else len(order))
    names = list(dict.fromkeys(name for line in lines for name in line))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".partial.{path.name}")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    os.replace(part, path)


def show(table: Mapping[str, Mapping[str, str]]) -> None:
    """Print the tables."""
    for letter, columns in SHOWN.items():
        lines = [line for line in table.values() if letter in line["tables"]]
        print(f"\n{letter}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for line in lines:
            print(f"| {' | '.join(_cell(line.get(name, '')) for name in columns)} |")


def _cell(value: str) -> str:
    return f"{float(value):.3f}" if "." in value and value.replace(".", "").strip("-e").isdigit() else value


def main() -> None:
    """Train and measure what the table lacks, then print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="a folder that ingest wrote")
    parser.add_argument("--output", type=Path, required=True, help="the CSV")
    parser.add_argument(
        "--procedural", type=Path, help="the same of procedural scenes; without it no row is pre-trained"
    )
    parser.add_argument("--predicted", type=Path, help="the same as --samples, with predictions")
    parser.add_argument("--params", type=Path, default=Path("recipes/universal.yaml"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "inverseform-ablation")
    parser.add_argument(
        "--steps", type=int, default=400, help=f"of {BATCH} pairs, for every row (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="*", metavar="ROW", help="names of rows", choices=[row.name for row in rows()])
    given = parser.parse_args()
    torch.set_num_threads(1)
    bench, machine = Bench(given), f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread"
    for row in rows():
        settings = {name: str(value) for name, value in bench.settings(row).items()}
        before = read(given.output).get(row.name, {})
        same = all(before.get(name) == value for name, value in settings.items())
        if same or (given.only and row.name not in given.only) or (row.pretrained and not given.procedural):
            continue
        print(f"{time.strftime('%H:%M:%S')} {row.name}", flush=True)
        net, step = bench.train(row)
        line = {**settings, "ms_per_training_step": step, **measure(row, net, bench), "machine": machine}
        write(given.output, {**read(given.output), row.name: line})
    show(read(given.output))


if __name__ == "__main__":
    main()
