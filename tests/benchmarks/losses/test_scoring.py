import pytest
import torch
from torch import nn

from benchmarks.losses.pictures import Pictures
from benchmarks.losses.scoring import Tally, score
from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.metrics.segmentation import Confusion
from inverseform.sample import Prediction
from tests.drawn import CLASSES, sample_store

PLAIN = torch.autocast("cpu", enabled=False)


class Reader(nn.Module):
    """Reads the class off the brightness, which is what drawn scenes have for colours, one row too low."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        ids = (images[:, 0] * 255 / 60).round().roll(1, dims=1)
        logits = -(ids[:, None] - torch.arange(CLASSES)[:, None, None]).abs()
        return Prediction(logits, None)


def test_a_split_is_scored_as_its_images_one_by_one_and_some_apart(tmp_path):
    pictures = Pictures(sample_store(tmp_path / "samples", train=2, val=3, height=48, width=64), "val")
    found = score(
        Reader(), pictures, num_classes=CLASSES, mean=(0.0,) * 3, std=(1.0,) * 3, apart="val-4", autocast=PLAIN
    )
    regions, near = Confusion(CLASSES), BoundaryAccuracy()
    for sample in pictures.samples:
        predicted = sample.labels.roll(1, dims=0)
        regions.update(predicted, sample.labels)
        near.update(predicted, sample.labels)
    assert found["miou"] == regions.scores().miou and found["pixel_accuracy"] == regions.scores().pixel_accuracy
    assert found["mba"] == near.scores().mba
    assert [found[f"within_{d}"] for d in (1, 2, 3, 5)] == list(near.scores().within)
    # One row too low is met at every tolerance, but at the frame.
    assert 0.9 < found["f_1"] <= found["f_2"] <= found["f_3"]
    [alone] = [sample for sample in pictures.samples if sample.name.startswith("val-4")]
    tally = Tally(CLASSES)
    tally.update(alone.labels.roll(1, dims=0), alone.labels)
    assert {name: found[f"apart_{name}"] for name in tally.scores()} == tally.scores()
    assert found["apart_mba"] != pytest.approx(found["mba"])


def test_scores_of_images_that_are_not_there_are_undefined(tmp_path):
    pictures = Pictures(sample_store(tmp_path / "samples", train=2, val=1, height=48, width=64), "val")
    found = score(Reader(), pictures, num_classes=CLASSES, mean=(0.0,) * 3, std=(1.0,) * 3, apart="Seq", autocast=PLAIN)
    assert {value for name, value in found.items() if name.startswith("apart_")} == {None}
    assert None not in {value for name, value in found.items() if not name.startswith("apart_")}
