import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from inverseform.data import open_dataset
from inverseform.data.layout import LayoutError
from inverseform.data.pascal_context import CLASSES, PascalContextParams
from inverseform.settings import InputError
from tests.data.miniatures import pascal_context as miniature
from tests.data.miniatures.ingested import ingested

TASKS = ("edges", "saliency", "human_parts", "normals")


def params(tasks=TASKS, normals_axes="left_up"):
    return PascalContextParams(name="pascal_context", tasks=tasks, normals_axes=normals_axes)


@pytest.fixture
def raw(tmp_path):
    miniature.pascal_mt(tmp_path / "raw")
    return tmp_path / "raw"


SCENES = {name: miniature.scene(number) for number, name in enumerate(miniature.TRAIN + miniature.VAL)}


def readings(raw, **changes):
    dataset = open_dataset(params(**changes), raw)
    return {source.name: source.read() for split in ("train", "val") for source in dataset.splits[split]}


def test_the_published_lists_fill_train_and_both_val_and_test(raw):
    dataset = open_dataset(params(), raw)
    names = {split: tuple(source.name for source in sources) for split, sources in dataset.splits.items()}
    assert names == {"train": miniature.TRAIN, "val": miniature.VAL, "test": miniature.VAL}
    assert dataset.expected == {"train": 4998, "val": 5105, "test": 5105}
    assert len(dataset.classes) == len(set(dataset.colours)) == 21
    assert dataset.classes[15] == "person" and dataset.colours[15] == (192, 128, 128)


def test_labels_are_what_was_drawn_and_those_of_voc_come_first(raw):
    for name, reading in readings(raw, tasks=()).items():
        assert (reading.labels == SCENES[name].labels).all() and (reading.labels == 255).any()
        assert reading.encoded == (raw / "JPEGImages" / f"{name}.jpg").read_bytes()
        assert reading.targets == {}


def test_targets_are_what_was_drawn(raw):
    for name, reading in readings(raw).items():
        drawn = SCENES[name]
        assert (reading.targets["saliency"][0] == drawn.salient).all()
        if drawn.parts.any():
            assert (reading.targets["human_parts"][0] == drawn.parts).all()
        else:
            assert "human_parts" not in reading.targets
        normals = reading.targets["normals"].astype(float)
        known = np.isfinite(normals).all(axis=0)
        expected = drawn.context != miniature.IDS["sky"]
        expected[:, :2] = False
        assert (known == expected).all()
        there = (drawn.normals * [-1, 1, 1]).transpose(2, 0, 1)
        assert np.abs(normals - there)[:, known].max() < 0.01
        assert (reading.targets["edges"].shape, reading.targets["edges"].dtype) == ((1, *drawn.labels.shape), np.uint8)


def test_some_images_show_people_and_some_do_not(raw):
    assert ["human_parts" in reading.targets for reading in readings(raw).values()] == [True, False] * 2 + [True]


def test_without_a_list_of_parts_the_annotations_are_looked_into(raw):
    with_list = readings(raw, tasks=("human_parts",))
    for path in (raw / "ImageSets" / "Parts").iterdir():
        path.unlink()
    without = readings(raw, tasks=("human_parts",))
    for name, reading in with_list.items():
        assert reading.targets.keys() == without[name].targets.keys()
        for task, target in reading.targets.items():
            assert (target == without[name].targets[task]).all()


def test_everything_arrives_in_the_sample_store(raw, tmp_path):
    store = ingested(params(), raw, tmp_path / "store")
    assert store.info.tasks == TASKS and store.info.classes == CLASSES
    for split in ("train", "val", "test"):
        for index, name in enumerate(store.names(split)):
            sample, drawn = store.sample(split, index, tasks=TASKS), SCENES[name]
            assert torch.equal(sample.labels, torch.from_numpy(drawn.labels))
            void = sample.labels == 255
            assert not sample.boundary[0][void].any()
            ids = sample.labels[None].float()
            largest = F.max_pool2d(ids.where(~void, -1), 3, 1, 1)
            smallest = -F.max_pool2d(-ids.where(~void, 99), 3, 1, 1)
            assert torch.equal(sample.boundary == 1, (largest > smallest) & ~void)
            assert torch.equal(sample.targets["saliency"].values[0], torch.from_numpy(drawn.salient).float())
            assert ("human_parts" in sample.targets) == drawn.parts.any()
            if drawn.parts.any():
                assert torch.equal(sample.targets["human_parts"].values[0], torch.from_numpy(drawn.parts).float())
                assert sample.targets["human_parts"].valid.all()
            normals = sample.targets["normals"]
            assert not normals.valid[0, :10].any() and normals.valid[0, 10:, 2:].all()
            assert sample.targets["edges"].values.any() and sample.targets["edges"].valid.all()


def test_all_that_is_missing_is_told_at_once(raw):
    (raw / "pascal-context" / "trainval" / "2008_000015.mat").unlink()
    (raw / "sal_distill" / "2009_000011.png").unlink()
    for folder in ("VOC12", "pascal-context"):
        (raw / "semseg" / folder / "2008_000008.png").unlink()
    with pytest.raises(LayoutError) as error:
        open_dataset(params(), raw)
    told = sorted(problem.split(": ")[1] for problem in error.value.problems)
    assert len(told) == 3
    assert told[0].startswith("has 2008_000008, and there is no label map 2008_000008.png in")
    assert told[1].startswith("has 2008_000015, and there is no LabelMap 2008_000015.mat in")
    assert told[2].startswith("has 2009_000011, and there is no saliency map 2009_000011.png in")


def test_folders_of_tasks_that_are_not_asked_for_may_be_missing(raw):
    for folder in ("human_parts", "normals_distill", "pascal-context/trainval"):
        for path in (raw / folder).iterdir():
            path.unlink()
    assert set(readings(raw, tasks=("saliency",))["2008_000008"].targets) == {"saliency"}


def test_a_class_of_none_a_wrong_size_and_a_wrong_kind_are_told_by_file(raw):
    label = raw / "semseg" / "VOC12" / "2008_000008.png"
    Image.fromarray(np.full((48, 64), 21, dtype=np.uint8)).save(label)
    with pytest.raises(InputError, match=r"2008_000008\.png: the value 21 is at row 0, column 0.*\[255\] for unknown"):
        readings(raw)
    Image.fromarray(np.zeros((48, 60), dtype=np.uint8)).save(label)
    with pytest.raises(InputError, match=r"VOC12/2008_000008\.png: is 60x48 and its image is 64x48"):
        readings(raw)
    Image.fromarray(np.zeros((48, 64, 3), dtype=np.uint8)).save(label)
    with pytest.raises(InputError, match=r"VOC12/2008_000008\.png: has pixels of type RGB; it must have one channel"):
        readings(raw)


def test_a_map_of_jpeg_is_refused_though_its_name_ends_with_png(raw):
    Image.fromarray(SCENES["2008_000008"].salient).convert("L").save(raw / "sal_distill" / "2008_000008.png", "JPEG")
    with pytest.raises(InputError, match=r"sal_distill/2008_000008\.png: is a JPEG file"):
        readings(raw, tasks=("saliency",))
