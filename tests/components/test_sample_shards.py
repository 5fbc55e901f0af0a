from dataclasses import dataclass

import numpy as np
import pytest
import torch

from components.sample_shards import SampleReceipt, Work, encode, make
from components.shard_plan import Job
from components.shard_receipts import whole
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.sample_store import DatasetInfo
from inverseform.data.stored_sample import decoded

LINE = BoundaryParams(operator="sobel", radius=2)
INFO = DatasetInfo(
    source="drawn", classes=("a", "b", "c"), colours=((0, 0, 0),) * 3, boundary=LINE, counts={"train": 5}
)


@dataclass(frozen=True)
class Scene:
    name: str

    def read(self) -> Reading:
        random = np.random.default_rng(int(self.name))
        labels = np.kron(random.choice([0, 1, 2, 255], (3, 4)), np.ones((9, 8), int)).astype(np.uint8)
        image = np.repeat(labels[..., None], 3, axis=2)
        return Reading(encode_png(image), image, labels)


JOB = Job("train", 1, 2, 5)
WORK = (JOB, [Scene(str(number)) for number in range(2, 5)], INFO)


def test_a_sample_is_stored_with_its_boundaries_and_its_pixels_are_counted():
    source = Scene("7")
    row, tally = encode(source, LINE, classes=3)
    sample, labels = decoded(row, source="x"), torch.from_numpy(source.read().labels)
    boundary, valid = boundaries(labels[None], num_classes=3, radius=2)
    assert torch.equal(sample.boundary, boundary[0]) and torch.equal(sample.valid, valid[0])
    counted = {"pixels": labels.numel(), "ignored": int((labels == 255).sum()), "boundary": int(boundary.sum())}
    assert tally == counted and counted["ignored"] > 0


def test_a_shard_is_whole_when_its_receipt_is_there(tmp_path):
    assert whole(tmp_path, JOB, SampleReceipt) is None
    receipt = make(Work(*WORK, tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-00001.json", "train-00001.parquet"]
    assert receipt.digest.samples == 3 and receipt.pixels == 3 * 27 * 32
    assert whole(tmp_path, JOB, SampleReceipt) == receipt


def test_the_same_work_gives_the_same_bytes(tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        make(Work(*WORK, folder))
    for name in ("train-00001.json", "train-00001.parquet"):
        one, other = ((folder / name).read_bytes() for folder in folders)
        assert one == other


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="invalid literal"):
        make(Work(JOB, [*WORK[1][:2], Scene("none")], INFO, tmp_path))
    assert not list(tmp_path.iterdir())
