"""Export: the trained segmenter without its boundary head as one ONNX file, compared with torch, and its model card."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from components import stage
from components.model_card import model_card, shown
from components.progress import track
from components.stage import Input, Output, Report
from inverseform import networks, weights
from inverseform.data.sample_store import SampleStore
from inverseform.export import Agreement, compare, cropped, to_onnx
from inverseform.inference import OnnxSegmenter
from inverseform.manifest import Manifest
from inverseform.networks import Card, Segmenter
from inverseform.sample import IGNORE_INDEX
from inverseform.settings import InputError, Settings

LICENCE = (
    "The code that trained and exported this network is Apache-2.0. The weights come from the data set they were "
    "trained on: its terms hold for them, and many such sets are for research only. The licence of the original "
    "InverseForm code grants no patent rights."
)

log = logging.getLogger("inverseform")


class ExportParams(Settings):
    """The head-free ONNX file."""

    opset: int = Field(ge=1)
    """Of ONNX; what torch cannot write is refused."""
    tolerance: float = Field(gt=0)
    """Largest absolute difference of a logit from torch's."""
    samples: int = Field(ge=1)
    """How many real samples are compared."""
    provider: Literal["cpu", "cuda"]
    """What onnxruntime runs on for the comparison; one that is not there is an error."""


def export(
    params: ExportParams,
    *,
    samples: Input,
    segmenter: Input,
    gate: Input,
    onnx: Output,
    agreement: Output,
    card: Output,
) -> Report:
    """Write the network that runs at inference, and prove on real samples that it is the one that was trained.

    Raises:
        InputError: The gate is not passed, or was passed by another network; torch does not write the opset; a logit
            is further from torch's than the tolerance. Nothing is written then.
    """
    start = time.monotonic()
    network, trained = networks.load(segmenter)
    digest = weights.digest(segmenter)
    # Before the slow part, and by hash: a verdict holds for the very weights it was passed on.
    checks = read_gate(gate, digest=digest, segmenter=segmenter)
    store = SampleStore.open(samples)
    if store.info.classes != trained.classes:
        raise InputError(
            f"{samples} has the classes {', '.join(store.info.classes)} and {segmenter} those of "
            f"{', '.join(trained.classes)}; name the samples it was trained on"
        )
    manifest = manifest_of(trained, digest=digest)
    log.info("export: writing opset %d", params.opset)
    to_onnx(network, onnx, opset=params.opset, metadata=manifest.properties())
    try:
        found = compare_samples(onnx, network, trained, store, params=params)
    except InputError:
        onnx.unlink()
        raise
    figures = found._asdict()
    sizes = list(dict.fromkeys(figures.pop("sizes")))
    about = {**params.model_dump(mode="json"), "sizes": sizes, "segmenter": digest}
    agreement.write_text(json.dumps({"logits": figures, **about}, indent=1) + "\n")
    card.write_text(model_card(manifest, store.info, about, figures=figures, checks=checks), encoding="utf-8")
    return {**figures, "megabytes": onnx.stat().st_size / 1e6, "seconds": time.monotonic() - start}


def read_gate(gate: Path, *, digest: str, segmenter: Path) -> list[dict[str, Any]]:
    """The checks that a network passed.

    Raises:
        InputError: It did not pass them, the file is about another network, or it is no gate.
    """
    try:
        verdict = json.loads(gate.read_text())
        passed, checks, judged = verdict["passed"], verdict["checks"], verdict["segmenter"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{gate}: is not what evaluate writes ({error!r}); run the stage evaluate again") from error
    if judged != digest:
        raise InputError(
            f"{gate}: judges the network {str(judged)[:12]} and {segmenter} holds {digest[:12]}; "
            f"run the stage evaluate for this one"
        )
    if passed is not True:
        missed = ", ".join(
            f"{check['metric']} is {shown(check['value'])} and {shown(check['threshold'])} is asked"
            for check in checks
            if not check["passed"]
        )
        raise InputError(
            f"{gate}: the gate is not passed ({missed}); train a better network, or lower evaluate.gate in params.yaml"
        )
    return checks


def manifest_of(card: Card, *, digest: str) -> Manifest:
    """What the file says about itself."""
    return Manifest(
        classes=card.classes,
        colours=card.colours,
        mean=card.mean,
        std=card.std,
        ignore_index=IGNORE_INDEX,
        params=card.params,
        inverse_net=card.inverse_net or "",
        segmenter=digest,
        licence=LICENCE,
    )


def compare_samples(
    onnx: Path, network: Segmenter, card: Card, store: SampleStore, *, params: ExportParams
) -> Agreement:
    """Compare the file with torch on real samples, each as it is and cropped.

    Raises:
        InputError: A logit is further away than the tolerance, or the provider is not to be had.
    """
    exported = OnnxSegmenter(onnx, provider=params.provider)
    found = compare(exported.logits, network, _images(store, card, most=params.samples))
    log.info(
        "export: logits differ by %.3g at most (%.2g of their range), the tolerance is %.3g; %.4f%% of pixels agree",
        found.largest_difference, found.largest_relative_difference, params.tolerance, 100 * found.same_class,
    )  # fmt: skip
    # Said this way round as a nan is not within any tolerance.
    if not found.largest_difference <= params.tolerance:
        raise InputError(
            f"export.tolerance is {params.tolerance:g} and a logit of the exported network differs from torch's by "
            f"{found.largest_difference:.3g} ({found.largest_relative_difference:.2g} of the range of the logits, "
            f"{100 * found.same_class:.4f}% of pixels of the same class); look into it, or raise export.tolerance"
        )
    return found


def _images(store: SampleStore, card: Card, *, most: int) -> Iterator[Float[Tensor, "1 3 _ _"]]:
    """Normalised samples spread over the first split that has any of those not trained on; each whole and cropped."""
    split = next((name for name in ("test", "val", "train") if store.info.counts.get(name)), "test")
    size = store.info.counts.get(split, 0)
    count = min(most, size)
    for number in track(range(count), description="export: compare", total=count):
        pixels = store.sample(split, number * size // count).image[None]
        image = networks.normalise(pixels, mean=card.mean, std=card.std)
        yield image
        yield cropped(image)


if __name__ == "__main__":
    stage.main(export)
