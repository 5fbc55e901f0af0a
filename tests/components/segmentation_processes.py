"""What each process of a group does for test_train_segmentation: the stage itself; started by torchrun, or alone.

Group norms stand in for batch norms, which see a process's own images alone on a CPU.
"""

import json
import sys
from pathlib import Path
from unittest import mock

import torch
from torch import nn

from components import stage
from components.train_segmentation import TrainSegmentationParams, train_segmentation
from inverseform import networks


def grouped(module):
    """A network with a group norm for every batch norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(1, child.num_features))
        else:
            grouped(child)
    return module


def run(document, paths):
    """The stage with settings and places given as JSON."""
    params = TrainSegmentationParams.model_validate_json(json.dumps(document))
    build = networks.build
    with mock.patch.object(networks, "build", lambda *args, **options: grouped(build(*args, **options))):
        stage.run(train_segmentation, params, {name: Path(path) for name, path in paths.items()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(*json.loads(sys.argv[1]))
