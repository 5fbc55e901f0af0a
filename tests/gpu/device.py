"""Where the tests of this folder run. On "cpu" most of them do too, which is how to try them out without a GPU."""

import os

import torch

DEVICE = torch.device(os.environ.get("INVERSEFORM_TEST_DEVICE", "cuda"))
ON_GPU = DEVICE.type == "cuda"


def missing():
    """Why nothing can run, in a few words; empty if it can."""
    return "" if not ON_GPU or torch.cuda.is_available() else f"torch {torch.__version__} finds no CUDA device here"
