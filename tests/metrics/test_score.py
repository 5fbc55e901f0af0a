import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from inverseform.metrics.score import Score, mean, ratio
from tests.drawn import ROOT
from tests.metrics import halves


def test_what_has_no_value_has_a_reason_and_what_has_one_has_none():
    assert ratio(1, 4, reason="empty") == Score(0.25, None)
    assert ratio(0, 4, reason="empty") == Score(0.0, None)
    assert ratio(0, 0, reason="empty") == Score(None, "empty")


def test_a_mean_is_that_of_the_defined_scores():
    assert mean([Score(0.5), Score(None, "no pixel"), Score(0.0)], reason="nothing") == Score(0.25, None)
    assert mean([Score(None, "no pixel")], reason="nothing") == Score(None, "nothing")
    assert mean([], reason="nothing") == Score(None, "nothing")


def test_a_mean_is_taken_of_what_can_be_read_once():
    assert mean((Score(value) for value in (1.0, 2.0)), reason="nothing").value == pytest.approx(1.5)


def test_counts_that_two_processes_add_are_those_of_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         ROOT / "tests" / "metrics" / "halves.py", tmp_path], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = halves.counted(halves.metrics(), range(halves.IMAGES))
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert set(found) == set(whole)
        for name, counts in whole.items():
            assert counts.count_nonzero() and found[name].dtype == counts.dtype
            torch.testing.assert_close(found[name], counts, rtol=1e-12, atol=1e-12)
