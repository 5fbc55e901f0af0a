"""Evaluate: a trained segmenter and the samples it never saw to metrics, a verdict, plots and a report."""

import csv
import json
import logging
import re
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field

from components import stage
from components.progress import track
from components.stage import Input, Output, Report
from inverseform import networks, weights
from inverseform.data.sample_store import SampleStore
from inverseform.inference import segment
from inverseform.metrics import GateParams
from inverseform.metrics.boundary import DISTANCES, BoundaryAccuracy
from inverseform.metrics.gate import decide
from inverseform.metrics.segmentation import Confusion, examples
from inverseform.networks import Card, Segmenter
from inverseform.overlay import Drawn, keep_worst, strip
from inverseform.plots import Points, read_curves
from inverseform.report import Contents, render
from inverseform.scores import InferenceParams
from inverseform.settings import InputError, Settings

CONFUSION_ROWS = 5000
"""Most rows of confusion.csv, one for each pixel or for so many pixels."""

log = logging.getLogger("inverseform")


class Judged(NamedTuple):
    """What is kept of a split: it does not grow with the number of samples."""

    confusion: Confusion
    boundary: BoundaryAccuracy
    worst: list[Drawn]
    """Samples of the least mean boundary accuracy, the worst first."""


class EvaluateParams(Settings):
    """How good the segmentation is, and whether it is good enough to be exported."""

    split: Literal["val", "test"]
    """Which samples are looked at."""
    overlays: int = Field(ge=0)
    """How many of the worst samples are drawn."""
    inference: InferenceParams
    """How the network is shown an image; `inverseform predict` has the same settings."""
    gate: GateParams


def evaluate(
    params: EvaluateParams,
    *,
    samples: Input,
    segmenter: Input,
    curves: Input,
    metrics: Output,
    gate: Output,
    plots: Output,
    report: Output,
) -> Report:
    """Compare the predictions for a split with its labels, at the size of the labels.

    A network that does not reach the gate's thresholds is no error here: gate.json says so, and export goes by it.

    Raises:
        InputError: The split has no samples, or the segmenter is of other classes.
    """
    start = time.monotonic()
    store = _open_samples(samples, params.split)
    network, card = networks.load(segmenter)
    _check_classes(card, store, segmenter=segmenter, samples=samples)
    # Read before the long part: what is wrong with it shows in a second.
    terms = read_curves(curves)
    bare = network.without_boundary_head()
    judged = judge(bare, card, store, split=params.split, overlays=params.overlays, inference=params.inference)
    figures = summary(judged)
    verdict = {**decide(figures, params.gate), "segmenter": weights.digest(segmenter)}
    iou = dict(zip(card.classes, judged.confusion.scores().iou, strict=True))
    _write_json(metrics, {**figures, "iou": iou})
    _write_json(gate, verdict)
    write_plots(plots, judged, classes=card.classes)
    report.write_text(render(_contents(params, card, store, judged, verdict, terms)), encoding="utf-8")
    _announce(verdict)
    # An engine's metrics are numbers; what has none is null in the file and left out here.
    defined = {name: value for name, value in figures.items() if value is not None}
    return {**defined, "passed": verdict["passed"], "seconds": time.monotonic() - start}


def judge(
    network: Segmenter, card: Card, store: SampleStore, *, split: str, overlays: int, inference: InferenceParams
) -> Judged:
    """Segment every sample of a split and count what is right; memory stays flat."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device).eval()
    judged = Judged(Confusion(len(card.classes), device=device), BoundaryAccuracy(), [])
    with torch.inference_mode():
        for index in track(range(store.size(split)), description=f"evaluate {split}", total=store.size(split)):
            sample = store.sample(split, index)
            predicted = segment(
                lambda images: network(images).segmentation,
                sample.image.to(device),
                mean=card.mean,
                std=card.std,
                inference=inference,
            )
            labels = sample.labels.to(device)
            judged.confusion.update(predicted, labels)
            mba = judged.boundary.update(predicted, labels)
            keep_worst(judged.worst, sample, predicted.cpu(), mba=mba, colours=card.colours, most=overlays)
    return judged


def summary(judged: Judged) -> dict[str, float | int | None]:
    """The headline figures by name; None where there is no value."""
    scores, boundary = judged.confusion.scores(), judged.boundary.scores()
    within = {f"accuracy_within_{d}_px": share for d, share in zip(DISTANCES, boundary.within, strict=True)}
    return {
        "miou": scores.miou,
        "mba": boundary.mba,
        "pixel_accuracy": scores.pixel_accuracy,
        **within,
        "images": boundary.images + boundary.undefined,
        "images_without_boundary": boundary.undefined,
        "undefined_classes": scores.iou.count(None),
    }


def write_plots(folder: Path, judged: Judged, *, classes: tuple[str, ...]) -> None:
    """Tables and pictures for `dvc plots`."""
    (folder / "overlays").mkdir(parents=True)
    pixels = examples(judged.confusion.counts, most=CONFUSION_ROWS)
    _write_table(folder / "confusion.csv", [("actual", "predicted"), *((classes[a], classes[p]) for a, p in pixels)])
    near = [row for row in zip(DISTANCES, judged.boundary.scores().within, strict=True) if row[1] is not None]
    _write_table(folder / "boundary_accuracy.csv", [("pixels", "accuracy"), *near])
    for rank, drawn in enumerate(judged.worst, start=1):
        # Samples may be named by paths and in any script; a file name holds neither on every system.
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", drawn.name)[:80]
        strip(drawn.panels).save(folder / "overlays" / f"{rank:02d}_{name}.png")


def _open_samples(samples: Path, split: str) -> SampleStore:
    store = SampleStore.open(samples)
    if split not in store.splits or not store.size(split):
        filled = ", ".join(name for name in store.splits if store.size(name)) or "none"
        raise InputError(
            f"evaluate.split is {split} and {samples} has no such samples; set it to a split that has some ({filled}) "
            "in params.yaml"
        )
    return store


def _check_classes(card: Card, store: SampleStore, *, segmenter: Path, samples: Path) -> None:
    """Refuse a network that was trained for other classes: its ids would mean something else."""
    if card.classes != store.info.classes:
        raise InputError(
            f"{segmenter} was trained for the classes {', '.join(card.classes)} and {samples} has "
            f"{', '.join(store.info.classes)}; run `dvc repro train_segmentation` on these samples"
        )


def _contents(
    params: EvaluateParams,
    card: Card,
    store: SampleStore,
    judged: Judged,
    verdict: dict[str, Any],
    curves: dict[str, Points],
) -> Contents:
    """What the report tells."""
    counts = ", ".join(f"{count} {split}" for split, count in store.info.counts.items())
    facts = {
        "Data set": f"{store.info.source} ({counts} samples)",
        "Evaluated": f"{store.size(params.split)} samples of split {params.split}, at full size",
        "Network": networks.describe(card.network),
        "Segmenter, SHA-256": verdict["segmenter"],
        "Inverse network, SHA-256": card.inverse_net or "none",
        "Training settings, SHA-256": card.params,
    }
    shown = {"evaluate": params.model_dump(mode="json"), "segmenter": card.model_dump(mode="json", exclude={"colours"})}
    return Contents(
        title=f"{store.info.source}, split {params.split}",
        facts=facts,
        params=shown,
        classes=card.classes,
        colours=card.colours,
        counts=judged.confusion.counts.cpu(),
        boundary=judged.boundary.scores(),
        gate=verdict,
        curves=curves,
        drawn=judged.worst,
    )


def _announce(verdict: dict[str, Any]) -> None:
    """Say whether the gate is passed, and if not, why."""
    if verdict["passed"]:
        log.info("the gate is passed")
    for check in verdict["checks"]:
        if not check["passed"]:
            found = check.get("reason") or f"{check['metric']} is {check['value']:.4f}"
            log.warning("the gate is NOT passed: %s, at least %g asked; export refuses", found, check["threshold"])


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _write_table(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    stage.main(evaluate)
