import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data import sample_store
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.sample_store import DatasetInfo, SampleStore, write_info, write_samples
from inverseform.data.stored_sample import stored
from inverseform.settings import InputError
from tests.drawn import ROOT

COUNTS = {"train": 19, "val": 3}


def reading(index: int) -> Reading:
    """A drawn scene; sizes differ from image to image, as they may."""
    generator = np.random.default_rng(index)
    image = generator.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
    labels = np.kron(generator.integers(0, 3, (2, 3)), np.ones((10, 10), int))
    labels = np.pad(labels, ((0, index), (0, 0)), constant_values=255).astype(np.uint8)
    # Every third has a prediction.
    guess = generator.integers(0, 256, labels.shape, dtype=np.uint8) if index % 3 == 0 else None
    return Reading(encode_png(image), image, labels, guess)


def maps(labels: np.ndarray):
    boundary, valid = boundaries(torch.from_numpy(labels)[None].int(), num_classes=3)
    return boundary[0], valid[0]


@pytest.fixture
def folder(tmp_path):
    boundary = BoundaryParams(operator="sobel", radius=1)
    info = DatasetInfo(
        source="drawn", classes=("a", "b", "c"), colours=((0, 0, 0),) * 3, boundary=boundary, counts=COUNTS
    )
    for split, count in COUNTS.items():
        rows = [stored(f"{split}-{i}", reading(i), *maps(reading(i).labels)) for i in range(count)]
        write_samples(tmp_path, info, split, rows, shard_bytes=12_000)
    write_info(tmp_path, info)
    return tmp_path


def same(sample, split, index):
    drawn = reading(index)
    boundary, valid = maps(drawn.labels)
    assert sample.name == f"{split}-{index}"
    assert (sample.image.numpy() == drawn.image.transpose(2, 0, 1)).all()
    assert (sample.labels.numpy() == drawn.labels).all()
    assert (sample.boundary == boundary).all()
    assert (sample.valid == valid).all()
    if index % 3:
        assert sample.prediction is None
    else:
        assert sample.prediction.shape == boundary.shape
        assert torch.equal((sample.prediction[0] * 255).round().byte(), torch.from_numpy(drawn.prediction))


def test_samples_come_back_in_any_order_as_they_were(folder):
    store = SampleStore.open(folder)
    assert store.splits == ("train", "val")
    assert len(list(folder.glob("train-*.parquet"))) > 1
    for split, count in COUNTS.items():
        assert store.size(split) == count
        assert store.names(split) == [f"{split}-{index}" for index in range(count)]
        for index in np.random.default_rng(0).permutation(count).tolist():
            same(store.sample(split, index), split, index)


def test_images_are_kept_byte_for_byte(folder):
    assert SampleStore.open(folder)._row("train", 4, ("image",))["image"] == reading(4).encoded


def test_a_sample_without_prediction_stores_none(folder):
    store = SampleStore.open(folder)
    rows = [store._row("train", index, ("prediction",))["prediction"] for index in range(COUNTS["train"])]
    assert [row is None for row in rows] == [index % 3 > 0 for index in range(COUNTS["train"])]


def test_the_next_version_refuses_shards_of_this(folder, monkeypatch):
    monkeypatch.setattr(sample_store, "FORMAT", sample_store.FORMAT._replace(version=5))
    with pytest.raises(InputError, match="holds samples of version 4 and samples of version 5 was expected"):
        SampleStore.open(folder)


def test_what_holds_for_all_samples_comes_back(folder):
    info = SampleStore.open(folder).info
    assert info.classes == ("a", "b", "c")
    assert info.boundary == BoundaryParams(operator="sobel", radius=1)
    assert info.counts == COUNTS


def test_threads_get_the_same_samples(folder):
    store = SampleStore.open(folder)
    order = np.random.default_rng(1).integers(0, COUNTS["train"], 200).tolist()
    with ThreadPoolExecutor(8) as pool:
        for index, sample in zip(order, pool.map(lambda i: store.sample("train", i), order), strict=True):
            assert sample.name == f"train-{index}"


def test_a_store_can_be_sent_to_another_process(folder):
    same(pickle.loads(pickle.dumps(SampleStore.open(folder))).sample("val", 2), "val", 2)


def test_workers_of_a_loader_read_the_store_they_inherit(folder):
    store = SampleStore.open(folder)
    store.sample("train", 0)

    class Names(torch.utils.data.Dataset):
        def __len__(self):
            return COUNTS["train"]

        def __getitem__(self, index):
            return store.sample("train", index).name

    loader = torch.utils.data.DataLoader(Names(), batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert list(loader) == store.names("train")


def test_few_row_groups_are_kept(folder, monkeypatch):
    monkeypatch.setattr(sample_store, "_CACHED_GROUPS", 1)
    store = SampleStore.open(folder)
    for index in range(COUNTS["train"]):
        store.sample("train", index)
        assert len(store._cache) == 1


@pytest.mark.parametrize("index", [-1, COUNTS["train"]])
def test_an_index_past_the_end_is_an_error(folder, index):
    with pytest.raises(IndexError, match=f"train sample {index}: .* has 19"):
        SampleStore.open(folder).sample("train", index)


def test_a_missing_folder_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc repro ingest"):
        SampleStore.open(tmp_path / "samples")


def test_a_folder_without_its_description_is_refused(folder):
    (folder / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"dataset\.json: is missing; delete .* run `dvc repro ingest`"):
        SampleStore.open(folder)


def test_a_description_of_another_kind_is_refused(folder):
    (folder / "dataset.json").write_text('{"images": 3}')
    with pytest.raises(InputError, match=r"dataset\.json: is not what ingest writes"):
        SampleStore.open(folder)


def test_a_missing_shard_is_noticed(folder):
    max(folder.glob("train-*.parquet")).unlink()
    with pytest.raises(InputError, match=r"train-\d+\.parquet: is missing; delete .* and run `dvc repro ingest`"):
        SampleStore.open(folder)


def test_a_shard_cut_short_is_noticed_on_opening(folder):
    path = min(folder.glob("val-*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(
        InputError, match=r"val-00000\.parquet: has \d+ bytes and \d+ were written; delete .*dvc repro ingest"
    ):
        SampleStore.open(folder)


def test_shards_of_another_run_are_noticed(folder):
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace('"c"', '"other"'))
    with pytest.raises(InputError, match="was made with classes"):
        SampleStore.open(folder)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_maps_of_a_sample_are_those_of_the_whole(folder, split):
    store = SampleStore.open(folder)
    for index in range(store.size(split)):
        whole, maps = store.sample(split, index), store.maps(split, index)
        assert maps.name == whole.name and torch.equal(maps.boundary, whole.boundary)
        assert (maps.prediction is None) == (whole.prediction is None)
        if maps.prediction is not None:
            assert torch.equal(maps.prediction, whole.prediction)


def test_a_task_that_the_store_does_not_have_is_refused(folder):
    with pytest.raises(InputError, match="has no targets of task depth; it has none but segmentation"):
        SampleStore.open(folder).sample("train", 0, tasks=["depth"])


def test_the_pixels_of_each_class_are_those_of_the_labels(folder):
    found = SampleStore.open(folder).class_pixels("train")
    assert found == [[int((reading(i).labels == klass).sum()) for klass in range(3)] for i in range(COUNTS["train"])]


def test_a_description_that_counts_other_samples_is_refused(folder):
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace('"train": 19', '"train": 20'))
    with pytest.raises(InputError, match="was made with counts"):
        SampleStore.open(folder)


def test_two_shards_that_changed_places_are_noticed_on_opening(folder):
    one, other, *_ = sorted(folder.glob("train-*.parquet"))
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)
    with pytest.raises(InputError, match=r"train-00000\.parquet: (has \d+ bytes|is another shard than was written)"):
        SampleStore.open(folder)


def test_one_damaged_byte_is_found_when_it_is_read_or_when_all_is_verified(folder):
    path = min(folder.glob("train-*.parquet"))
    data = bytearray(path.read_bytes())
    data[data.index(reading(0).encoded) + 99] ^= 1
    path.write_bytes(data)
    store = SampleStore.open(folder)
    with pytest.raises(InputError, match=r"train-00000\.parquet: is damaged in row group 0"):
        store.sample("train", 0)
    with pytest.raises(InputError, match=r"train-00000\.parquet: is damaged: its SHA-256 is not that"):
        SampleStore.open(folder, verify=True)


def test_a_whole_store_can_be_verified(folder):
    assert SampleStore.open(folder, verify=True).size("train") == COUNTS["train"]


def test_a_target_of_a_task_that_the_data_set_does_not_have_is_an_error(folder, tmp_path):
    info = SampleStore.open(folder).info
    depth = np.ones((1, *reading(1).labels.shape), dtype=np.float32)
    row = stored("a", reading(1)._replace(targets={"depth": depth}), *maps(reading(1).labels))
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match=r"has a target of depth: name it in Dataset\.tasks"):
        write_samples(tmp_path / "other", info, "train", [row], shard_bytes=1)
    known = info.model_copy(update={"tasks": ("depth",), "counts": {"train": 1}})
    write_samples(tmp_path / "other", known, "train", [row], shard_bytes=1)
    write_info(tmp_path / "other", known)
    found = SampleStore.open(tmp_path / "other").sample("train", 0, tasks=["depth"])
    assert found.targets["depth"].values.eq(1).all()


def test_a_store_can_be_read_from_a_url(folder):
    program = f"""
import pathlib
from inverseform.data.sample_store import SampleStore
from inverseform.location import locate
there = locate("memory://samples")
there.mkdir()
for path in pathlib.Path({str(folder)!r}).iterdir():
    (there / path.name).write_bytes(path.read_bytes())
here, far = SampleStore.open({str(folder)!r}), SampleStore.open("memory://samples", verify=True)
for index in (18, 3, 0):
    one, other = here.sample("train", index), far.sample("train", index)
    assert one.name == other.name and one.image.equal(other.image) and one.boundary.equal(other.boundary)
print(far.size("train"))
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("19\n", 0), run.stderr
