"""The segmentation network as one ONNX file, without its boundary head, and whether it still gives the same."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from inverseform.networks import Segmenter
from inverseform.settings import InputError

OLDEST_OPSET = 18
"""What torch's exporter knows to write; an older one that was asked for becomes this one, silently."""


class Agreement(NamedTuple):
    """How far an output of the exported network is from torch's, over all images compared."""

    largest_difference: float
    """Of a logit; nan where either network gives nan."""
    largest_relative_difference: float
    """The same, relative to the range of torch's logits on that image."""
    same_class: float
    """Share of pixels whose largest logit is that of the same class."""
    sizes: tuple[str, ...]
    """Height x width of each image compared, in order."""


class _Logits(nn.Module):
    """A segmenter that gives its logits alone, as an ONNX graph has no named tuples."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes height width"]:
        return self.segmenter(image).segmentation


def to_onnx(segmenter: Segmenter, path: Path, *, opset: int, metadata: Mapping[str, str]) -> None:
    """Write a segmenter without its boundary head as one file, whole or not at all.

    Input `image`: normalised, (batch, 3, height, width), any of them. Output `logits`: (batch, classes, height, width).
    The segmenter itself is left as it is.

    Raises:
        InputError: torch does not write that opset.
    """
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise InputError(f"opset {opset}: torch and onnx {onnx.__version__} write {OLDEST_OPSET} to {newest}; name one")
    # A copy, as the mode and the device of the segmenter are its owner's.
    network = _Logits(copy.deepcopy(segmenter.without_boundary_head())).cpu().eval()
    model = _traced(network, opset=opset)
    _tidy(model, metadata)
    partial = path.with_name(f".partial.{path.name}")
    try:
        onnx.save_model(model, partial, save_as_external_data=False)
        _check(partial, opset=opset)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def compare(
    logits_of: Callable[[Any], Any], segmenter: Segmenter, images: Iterable[Float[Tensor, "_ 3 _ _"]]
) -> Agreement:
    """Run the exported network and torch's on the same normalised images, and compare every logit.

    Args:
        logits_of: The exported network, from numpy to numpy.
        segmenter: In evaluation mode.
        images: Batches of any sizes; at least one.

    Raises:
        InputError: There are no images.
    """
    differences, relative, sizes = [], [], []
    same = pixels = 0
    for image in images:
        with torch.inference_mode():
            expected = segmenter(image).segmentation.cpu()
        found = torch.from_numpy(np.asarray(logits_of(image.cpu().numpy())))
        differences.append((found - expected).abs().max())
        relative.append(differences[-1] / (expected.max() - expected.min()).clamp_min(torch.finfo(torch.float32).tiny))
        agreeing = found.argmax(1) == expected.argmax(1)
        same, pixels = same + int(agreeing.sum()), pixels + agreeing.numel()
        sizes.append(f"{image.shape[2]}x{image.shape[3]}")
    if not sizes:
        raise InputError(f"{len(sizes)} images to compare the exported network on; at least one is needed")
    # torch's max keeps a nan, Python's may lose it.
    largest, largest_relative = (torch.stack(values).max().item() for values in (differences, relative))
    return Agreement(largest, largest_relative, same / pixels, tuple(sizes))


def cropped(image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 rows columns"]:
    """The upper left three quarters of each side, made odd, so that no stride divides them."""
    height, width = (max(1, side * 3 // 4) | 1 for side in image.shape[2:])
    return image[..., :height, :width]


def _traced(network: _Logits, *, opset: int) -> Any:  # noqa: ANN401 (onnx.ModelProto, imported inside only)
    """The graph of a network for any batch, height and width."""
    anywhere = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with _quiet():
        program = torch.onnx.export(
            network,
            # Two images, as torch takes a batch of one for a constant; sides that differ, for the same reason.
            (torch.zeros(2, 3, 96, 128),),
            input_names=["image"],
            output_names=["logits"],
            opset_version=opset,
            dynamic_shapes={"image": anywhere},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch {torch.__version__} exported nothing")
    return program.model_proto


def _tidy(model: Any, metadata: Mapping[str, str]) -> None:  # noqa: ANN401 (onnx.ModelProto)
    """Metadata in; torch's notes on every node out, as they hold the paths of the machine that exported."""
    import onnx

    graph = model.graph
    for entry in [graph, *graph.node, *graph.initializer, *graph.input, *graph.output]:
        del entry.metadata_props[:]
    # Shapes between the nodes are formulas of the sides: onnxruntime finds them again, people need the ends only.
    del graph.value_info[:]
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        graph.output[0].type.tensor_type.shape.dim[axis].dim_param = name
    onnx.helper.set_model_props(model, dict(metadata))


def _check(path: Path, *, opset: int) -> None:
    """What was written, read again: a valid file of the opset asked for."""
    import onnx

    onnx.checker.check_model(path, full_check=True)
    found = {entry.domain: entry.version for entry in onnx.load(path).opset_import}
    if found != {"": opset}:
        raise InputError(f"opset {opset}: torch wrote {found or 'none'} in its place; ask for {found.get('', 18)}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says in every run: the operators of torchvision, of which there is none here."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(torch|onnxscript|onnx_ir)\.")
            yield
    finally:
        exporter.setLevel(before)
