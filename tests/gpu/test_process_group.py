"""Two GPUs with half of a batch each against one with all of it."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.drawn import ROOT
from tests.gpu.device import DEVICE, ON_GPU
from tests.shares import CASES, answers

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    """What the two processes say."""
    if ON_GPU and torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU; NCCL needs one for each of two processes")
    folder = tmp_path_factory.mktemp("shares")
    files = [folder / f"{rank}.safetensors" for rank in range(2)]
    module = [sys.executable, "-W", "ignore", "-m", "tests.shares"]
    runs = [
        subprocess.Popen([*module, str(rank), str(folder / "meeting"), str(file), DEVICE.type], cwd=ROOT)
        for rank, file in enumerate(files)
    ]
    try:
        assert [run.wait(timeout=300) for run in runs] == [0, 0]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    return [load_file(file) for file in files]


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_the_gpus_is_the_loss_of_the_batch_and_its_gradient(shares, case):
    whole = answers(case, slice(None), None, DEVICE.type)
    told = [{key: share[f"{case}:shared:{key}"] for key in whole} for share in shares]
    loss = torch.stack([each["loss"] for each in told]).mean()
    torch.testing.assert_close(loss, whole["loss"].cpu(), rtol=1e-5, atol=0)
    for key in ("logits", "edges"):
        expected = whole[key].cpu()
        found = torch.cat([each[key] for each in told]) / len(told)
        # Sums of a GPU are in another order each time.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
