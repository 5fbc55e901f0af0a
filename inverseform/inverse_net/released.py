"""The network that the paper's authors released, `distance_measures_regressor.pth`, as one of ours.

What is known of it, and what is not: it is the dense network for tiles of 224 pixels with the layers 1000 and 32; its
four answers are normalised offsets, two shifts and two scales. In which order and in which unit was never published,
nor how far apart the maps of its pairs were: so its answers are taken as they are, only the Euclidean distance (which
knows no order) means anything, and gamma has another unit than with our networks. It saw maps of 672x1344 pixels with
boundaries 4 pixels wide; its own loss never passed a gradient on, so nothing is known of its quality as a loss: ask
`inverseform doctor`.
"""

import pickle
from pathlib import Path

import torch

from inverseform import weights
from inverseform.boundary import BoundaryParams
from inverseform.inverse_net import InverseNet, InverseNetSettings
from inverseform.inverse_net.dense import DenseParams
from inverseform.settings import InputError
from inverseform.transform import TransformRanges

SETTINGS = InverseNetSettings(
    network=DenseParams(name="dense", pooling=1, hidden=(1000, 32)),
    tile=224,
    degrees_of_freedom=4,
    occupancy=0.0,
    boundary=BoundaryParams(operator="inequality", radius=2),
    # Not published; as no pairs are known, no range is.
    ranges=TransformRanges(translation=0.0, scale=(1.0, 1.0), rotation=0.0, shear=0.0, perspective=0.0),
    mean=(0.0,) * 4,
    scale=(1.0,) * 4,
)
_LAYERS = {"fc.0": "network.layers.0", "fc.2": "network.layers.1", "fc.4": "network.layers.2"}


def load_released(path: str | Path) -> InverseNet:
    """Read the released weights, strictly, in evaluation mode, on the CPU; nothing in the file is executed.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It holds anything else than the three layers of that network.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        raise InputError(
            f"{path}: cannot be read as weights alone ({reason}); copy distance_measures_regressor.pth again"
        ) from error
    wanted = {f"{layer}.{part}" for layer in _LAYERS for part in ("weight", "bias")}
    if not isinstance(found, dict) or set(found) != wanted:
        names = sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__
        raise InputError(
            f"{path}: holds {names}, and the released network {sorted(wanted)}; name distance_measures_regressor.pth"
        )
    net = InverseNet(SETTINGS)
    weights.fill(net, {_ours(name): tensor for name, tensor in found.items()}, source=path)
    return net.eval()


def _ours(name: str) -> str:
    layer, part = name.rsplit(".", 1)
    return f"{_LAYERS[layer]}.{part}"
