import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from inverseform.boundary import boundaries
from inverseform.data import open_dataset
from inverseform.data.dataset import decode_image
from inverseform.data.hha import hha, normals_from_depth
from inverseform.data.layout import LayoutError
from inverseform.data.nyuv2 import CLASSES, Nyuv2Params
from inverseform.settings import InputError
from tests.data.miniatures import nyuv2 as miniature
from tests.data.miniatures.ingested import ingested
from tests.data.miniatures.room import small_camera

LAYOUTS = ("multi_task", "sa_gate", "official")
TASKS = ("depth", "normals", "edges", "hha")


def params(layout, tasks=TASKS, **changes):
    given = {
        "name": "nyuv2",
        "layout": layout,
        "tasks": tasks,
        "camera": small_camera(60, 80),
        "normals_axes": "left_up",
    }
    return Nyuv2Params(**{**given, **changes})


@pytest.fixture(params=LAYOUTS)
def drawn(request, tmp_path):
    """A layout's name, its folder, and the rooms in it by name."""
    raw = tmp_path / "raw"
    return request.param, raw, getattr(miniature, request.param)(raw)


def readings(layout, raw, **changes):
    dataset = open_dataset(params(layout, **changes), raw)
    return [(source.name, source.read()) for split in ("train", "test") for source in dataset.splits[split]]


def test_the_published_lists_fill_train_and_both_val_and_test(drawn):
    layout, raw, scenes = drawn
    dataset = open_dataset(params(layout), raw)
    names = {split: [source.name for source in sources] for split, sources in dataset.splits.items()}
    assert {split: len(found) for split, found in names.items()} == {"train": 3, "val": 2, "test": 2}
    assert names["val"] == names["test"]
    assert sorted(names["train"] + names["test"]) == sorted(scenes)
    assert dataset.expected == {"train": 795, "val": 654, "test": 654}
    assert len(dataset.classes) == len(set(dataset.colours)) == 40
    assert dataset.classes[0] == "wall" and dataset.classes[39] == "other prop"


def test_labels_and_depth_are_what_was_drawn(drawn):
    layout, raw, scenes = drawn
    found = readings(layout, raw, tasks=("depth",))
    for name, reading in found:
        labels, depth = scenes[name].labels, scenes[name].depth
        assert (reading.labels == np.where(labels == 0, 255, labels - 1)).all()
        assert (reading.targets["depth"][0] == np.where(depth > 0, depth, np.nan))[depth > 0].all()
        assert np.isnan(reading.targets["depth"][0][depth == 0]).all() and (depth == 0).any()
        assert (decode_image(reading.encoded, source="x") == reading.image).all()
        assert np.abs(reading.image - miniature.photo(scenes[name]).astype(int)).mean() < 8
        assert set(reading.targets) == {"depth"}
    assert len(found) == len(scenes)


def test_normals_are_of_this_projects_axes_whether_read_or_made(drawn):
    layout, raw, scenes = drawn
    for name, reading in readings(layout, raw, tasks=("normals",)):
        normals = reading.targets["normals"].astype(float)
        known = np.isfinite(normals).all(axis=0)
        cosines = (normals * scenes[name].normals).sum(axis=0)[known]
        if layout == "multi_task":
            assert known[3:].all() and not known[:3].any()
            assert cosines.min() > 0.999
        else:
            assert (known == (scenes[name].depth > 0)).mean() > 0.98
            assert np.median(cosines) > 0.999


def test_edges_come_from_files_or_else_from_labels(drawn):
    layout, raw, scenes = drawn
    for name, reading in readings(layout, raw, tasks=("edges",)):
        edges = reading.targets["edges"]
        if layout == "multi_task":
            assert (edges[0] == miniature.drawn_edges(scenes[name])).all()
        else:
            boundary, valid = boundaries(torch.from_numpy(reading.labels)[None], num_classes=40)
            assert (edges[0] == np.where(valid[0, 0] == 1, boundary[0, 0], 255)).all()
            assert {0, 1, 255} == set(np.unique(edges))


def test_hha_comes_from_files_or_else_from_depth(drawn):
    layout, raw, scenes = drawn
    for name, reading in readings(layout, raw, tasks=("hha",)):
        made = hha(np.where(scenes[name].depth > 0, scenes[name].depth, np.nan), small_camera(60, 80))
        away = np.abs(reading.targets["hha"].astype(int) - made)
        # Files are JPEG, and blur; the order of their channels shows all the same.
        assert away.mean() < 2 if layout == "sa_gate" else away.max() == 0
        assert np.abs(reading.targets["hha"][::-1].astype(int) - made).mean() > 10


def test_everything_arrives_in_the_sample_store(drawn, tmp_path):
    layout, raw, scenes = drawn
    store = ingested(params(layout), raw, tmp_path / "store", operator="sobel")
    assert store.info.tasks == TASKS and store.info.classes == CLASSES
    for split in ("train", "val", "test"):
        for index, name in enumerate(store.names(split)):
            sample, scene = store.sample(split, index, tasks=TASKS), scenes[name]
            void = torch.from_numpy(scene.labels == 0)
            assert torch.equal(sample.labels == 255, void)
            assert torch.equal(sample.labels[~void] + 1, torch.from_numpy(scene.labels)[~void])
            assert not sample.boundary[0][void].any() and not sample.valid[0][void].any()
            # Where there is a boundary, two known classes meet: none is made against the patch of no class.
            ids = sample.labels[None].float()
            largest = F.max_pool2d(ids.where(~void, -1), 3, 1, 1)
            smallest = -F.max_pool2d(-ids.where(~void, 99), 3, 1, 1)
            assert sample.boundary.any() and (largest > smallest)[sample.boundary == 1].all()
            depth = sample.targets["depth"]
            assert torch.equal(depth.values[0], torch.from_numpy(scene.depth))
            assert torch.equal(depth.valid[0], torch.from_numpy(scene.depth > 0).float())
            normals = sample.targets["normals"]
            there = normals.valid[0] == 1
            assert torch.allclose(normals.values.norm(dim=0)[there], torch.ones(int(there.sum())), atol=2e-3)
            assert set(sample.targets["edges"].values.unique().tolist()) == {0, 1}
            assert sample.targets["hha"].valid.all() and sample.targets["hha"].values.max() > 127


def test_normals_read_in_wrong_axes_are_noticed_by_the_depth(tmp_path):
    miniature.multi_task(tmp_path / "raw")
    for wrong in ("right_up", "right_down", "left_down"):
        with pytest.raises(InputError, match=rf"with normals_axes {wrong}, its normals.*set normals_axes: left_up"):
            readings("multi_task", tmp_path / "raw", tasks=("normals",), normals_axes=wrong)


@pytest.mark.parametrize(
    ("layout", "lost", "told"),
    [
        ("multi_task", ("edge/0002.npy", "normals/0004.npy"), ("no edge map 0002.npy", "no normal map 0004.npy")),
        ("sa_gate", ("HHA/1.jpg", "Depth/4.npy"), ("no HHA image 1.jpg", "no depth map 4.npy")),
        (
            "official",
            ("splits.mat", "classMapping40.mat"),
            ("splits.mat: is missing", "classMapping40.mat: is missing"),
        ),
    ],
)
def test_all_that_is_missing_is_told_at_once(tmp_path, layout, lost, told):
    getattr(miniature, layout)(tmp_path / "raw")
    for file in lost:
        (tmp_path / "raw" / file).unlink()
    with pytest.raises(LayoutError) as error:
        open_dataset(params(layout), tmp_path / "raw")
    assert len(error.value.problems) == 2
    for what in told:
        assert any(what in problem for problem in error.value.problems)


def test_folders_of_tasks_that_are_not_asked_for_may_be_missing(tmp_path):
    miniature.multi_task(tmp_path / "raw")
    for folder in ("edge", "normals"):
        for path in (tmp_path / "raw" / folder).iterdir():
            path.unlink()
    found = readings("multi_task", tmp_path / "raw", tasks=("depth", "hha"))
    assert len(found) == 5 and set(found[0][1].targets) == {"depth", "hha"}
    with pytest.raises(LayoutError, match=r"edge: has no \*\.npy"):
        open_dataset(params("multi_task", ("edges",)), tmp_path / "raw")


def test_a_value_of_no_class_a_wrong_size_and_strange_edges_are_told_by_file(tmp_path):
    raw = tmp_path / "raw"
    scenes = miniature.multi_task(raw)
    label = raw / "segmentation" / "0001.png"
    Image.fromarray(np.where(scenes["0001"].labels == 1, 41, 1).astype(np.uint8)).save(label)
    with pytest.raises(
        InputError, match=r"0001\.png: the value 41 is at row .*ids are 0 to 40, with \[0\] for unknown"
    ):
        readings("multi_task", raw)
    Image.fromarray(scenes["0001"].labels[:, 1:]).save(label)
    with pytest.raises(InputError, match=r"0001\.png: has labels of 79x60 pixels .*an image of 80x60"):
        readings("multi_task", raw)
    Image.fromarray(scenes["0001"].labels).save(label)
    np.save(raw / "edge" / "0001.npy", np.full((60, 80), 255, dtype=np.float32))
    with pytest.raises(InputError, match=r"its edges have 255.0 to 255.0; they are 0 to 1"):
        readings("multi_task", raw)


def test_the_normals_of_a_frame_without_files_are_those_of_its_depth(tmp_path):
    scenes = miniature.official(tmp_path / "raw")
    for name, reading in readings("official", tmp_path / "raw", tasks=("normals",)):
        depth = np.where(scenes[name].depth > 0, scenes[name].depth, np.nan)
        own = normals_from_depth(depth, small_camera(60, 80)).astype(np.float16)
        assert np.array_equal(reading.targets["normals"], own, equal_nan=True)


def test_normals_coded_in_8_bits_are_refused(tmp_path):
    raw = tmp_path / "raw"
    miniature.multi_task(raw)
    path = raw / "normals" / "0001.npy"
    np.save(path, ((np.load(path) + 1) * 127.5).round().astype(np.uint8))
    with pytest.raises(InputError, match=r"0001\.png: most of its normals are \d+ long and not 1; write n .*in \.npy"):
        readings("multi_task", raw, tasks=("normals",))
