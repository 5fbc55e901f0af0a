"""The page that goes with an exported network: what it is, how good it is, and where it comes from."""

from collections.abc import Iterable
from typing import Any

from inverseform.data.sample_store import DatasetInfo
from inverseform.manifest import PREPROCESSING, Manifest


def model_card(
    manifest: Manifest, data: DatasetInfo, about: dict[str, Any], *, figures: dict[str, float], checks: list[dict]
) -> str:
    """The page that goes with the file, as Markdown."""
    colours = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in manifest.colours)
    classes = zip(range(len(manifest.classes)), manifest.classes, colours, strict=True)
    return f"""# Segmentation network: {len(manifest.classes)} classes of the data set {data.source}

A segmentation network as one ONNX file, trained with boundary-aware terms (InverseForm) that leave nothing behind:
the boundary head is not in the graph. It gives the class of each pixel of an RGB image.

    inverseform predict segmenter.onnx photo.png -o mask.png

This needs the file alone, with onnxruntime, numpy and Pillow (`pip install 'inverseform[onnx-cpu,predict]'`).

## Classes

{_table(("id", "class", "colour"), classes)}

## Input and output

- `image`: float32, batch x 3 x height x width, any of them.
- `logits`: float32, batch x {len(manifest.classes)} x height x width.
- {PREPROCESSING}
- mean {_numbers(manifest.mean)}; std {_numbers(manifest.std)}.
- Label {manifest.ignore_index} (unknown) is never predicted.
- ONNX opset {about["opset"]}. All of this is in the metadata of the file too.

{_evidence(data, about, figures=figures, checks=checks)}

## Where it comes from

{_table(("what", "SHA-256"), _origins(manifest))}

## Licence

{manifest.licence}
"""


def _evidence(data: DatasetInfo, about: dict[str, Any], *, figures: dict[str, float], checks: list[dict]) -> str:
    """The sections on how good it is, and on how near the file is to what was trained."""
    counts = ", ".join(f"{count} {split}" for split, count in data.counts.items())
    gate = _table(
        ("metric", "value", "at least"), ((c["metric"], shown(c["value"]), shown(c["threshold"])) for c in checks)
    )
    return f"""## How good it is

Trained and judged on {data.source} ({counts} samples). All figures are in reports/evaluate/metrics.json and
reports/evaluate/report.html. It was exported as it passed this gate:

{gate}

They hold for images like those of that data set, and say nothing of others.

## Agreement with torch

On real samples ({about["samples"]} at most), each whole and cropped ({", ".join(about["sizes"])}), by onnxruntime
on {about["provider"]}:

- largest difference of a logit: {figures["largest_difference"]:.3g} (tolerance {about["tolerance"]:g});
- relative to the range of the logits: {figures["largest_relative_difference"]:.2g};
- pixels of the same class: {100 * figures["same_class"]:.4f}%."""


def _origins(manifest: Manifest) -> list[tuple[str, str]]:
    return [
        ("weights of the segmenter", manifest.segmenter),
        ("frozen inverse network", manifest.inverse_net or "none was used"),
        ("train_segmentation in params.yaml", manifest.params),
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def shown(value: float | None) -> str:
    """A figure for people to read, also where it is not defined."""
    return "undefined" if value is None else f"{value:.4g}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
