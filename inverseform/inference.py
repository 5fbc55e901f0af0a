"""From an image to class ids, whatever runs the network, and the use of an exported file by itself.

`import inverseform.inference` brings numpy in, not torch: `inverseform predict` runs where torch is absent.
"""

import contextlib
import ctypes
import errno
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from inverseform.arrays import array_functions
from inverseform.manifest import Manifest
from inverseform.scores import PLAIN, InferenceParams, class_scores
from inverseform.settings import InputError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


Provider = Literal["cpu", "cuda"]
"""Where onnxruntime runs a network."""

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_WARNINGS, _NOTHING = 2, 4  # onnxruntime's numbers for what it logs; 2 is what it starts with


def segment(
    logits_of: Callable[[Any], Any],
    image: UInt8[Any, "3 height width"],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    inference: InferenceParams = PLAIN,
) -> UInt8[Any, "height width"]:
    """Class ids of an image, at its size: normalise, run, take the class of the largest score.

    A numpy array goes through numpy and a tensor through torch, on its device: the one truth for evaluation and for
    the exported file.

    Args:
        logits_of: From (1, 3, height, width), normalised, to (1, classes, height, width).
        image: RGB, 0 to 255.
        mean: Per channel, of images in [0, 1].
        std: Per channel.
        inference: How the image is shown to the network.
    """
    # numpy 2 and torch share the names of the array standard; what follows is written in those alone.
    space: Any = array_functions(image)
    offset, scale = (space.asarray(x, dtype=space.float32, device=image.device)[:, None, None] for x in (mean, std))
    normalised = (space.asarray(image, dtype=space.float32) / 255 - offset) / scale
    scores = class_scores(logits_of, normalised[None], inference=inference)
    return space.asarray(space.argmax(scores[0], 0), dtype=space.uint8)


class OnnxSegmenter:
    """A network in an ONNX file, used with nothing but that file.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no ONNX file, none of ours, or the provider is not to be had.
    """

    def __init__(self, path: Path, *, provider: Provider = "cpu") -> None:
        self._session = open_session(path, provider=provider)
        self.manifest = Manifest.read(self._session.get_modelmeta().custom_metadata_map, source=path)
        outputs, classes = self._session.get_outputs()[0].shape[1], len(self.manifest.classes)
        if outputs != classes:
            raise InputError(f"{path}: {outputs} logits a pixel and {classes} classes in its metadata; export it again")

    def logits(
        self, images: Float[np.ndarray, "batch 3 height width"]
    ) -> Float[np.ndarray, "batch classes height width"]:
        """Logits of normalised images, both of 32 bits.

        Raises:
            InputError: onnxruntime cannot run it, as when an image does not fit in memory.
        """
        try:
            logits: Any = self._session.run(["logits"], {"image": images})[0]
        except Exception as error:  # onnxruntime's errors have no base class of their own
            size = f"{images.shape[3]} x {images.shape[2]}"
            raise InputError(
                f"image of {size}: onnxruntime stopped at it ({error}); give it a smaller one, or a window"
            ) from error
        return logits

    def __call__(
        self, image: UInt8[np.ndarray, "3 height width"], *, inference: InferenceParams = PLAIN
    ) -> UInt8[np.ndarray, "height width"]:
        """Class ids of an RGB image.

        Raises:
            InputError: It does not fit in memory.
        """
        try:
            return segment(self.logits, image, mean=self.manifest.mean, std=self.manifest.std, inference=inference)
        except MemoryError as error:
            size = f"{image.shape[2]} x {image.shape[1]}"
            raise InputError(
                f"image of {size}: does not fit in memory ({error}); give it a smaller one, or a window"
            ) from error


def open_session(path: Path, *, provider: Provider) -> "InferenceSession":
    """An onnxruntime session that runs where it was asked to, or an error.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It is no ONNX file, or onnxruntime would run it elsewhere than on `provider`.
    """
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such ONNX file; the stage export writes one", str(path))
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path}: onnxruntime is missing ({error}); pip install 'inverseform[onnx-cpu]'") from error
    wanted = _PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise InputError(
            f"provider {provider}: onnxruntime {onnxruntime.__version__} was built without {wanted}; "
            f"pip uninstall onnxruntime and pip install 'inverseform[onnx-gpu]', or ask for cpu"
        )
    options = onnxruntime.SessionOptions()
    # Left to itself it pins a thread to each core of the machine, with an [E] line a core where a container has fewer.
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    with _without_log(onnxruntime) if provider == "cuda" else contextlib.nullcontext():
        try:
            session = onnxruntime.InferenceSession(path, options, providers=[wanted])
        except Exception as error:  # onnxruntime's errors have no base class of their own
            reason = str(error).rpartition(":")[2].strip()
            raise InputError(f"{path}: not a file that onnxruntime reads ({reason}); name an ONNX file") from error
    if wanted not in session.get_providers():
        raise InputError(
            f"provider {provider}: onnxruntime fell back to {session.get_providers()[0]}, for {_lacking_for_cuda()}; "
            f"install what is missing, or ask for cpu"
        )
    return session


@contextlib.contextmanager
def _without_log(onnxruntime: Any) -> Iterator[None]:  # noqa: ANN401 (a module)
    """Look for CUDA's libraries where pip puts them, and keep quiet what is then said in our own words."""
    onnxruntime.set_default_logger_severity(_NOTHING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            onnxruntime.preload_dlls()
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)


def _lacking_for_cuda() -> str:
    """What most likely keeps CUDA from starting: the driver, or the libraries above it."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return f"there is no NVIDIA driver here ({error})"
    return "CUDA 13 or cuDNN 9 is not to be found; pip install 'onnxruntime-gpu[cuda,cudnn]'"
