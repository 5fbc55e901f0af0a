"""The training stage on a GPU, cut off and gone on with: the settings of params.yaml, but smaller."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import pytest

from inverseform import inverse_net, networks
from tests.drawn import ROOT, sample_store, small_net
from tests.gpu.device import DEVICE, ON_GPU

pytestmark = pytest.mark.gpu

STEPS = 600 if ON_GPU else 40
OVERRIDES = {
    "network": {"name": "hrnet", "backbone": {"architecture": "hrnet_w18_small_v2", "pretrained": False}},
    "augment": {"crop": [64, 64]},
    "optimiser": {"steps": STEPS, "batch": 4, "warm_up": 2},
}


@pytest.fixture
def command(tmp_path):
    sample_store(tmp_path / "samples", train=6, val=1)
    inverse_net.save(tmp_path / "inverse_net", small_net())
    paths = {name: name for name in ("samples", "inverse_net", "segmenter", "checkpoints")}
    paths |= {"metrics": "metrics.json", "curves": "curves.csv"}
    options = [word for name, path in paths.items() for word in (f"--{name.replace('_', '-')}", str(tmp_path / path))]
    return [sys.executable, "-m", "components.train_segmentation", *options, "--overrides", json.dumps(OVERRIDES)]


def start(command):
    # Without the device that was asked for the stage would train on a CPU, and this would show nothing.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0") if ON_GPU else ""}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_run_that_is_ended_goes_on_where_it_was(command, tmp_path):
    first = start(command)
    for line in first.stderr:
        if re.search(r"step \d+ of", line):
            break
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=120)
    assert first.returncode == 143 and not (tmp_path / "segmenter").exists()
    second = start(command)
    log = second.communicate(timeout=600)[1]
    assert second.returncode == 0, log
    begun = int(re.search(r"going on from step (\d+)", log)[1])
    assert 0 < begun < STEPS
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(float(row["step"])) for row in rows]
    assert steps[-1] == STEPS and steps == sorted(set(steps)) and steps[0] <= begun
    assert float(rows[-1]["total"]) < float(rows[0]["total"])
    network, _ = networks.load(tmp_path / "segmenter")
    assert next(network.to(DEVICE).parameters()).device.type == DEVICE.type
