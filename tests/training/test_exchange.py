import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from inverseform.training import exchange
from inverseform.training.checkpoint import Place
from inverseform.training.launch import PLAIN, launch
from tests.drawn import ROOT
from tests.training import processes


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two processes tell of the trainings that they did together."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, ROOT / "tests" / "training" / "processes.py", folder], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [(each["rank"], each["processes"]) for each in told] == [(0, 2), (1, 2)]
    return SimpleNamespace(folder=folder, told=told)


def test_two_processes_learn_what_one_learns_of_the_same_batches(two, tmp_path):
    alone = processes.run(tmp_path)
    for each in two.told:
        assert torch.allclose(torch.tensor(each["whole"]["weights"]), torch.tensor(alone["weights"]), rtol=0, atol=1e-6)
        for mine, row in zip(each["whole"]["history"], alone["history"], strict=True):
            assert mine == pytest.approx(row, rel=1e-5)
        assert each["whole"]["best"][0] == alone["best"][0]
    assert two.told[0]["whole"] == two.told[1]["whole"]


def test_a_signal_to_one_stops_both_after_the_same_step_and_the_first_saves(two):
    assert [each["stopped"] for each in two.told] == [143, 143]
    # The other has a folder of its own, in which nothing is written.
    assert [each["left"] for each in two.told] == [["step-000000004"], []]


def test_both_go_on_from_what_the_first_has_saved_bit_for_bit(two):
    for each in two.told:
        assert each["parts"] == each["whole"]


def test_both_are_told_of_a_checkpoint_of_another_run(two):
    own = two.folder / "process-0" / "parts"
    for each in two.told:
        assert each["refused"].startswith(f"{own}: holds step 4 ") and each["refused"].endswith(f"rm -r {own}")
        assert "\n- run: 1 in the checkpoint, 2 now\n" in each["refused"]


def test_both_are_told_which_samples_of_one_of_them_were_not_finite(two):
    for each in two.told:
        # The second step is of samples 8 to 15, of which the second process has the last four in two parts.
        told = "the loss term near is nan at step 2, and must be finite; its batch was samples 14 to 15 of the stream"
        assert each["not finite"].startswith(told)


def test_alone_there_is_nothing_to_exchange(tmp_path):
    assert exchange.find(Place(tmp_path, {}, {}), launch(PLAIN)) is None
