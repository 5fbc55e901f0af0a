"""What must hold of every sample of a miniature that went through the whole of ingest."""

import numpy as np
import torch

from inverseform.boundary import boundaries


def check_labels(sample, truth, num_classes):
    """Labels as drawn, boundaries as of them, and none against void."""
    assert (sample.labels.numpy() == truth).all()
    boundary, valid = boundaries(torch.from_numpy(truth)[None], num_classes=num_classes)
    assert torch.equal(sample.boundary, boundary[0]) and torch.equal(sample.valid, valid[0])
    void = truth == 255
    assert not sample.boundary[0].numpy()[void].any() and not sample.valid[0].numpy()[void].any()
    # With void taken for the class beside it, nothing that is left differs there.
    assert not sample.boundary[0].numpy()[_beside_void_alone(truth)].any()


def _beside_void_alone(truth):
    """Known pixels all of whose known neighbours, themselves among them, are of one class."""
    padded = np.pad(truth.astype(int), 1, mode="edge")
    height, width = truth.shape
    around = np.stack([padded[r : r + height, c : c + width] for r in range(3) for c in range(3)])
    least = np.where(around == 255, 999, around).min(axis=0)
    most = np.where(around == 255, -1, around).max(axis=0)
    return (truth != 255) & (least == most)
