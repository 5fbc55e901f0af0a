"""What each process of a group does for test_score: scores its half of a set, and adds counts as validation does.

Started by torchrun; alone it is given the whole set.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from inverseform.metrics.boundary_f import BoundaryF
from inverseform.metrics.boundary_iou import BoundaryIou
from inverseform.metrics.calibration import Calibration
from inverseform.metrics.depth import DepthErrors
from inverseform.metrics.human_parts import HumanParts
from inverseform.metrics.normals import NormalErrors
from inverseform.metrics.saliency import Saliency
from inverseform.metrics.segmentation import Confusion
from inverseform.training.launch import PLAIN, launch
from tests.metrics.maps import drawn

IMAGES = 6


def metrics():
    """One of each kind, by name."""
    return {
        "segmentation": Confusion(4), "boundary_iou": BoundaryIou(4, fraction=0.1), "boundary_f": BoundaryF(4),
        "human_parts": HumanParts(4), "saliency": Saliency(), "calibration": Calibration(),
        "depth": DepthErrors(), "normals": NormalErrors(),
    }  # fmt: skip


def counted(some, images):
    """The counts of each kind once it saw some images."""
    for seed in images:
        random = np.random.default_rng(seed)
        predicted, labels = drawn(random, (20, 30))
        floats = torch.from_numpy(random.random((4, 20, 30)))
        given = {
            "saliency": (floats[0], labels.where(labels == 255, labels > 1)),
            "calibration": (floats[None].softmax(dim=1), labels[None]),
            "depth": (floats[0], floats[1]),
            "normals": (floats[:3] - 0.5, floats[1:] - 0.5),
        }
        for name, metric in some.items():
            metric.update(*given.get(name, (predicted, labels)))
    return {name: metric.counts for name, metric in some.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    machine = launch(PLAIN)
    found = counted(metrics(), range(machine.rank, IMAGES, machine.processes))
    summed = {name: machine.sum(counts).cpu() for name, counts in found.items()}
    save_file(summed, Path(sys.argv[1], f"{machine.rank}.safetensors"))
