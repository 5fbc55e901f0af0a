"""Evaluate: a trained segmenter and the samples it never saw to metrics, a verdict, plots and a report."""

import csv
import json
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field

from components import provenance, stage
from components.judging import Judged, judge
from components.stage import Extra, Input, Output, Report
from inverseform import networks, weights
from inverseform.data.sample_store import SampleStore
from inverseform.evaluation import images as tables
from inverseform.evaluation.comparison import Comparison, compare
from inverseform.evaluation.figures import Estimate, estimates
from inverseform.evaluation.measures import DISTANCES
from inverseform.metrics import GateParams
from inverseform.metrics.gate import decide
from inverseform.metrics.segmentation import examples
from inverseform.networks import Card
from inverseform.overlay import strip
from inverseform.plots import Points, read_curves
from inverseform.report.page import Contents, render
from inverseform.scores import InferenceParams
from inverseform.settings import InputError, Settings

CONFUSION_ROWS = 5000
"""Most rows of confusion.csv, one for each pixel or for so many pixels."""

log = logging.getLogger("inverseform")


class EvaluateParams(Settings):
    """How good the segmentation is, and whether it is good enough to be exported."""

    split: Literal["val", "test"]
    """Which samples are looked at."""
    overlays: int = Field(ge=0)
    """How many of the worst samples are drawn, and half as many of the middle."""
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
    images: Output,
    plots: Output,
    report: Output,
    against: Extra = None,
) -> Report:
    """Compare the predictions for a split with its labels, at the size of the labels.

    A network that does not reach the gate's thresholds is no error here: gate.json says so, and export goes by it. The
    report holds it against an earlier evaluation if one is named: --against its folder, or a file in it.

    Raises:
        InputError: The split has no samples, the segmenter is of other classes, or the earlier evaluation of others.
    """
    start = time.monotonic()
    store = _open_samples(samples, params.split)
    network, card = networks.load(segmenter)
    _check_classes(card, store, segmenter=segmenter, samples=samples)
    # Read before the long part: what is wrong with it shows in a second.
    terms = read_curves(curves)
    earlier = against and tables.read_earlier(
        against, split=params.split, classes=card.classes, names=store.names(params.split)
    )
    bare = network.without_boundary_head()
    judged = judge(bare, card, store, split=params.split, overlays=params.overlays, inference=params.inference)
    compared = compare(judged.images, earlier, path=against) if against and earlier else None
    found = estimates(judged.images)
    figures = summary(judged, found)
    verdict = {**decide(figures, params.gate), "segmenter": weights.digest(segmenter)}
    _write_json(metrics, {**figures, **_details(found, card.classes)})
    _write_json(gate, verdict)
    tables.write(images, judged.images)
    write_plots(plots, judged, found, classes=card.classes)
    contents = _contents(params, card, store, judged, found, verdict, terms, compared)
    report.write_text(render(contents), encoding="utf-8")
    _announce(verdict)
    confusion = {"classes": list(card.classes), "counts": judged.confusion.tolist()}
    return {**figures, "passed": verdict["passed"], "confusion": confusion, "seconds": time.monotonic() - start}


def summary(judged: Judged, found: Mapping[str, Estimate]) -> dict[str, float | int | None]:
    """The headline figures by name; None where there is no value."""
    classes = judged.images.columns.classes
    with_boundary = int(judged.images.counts[:, judged.images.columns.groups["mba"]].sum(0)[1])
    return {
        # Those of single classes have a space in their names.
        **{name: estimate.value for name, estimate in found.items() if " " not in name},
        "images": len(judged.images.names),
        "images_without_boundary": len(judged.images.names) - with_boundary,
        "undefined_classes": sum(found[f"iou {name}"].value is None for name in classes),
    }


def write_plots(folder: Path, judged: Judged, found: Mapping[str, Estimate], *, classes: tuple[str, ...]) -> None:
    """Tables and pictures for `dvc plots`."""
    (folder / "overlays").mkdir(parents=True)
    pixels = examples(judged.confusion, most=CONFUSION_ROWS)
    _write_table(folder / "confusion.csv", [("actual", "predicted"), *((classes[a], classes[p]) for a, p in pixels)])
    within = [(distance, found[f"accuracy_within_{distance}_px"].value) for distance in DISTANCES]
    near = [row for row in within if row[1] is not None]
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
    found: Mapping[str, Estimate],
    verdict: dict[str, Any],
    curves: dict[str, Points],
    compared: Comparison | None,
) -> Contents:
    """What the report tells."""
    images, sums = judged.images, judged.images.counts.sum(0)
    groups = images.columns.groups
    shown = {"evaluate": params.model_dump(mode="json"), "segmenter": card.model_dump(mode="json", exclude={"colours"})}
    return Contents(
        title=f"{store.info.source}, split {params.split}",
        facts=provenance.facts(card, store, images, segmenter=verdict["segmenter"]),
        params=shown,
        classes=card.classes,
        colours=card.colours,
        counts=judged.confusion,
        bins=torch.stack([sums[groups[name]] for name in ("bin_pixels", "bin_confidence", "bin_right")]),
        figures=found,
        images=len(images.names),
        without_boundary=len(images.names) - int(sums[groups["mba"]][1]),
        gate=verdict,
        curves=curves,
        worst=judged.worst,
        median=judged.median,
        comparison=compared,
    )


def _announce(verdict: dict[str, Any]) -> None:
    """Say whether the gate is passed, and if not, why."""
    if verdict["passed"]:
        log.info("the gate is passed")
    for check in verdict["checks"]:
        if not check["passed"]:
            found = check.get("reason") or f"{check['metric']} is {check['value']:.4f}"
            log.warning("the gate is NOT passed: %s, at least %g asked; export refuses", found, check["threshold"])


def _details(found: Mapping[str, Estimate], classes: tuple[str, ...]) -> dict[str, Any]:
    """What metrics.json has beside the headline figures; DVC shows the numbers and leaves out the lists."""
    intervals = {name: [each.low, each.high] for name, each in found.items() if " " not in name}
    return {"iou": {name: found[f"iou {name}"].value for name in classes}, "interval_95": intervals}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def _write_table(path: Path, rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    stage.main(evaluate)
