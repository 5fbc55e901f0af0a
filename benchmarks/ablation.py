"""Ablations of the inverse network as a table: all trained for as many pairs, measured on the same held-out images.

    python -m benchmarks.ablation --samples data/samples --output docs/ablation.csv
    python -m benchmarks.ablation --samples data/samples --output docs/ablation.csv --only "tile 64"

`--procedural DIR`, a store of `recipes/universal.yaml`'s ingest, is what rows are pre-trained on; `--predicted DIR`,
the samples with what a network predicted for each, adds R2 on real predictions. A row that the CSV has with the same
settings is not trained again, and one that was interrupted goes on from its checkpoint in `--work`. What rows do not
set is read from `--params`. At the end the tables are printed.
"""

import argparse
import csv
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.ablation_bench import BATCH, LEVELS, OURS, Bench, Row
from inverseform.settings import InputError

TITLES = {
    "A": "Networks; pretrained: on procedural pairs for the first half of the steps",
    "B": "Side of the tile",
    "C": "Resolution and width of the boundary",
    "D": "Transforms at random, or by a spatial transformer that looks at the image",
    "E": "Regressing the distance itself instead of theta (sec. 3.2)",
    "F": "Identity pairs; calibrated: less what is said of the truth with itself",
    "G": "Distances, of one network",
    "H": "Levels of ours: two fine ones that compare a cell with its like alone, and others",
}
POINTS = ["points_back", "points_back_degraded"]
MOVES = ["spearman_shift", "spearman_scale", "spearman_rotation", "spearman_shear"]
R2 = ["r2_calibrated", "r2_degraded_calibrated"]
SHOWN = {
    "A": ["network", "pretrained", "steps", "parameters", *R2, *POINTS, "normal_error_pixels", "ms_per_tile"],
    "B": ["tile", "boundary_share", *R2, *POINTS, "normal_error_pixels", "ms_per_tile"],
    "C": ["resolution", "radius", "occupancy", "boundary_share", *R2, *POINTS, "normal_error_pixels"],
    "D": ["source", *R2, "r2_real_calibrated", *POINTS, "normal_error_pixels"],
    "E": ["network", "regressed", "trained", "steps", "calibrated", "r2_d", "r2_d_degraded", *MOVES[:2], *POINTS],
    "F": ["network", "trained", "steps", "identity", "calibrated", "identity_ratio", "r2_taken", *MOVES, *POINTS],
    "H": ["network", "parameters", *R2, *POINTS, "normal_error_pixels", "ms_per_tile"],
    "G": ["distance", "r2_d", *MOVES, *POINTS],
}
HEADS = {
    "pretrained": "pre-trained", "r2_calibrated": "R2 hard", "r2_degraded_calibrated": "R2 degraded", "r2_taken": "R2",
    "r2_real_calibrated": "R2 real predictions", "points_back": "points back", "ms_per_tile": "ms per tile",
    "points_back_degraded": "points back, degraded", "normal_error_pixels": "normal error, px", "r2_d": "R2 of d",
    "r2_d_degraded": "R2 of d, degraded", "identity_ratio": "d(x,x) ratio", "boundary_share": "boundary in a tile",
    "identity": "identity pairs",
}  # fmt: skip


def rows() -> list[Row]:
    """All rows, what matters most first."""
    dense, paper, siamese = "small dense", "the paper's dense", "AET siamese"
    return [
        Row(OURS, "ABCDEFGH"), Row(dense, "AEF", dense), Row(paper, "A", paper),
        Row("small dense, distance regressed", "E", dense, regressed="distance"),
        Row("small dense, random weights", "EF", dense, trained=False),
        Row("small dense, 5% identity pairs, not calibrated", "EF", dense, calibrated=False),
        Row("ours, 5% identity pairs, not calibrated", "EF", calibrated=False),
        Row(siamese, "A", siamese), Row("ours, distance regressed", "E", regressed="distance"),
        Row("spatial transformer", "D", source="spatial_transformer"), Row("tile 64", "B", tile=64),
        Row("small dense, distance regressed, not calibrated", "E", dense, regressed="distance", calibrated=False),
        Row("ours, distance regressed, not calibrated", "E", regressed="distance", calibrated=False),
        *(Row(f"distance {name}", "G", distance=name) for name in ("geodesic", "lie")),
        Row(f"{OURS}, pre-trained", "A", pretrained=True), Row("radius 1, 1/2", "C", shrink=2),
        Row("radius 3, 1/1", "C", radius=3), *_identity((0.0, 0.2)), Row("tile 96", "B", tile=96),
        Row("small dense, 6 times", "AEF", dense, longer=6),
        Row("small dense, 6 times, distance regressed", "E", dense, longer=6, regressed="distance"),
        Row("small dense, 6 times, not calibrated", "EF", dense, longer=6, calibrated=False),
        *(Row(f"{name}, pre-trained", "A", name, pretrained=True) for name in (dense, siamese, paper)),
        Row("the published, tile 224", "A", "the published", tile=224),
        *(Row(name, "H", name) for name in LEVELS), Row("tile 192", "B", tile=192), Row("radius 2, 1/1", "C", radius=2),
        *(Row(f"radius {radius}, 1/2", "C", shrink=2, radius=radius) for radius in (2, 3)),
    ]  # fmt: skip


def _identity(shares: tuple[float, ...]) -> list[Row]:
    names = {share: f"ours, {share:.0%} identity pairs" for share in shares}
    plain = [Row(f"{name}, not calibrated", "F", identity=share, calibrated=False) for share, name in names.items()]
    return [*(Row(name, "F", identity=share) for share, name in names.items()), *plain]


def read(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by name."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        return {line["name"]: line for line in csv.DictReader(file)}


def write(path: Path, table: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a table whole, its rows in the order of `rows`."""
    order = {row.name: place for place, row in enumerate(rows())}
    lines = sorted(table.values(), key=lambda line: order.get(line["name"], len(order)))
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
        heads = [HEADS.get(name, name.replace("_", " ")) for name in columns]
        print(f"\n{letter}. {TITLES[letter]}\n\n| {' | '.join(heads)} |\n|{'---|' * len(columns)}")
        for line in table.values():
            if letter in line["tables"]:
                print(f"| {' | '.join(_cell(line.get(name) or '-') for name in columns)} |")
    print("\n" + "; ".join(sorted({line["machine"] for line in table.values()})))


def _cell(value: str) -> str:
    words = {"True": "yes", "False": "no"}
    return f"{float(value):.3f}" if value.lstrip("-")[:1].isdigit() and "." in value else words.get(value, value)


def complete(given: argparse.Namespace) -> None:
    """Train and measure what the table lacks, row by row."""
    bench = Bench(given)
    machine = f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread"
    for row in rows():
        settings = {name: str(value) for name, value in bench.settings(row).items()}
        before = read(given.output).get(row.name, {})
        same = all(before.get(name) == value for name, value in settings.items())
        if same or (given.only and row.name not in given.only) or (row.pretrained and not given.procedural):
            continue
        print(f"{time.strftime('%H:%M:%S')} {row.name}", flush=True)
        net, step = bench.train(row)
        line = {
            **settings,
            "ms_per_training_step": step or before.get("ms_per_training_step"),
            **bench.measure(row, net),
            "machine": machine,
        }
        write(given.output, {**read(given.output), row.name: line})


def main() -> None:
    """Train and measure what the table lacks, then print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="a folder that ingest wrote")
    parser.add_argument("--output", type=Path, required=True, help="the CSV")
    parser.add_argument("--procedural", type=Path, help="the same of drawn scenes; without it, no row is pre-trained")
    parser.add_argument("--predicted", type=Path, help="the same as --samples, with predictions")
    parser.add_argument("--params", type=Path, default=Path("recipes/universal.yaml"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "inverseform-ablation")
    parser.add_argument("--steps", type=int, default=400, help=f"of {BATCH} pairs, each row (default: %(default)s)")
    parser.add_argument("--only", nargs="*", metavar="ROW", help="names of rows", choices=[row.name for row in rows()])
    given = parser.parse_args()
    torch.set_num_threads(1)
    try:
        complete(given)
    except (InputError, OSError) as error:
        sys.exit(f"ablation: {error}")
    show(read(given.output))


if __name__ == "__main__":
    main()
