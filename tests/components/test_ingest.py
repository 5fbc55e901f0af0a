import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from components.ingest import AHEAD, IngestParams, in_order, ingest, write_dataset
from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Dataset, Reading, encode_png
from inverseform.data.folder import FolderParams
from inverseform.data.procedural import ProceduralParams
from inverseform.data.sample_store import SampleStore
from inverseform.settings import InputError

SETTINGS = {
    "data": {
        "name": "folder",
        "classes": ["sky", "road", "car"],
        "colours": [[0, 0, 255], [128, 64, 128], [200, 0, 0]],
        "ignore_index": 11,
        "label_format": "ids",
    },
    "boundary": {"operator": "sobel", "radius": 2},
    "workers": 2,
    "shard_mib": 1,
}
COUNTS = {"train": 5, "val": 2, "test": 3}


def params(**changes) -> IngestParams:
    data = SETTINGS["data"]
    own = FolderParams(**{**data, "classes": tuple(data["classes"]), "colours": tuple(map(tuple, data["colours"]))})
    boundary = BoundaryParams(operator="sobel", radius=2)
    return IngestParams(**{"data": own, "boundary": boundary, "workers": 2, "shard_mib": 1, **changes})


@pytest.fixture
def raw(tmp_path):
    """A data set drawn in three classes, with some pixels unknown."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for kind in ("images", "labels"):
            (tmp_path / "raw" / split / kind).mkdir(parents=True)
        for index in range(count):
            labels = np.kron(generator.integers(0, 3, (4, 5)), np.ones((12, 12), int)).astype(np.uint8)
            labels[:6, :30] = 11
            photo = (labels[..., None] * 20 + generator.integers(0, 9, (*labels.shape, 3))).astype(np.uint8)
            Image.fromarray(photo).save(tmp_path / "raw" / split / "images" / f"{index:02d}.jpg")
            Image.fromarray(labels).save(tmp_path / "raw" / split / "labels" / f"{index:02d}.png")
    return tmp_path / "raw"


def test_all_samples_arrive_with_the_boundaries_of_their_labels(raw, tmp_path):
    report = ingest(params(), raw=raw, samples=tmp_path / "samples")
    store = SampleStore.open(tmp_path / "samples")
    ignored = boundary_pixels = pixels = 0
    for split, count in COUNTS.items():
        assert store.names(split) == [f"{index:02d}" for index in range(count)]
        for index in range(count):
            sample = store.sample(split, index)
            expected = np.array(Image.open(raw / split / "labels" / f"{index:02d}.png"))
            assert (sample.labels.numpy() == np.where(expected == 11, 255, expected)).all()
            assert (
                sample.image.numpy().transpose(1, 2, 0)
                == np.array(Image.open(raw / split / "images" / f"{index:02d}.jpg"))
            ).all()
            boundary, valid = boundaries(sample.labels[None].int(), num_classes=3, radius=2)
            assert torch.equal(sample.boundary, boundary[0])
            assert torch.equal(sample.valid, valid[0])
            ignored += (expected == 11).sum()
            boundary_pixels += int(boundary.sum())
            pixels += expected.size
    assert report["images"] == 10
    assert {split: report[f"{split}_images"] for split in COUNTS} == COUNTS
    assert report["ignored_share"] == pytest.approx(ignored / pixels)
    assert report["boundary_share"] == pytest.approx(boundary_pixels / pixels)
    assert report["seconds"] > 0


def test_predictions_go_with_their_samples_where_a_split_has_them(raw, tmp_path):
    guesses = {}
    (raw / "val" / "predictions").mkdir()
    for path in (raw / "val" / "labels").iterdir():
        guesses[path.stem] = np.random.default_rng(len(guesses)).integers(0, 256, (48, 60), dtype=np.uint8)
        Image.fromarray(guesses[path.stem]).save(raw / "val" / "predictions" / path.name)
    ingest(params(), raw=raw, samples=tmp_path / "samples")
    store = SampleStore.open(tmp_path / "samples")
    assert store.sample("train", 0).prediction is None
    for index, name in enumerate(store.names("val")):
        prediction = store.sample("val", index).prediction
        assert torch.equal(prediction[0], torch.from_numpy(guesses[name]).float() / 255)


def test_a_drawn_data_set_needs_nothing_raw(tmp_path):
    drawn = ProceduralParams(name="procedural", train=3, val=1, test=1, size=(64, 80), seed=0)
    assert ingest(params(data=drawn), raw=tmp_path, samples=tmp_path / "samples")["images"] == 5
    assert SampleStore.open(tmp_path / "samples").names("train") == ["scene-000000", "scene-000001", "scene-000002"]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_same_data_give_the_same_bytes_with_any_number_of_workers(raw, tmp_path, workers):
    ingest(params(), raw=raw, samples=tmp_path / "one")
    ingest(params(workers=workers), raw=raw, samples=tmp_path / "other")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["dataset.json", "test-00000.parquet", "train-00000.parquet", "val-00000.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


class Counting:
    """A source that knows how many of its kind were read and not let go of yet."""

    alive = most = 0
    lock = threading.Lock()

    def __init__(self, index: int) -> None:
        self.name = f"{index:04d}"

    def read(self) -> Reading:
        image = Tracked.of(np.zeros((8, 8, 3), dtype=np.uint8))
        return Reading(encode_png(image), image, np.zeros((8, 8), dtype=np.uint8))


class Tracked(np.ndarray):
    @classmethod
    def of(cls, array: np.ndarray) -> "Tracked":
        self = array.view(cls)
        self.counts = True
        with Counting.lock:
            Counting.alive += 1
            Counting.most = max(Counting.most, Counting.alive)
        return self

    def __del__(self) -> None:
        if getattr(self, "counts", False):
            with Counting.lock:
                Counting.alive -= 1


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    sources = [Counting(index) for index in range(300)]
    dataset = Dataset("drawn", ("a", "b", "c"), ((0, 0, 0),) * 3, {"train": sources})
    write_dataset(dataset, params(), tmp_path / "samples")
    assert SampleStore.open(tmp_path / "samples").size("train") == 300
    assert Counting.alive == 0
    assert Counting.most <= params().workers + 1


def test_results_come_in_order_and_few_items_are_taken_ahead():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    for given, result in enumerate(in_order(lambda number: number**2, items(), workers=3)):
        assert result == given**2
        assert len(taken) - given <= 3 * AHEAD


def test_an_error_in_a_thread_ends_the_work():
    done = []

    def work(number: int) -> int:
        done.append(number)
        return 1 // (number - 3)

    with pytest.raises(ZeroDivisionError):
        list(in_order(work, iter(range(1000)), workers=2))
    assert len(done) < 3 + 1 + 2 * AHEAD + 1


def test_a_bad_label_is_refused(raw, tmp_path):
    Image.fromarray(np.full((48, 60), 7, dtype=np.uint8)).save(raw / "test" / "labels" / "01.png")
    with pytest.raises(InputError, match=r"test/labels/01\.png: the value 7 is at row 0, column 0 \(2880 pixels"):
        ingest(params(), raw=raw, samples=tmp_path / "samples")


def test_bad_input_leaves_with_status_two_and_nothing_half_written(raw, tmp_path):
    image = raw / "val" / "images" / "01.jpg"
    image.write_bytes(image.read_bytes()[:400])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": SETTINGS}))
    out = tmp_path / "data"
    command = [sys.executable, "-m", "components.ingest", "--params", tmp_path / "params.yaml", "--raw", raw]
    root = Path(__file__).parents[2]
    run = subprocess.run([*command, "--samples", out / "samples"], cwd=root, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert f"error: {image}: cannot be decoded as PNG or JPEG" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(out.iterdir())
