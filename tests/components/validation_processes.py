"""What each process of a group does for test_validation: it scores its share; started by torchrun."""

import json
import sys
from pathlib import Path

import torch

from components.validation import ValidationParams, validate
from inverseform.data.sample_store import SampleStore
from inverseform.networks import HrnetParams, build
from inverseform.networks.backbones import TimmHrnetParams
from inverseform.scores import PLAIN as WHOLE
from inverseform.training.launch import PLAIN, launch

PARAMS = ValidationParams(every=1, metric="miou", inference=WHOLE)
MEAN, STD = (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)


def network():
    torch.manual_seed(3)
    backbone = TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)
    params = HrnetParams(name="hrnet", backbone=backbone, boundary_head=True, boundary_feedback=False)
    return build(params, num_classes=4).eval()


def scores(samples):
    return validate(network(), SampleStore.open(samples), PARAMS, mean=MEAN, std=STD, machine=launch(PLAIN))


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = scores(Path(sys.argv[1]))
    (Path(sys.argv[2]) / f"{launch(PLAIN).rank}.json").write_text(json.dumps(found))
