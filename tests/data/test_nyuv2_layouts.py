import struct
import sys

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from inverseform.data.layout import LayoutError
from inverseform.data.nyuv2_layouts import multi_task_frames, official_frames, sa_gate_frames
from inverseform.settings import InputError
from tests.data.miniatures import nyuv2 as miniature


def frame(frames, split="train"):
    _, read = next(iter(frames[split].values()))
    return read()


def test_a_layout_reads_what_its_files_have_and_no_more(tmp_path):
    miniature.multi_task(tmp_path / "multi")
    miniature.sa_gate(tmp_path / "gate")
    miniature.official(tmp_path / "mat")
    everything = ("depth", "normals", "edges", "hha")
    found = {
        "multi": frame(multi_task_frames(tmp_path / "multi", everything)),
        "gate": frame(sa_gate_frames(tmp_path / "gate", everything)),
        "mat": frame(official_frames(tmp_path / "mat")),
    }
    there = {name: {what for what in everything if getattr(each, what) is not None} for name, each in found.items()}
    assert there == {"multi": {"depth", "normals", "edges"}, "gate": {"depth", "hha"}, "mat": {"depth"}}
    for each in found.values():
        assert each.image.shape == (60, 80, 3) and each.labels.shape == each.depth.shape == (60, 80)
        assert each.labels.max() <= 40 and each.depth.dtype == np.float32


@pytest.mark.parametrize(
    "line", ["RGB/0.jpg", "RGB/0.jpg\tLabel/1.png", "RGB/0.jpg Label/0.png", "Label/0.png\tRGB/0.jpg"]
)
def test_a_line_of_sa_gates_lists_names_an_image_and_its_own_labels(tmp_path, line):
    miniature.sa_gate(tmp_path)
    (tmp_path / "train.txt").write_text(f"RGB/1.jpg\tLabel/1.png\n{line}\n")
    with pytest.raises(LayoutError, match=r"train\.txt: line 2 is .*it must be like RGB/2\.jpg, a tab, Label/2\.png"):
        sa_gate_frames(tmp_path, ())


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (
            np.zeros((60, 80, 2), np.float32),
            r"is float32 of the shape \(60, 80, 2\); it must be numbers of \(height, width",
        ),
        (np.zeros(60, np.float32), r"is float32 of the shape \(60,\)"),
        (np.full((60, 80), "x"), r"is <U1 of the shape"),
        (np.full((60, 80), None), "cannot be read as an array of numpy"),
    ],
)
def test_a_depth_of_another_form_is_told_by_file(tmp_path, array, told):
    miniature.multi_task(tmp_path)
    np.save(tmp_path / "depth" / "0001.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=rf"depth/0001\.npy: {told}"):
        frame(multi_task_frames(tmp_path, ()))


def test_a_depth_with_an_axis_of_one_channel_is_read_and_one_cut_short_is_not(tmp_path):
    scenes = miniature.multi_task(tmp_path)
    path = tmp_path / "depth" / "0001.npy"
    np.save(path, scenes["0001"].depth[..., None])
    assert (frame(multi_task_frames(tmp_path, ())).depth == scenes["0001"].depth).all()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"depth/0001\.npy: cannot be read as an array of numpy"):
        frame(multi_task_frames(tmp_path, ()))


def test_labels_in_colour_are_refused(tmp_path):
    miniature.multi_task(tmp_path)
    Image.new("RGB", (80, 60)).save(tmp_path / "segmentation" / "0001.png")
    with pytest.raises(InputError, match=r"segmentation/0001\.png: has 3 channels; a label map has one"):
        frame(multi_task_frames(tmp_path, ()))


@pytest.mark.parametrize(
    "mapping", [np.ones((1, 893)), np.zeros((1, 894)), np.full((1, 894), 41), np.full((1, 894), 1.5)]
)
def test_a_mapping_that_is_not_894_classes_to_40_is_refused(tmp_path, mapping):
    miniature.official(tmp_path / "raw")
    scipy.io.savemat(tmp_path / "raw" / "classMapping40.mat", {"mapClass": mapping})
    with pytest.raises(InputError, match=r"classMapping40\.mat: mapClass has the shape .*894 classes one of 1 to 40"):
        official_frames(tmp_path / "raw")


@pytest.mark.parametrize("number", [0, 1.5])
def test_images_are_numbered_from_1(tmp_path, number):
    miniature.official(tmp_path / "raw")
    splits = {"trainNdxs": np.array([[1], [number]]), "testNdxs": np.array([[2]], dtype=np.uint16)}
    scipy.io.savemat(tmp_path / "raw" / "splits.mat", splits)
    with pytest.raises(InputError, match=r"splits\.mat: has numbers of images below 1, or fractions"):
        official_frames(tmp_path / "raw")


def test_one_image_alone_makes_a_split(tmp_path):
    miniature.official(tmp_path / "raw")
    one = np.array([[5]], dtype=np.uint16)
    scipy.io.savemat(tmp_path / "raw" / "splits.mat", {"trainNdxs": one, "testNdxs": one})
    assert {split: list(names) for split, names in official_frames(tmp_path / "raw").items()} == {
        "train": ["0005"], "val": ["0005"], "test": ["0005"],
    }  # fmt: skip


def test_an_image_beyond_the_last_a_damaged_file_and_a_label_of_none_are_told(tmp_path):
    raw = tmp_path / "raw"
    miniature.official(raw)
    path = raw / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "r+") as file:
        file["labels"][2, 5, 6] = 895
    with pytest.raises(InputError, match=r"labeled\.mat: image 3 has the label 895; labels are 0 to 894"):
        frame(official_frames(raw))
    with h5py.File(path, "r+") as file:
        del file["depths"]
    with pytest.raises(InputError, match=r"labeled\.mat: image 3 cannot be read"):
        frame(official_frames(raw))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"labeled\.mat: image 3 cannot be read"):
        frame(official_frames(raw))
    scipy.io.savemat(raw / "splits.mat", {"trainNdxs": np.array([[9]]), "testNdxs": np.array([[1]])})
    with pytest.raises(InputError, match=r"labeled\.mat: image 9 cannot be read"):
        frame(official_frames(raw))


def test_without_h5py_it_says_what_to_install(tmp_path, monkeypatch):
    miniature.official(tmp_path / "raw")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r'is read by h5py, which is missing; pip install "inverseform\[matlab\]"'):
        frame(official_frames(tmp_path / "raw"))


def test_jpeg_is_no_label_map_though_its_name_ends_with_png(tmp_path):
    miniature.multi_task(tmp_path)
    Image.new("L", (80, 60)).save(tmp_path / "segmentation" / "0001.png", "JPEG")
    with pytest.raises(InputError, match=r"segmentation/0001\.png: is a JPEG file"):
        frame(multi_task_frames(tmp_path, ()))


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 9), }", "{'descr': ("]
)
def test_an_array_whose_header_asks_for_any_memory_or_is_no_python_is_told_by_file(tmp_path, header):
    miniature.multi_task(tmp_path)
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1)
    (tmp_path / "depth" / "0001.npy").write_bytes(start + header.encode() + b"\n" + bytes(64))
    with pytest.raises(InputError, match=r"depth/0001\.npy: cannot be read as an array of numpy .*copy it again"):
        frame(multi_task_frames(tmp_path, ()))


def test_an_archive_of_arrays_is_no_array(tmp_path):
    miniature.multi_task(tmp_path)
    with (tmp_path / "depth" / "0001.npy").open("wb") as file:
        np.savez(file, depth=np.ones((60, 80)))
    with pytest.raises(InputError, match=r"depth/0001\.npy: cannot be read as an array of numpy"):
        frame(multi_task_frames(tmp_path, ()))


def test_numbers_that_matlab_saved_as_doubles_are_numbers(tmp_path):
    raw = tmp_path / "raw"
    miniature.official(raw)
    before = frame(official_frames(raw))
    forty = scipy.io.loadmat(raw / "classMapping40.mat")["mapClass"]
    scipy.io.savemat(raw / "classMapping40.mat", {"mapClass": forty.astype(np.float64)})
    splits = {"trainNdxs": np.array([[3.0], [4.0]]), "testNdxs": np.array([[1.0]])}
    scipy.io.savemat(raw / "splits.mat", splits)
    found = official_frames(raw)
    assert list(found["train"]) == ["0003", "0004"] and list(found["val"]) == ["0001"]
    after = frame(found)
    assert (after.labels == before.labels).all() and after.labels.dtype.kind == "i"


@pytest.mark.parametrize("mapping", ["text", {"a": 1.0}])
def test_a_mapping_that_is_no_numbers_is_refused(tmp_path, mapping):
    miniature.official(tmp_path / "raw")
    scipy.io.savemat(tmp_path / "raw" / "classMapping40.mat", {"mapClass": mapping})
    with pytest.raises(InputError, match=r"classMapping40\.mat: mapClass has the shape \(\) of (<U4|object)"):
        official_frames(tmp_path / "raw")


def test_a_split_of_no_image_is_refused(tmp_path):
    miniature.official(tmp_path / "raw")
    splits = {"trainNdxs": np.zeros((0, 1), np.uint16), "testNdxs": np.array([[1]], np.uint16)}
    scipy.io.savemat(tmp_path / "raw" / "splits.mat", splits)
    with pytest.raises(InputError, match=r"splits\.mat: has numbers of images below 1, or fractions, or none"):
        official_frames(tmp_path / "raw")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("labels", lambda old: old.astype(np.float32), "its labels float32"),
        ("labels", lambda old: old.astype(np.int16) - 1, "has the label -1; labels are 0 to 894"),
        ("images", lambda old: old.astype(np.float32), r"image 3 is float32 of the shape \(60, 80, 3\)"),
        ("images", lambda old: old[:, :2], r"image 3 is uint8 of the shape \(60, 80, 2\)"),
        ("depths", lambda old: old.astype(np.int32), "its depth int32; they are uint8 of"),
    ],
)
def test_matrices_of_other_numbers_are_told_by_file(tmp_path, name, values, told):
    raw = tmp_path / "raw"
    miniature.official(raw)
    with h5py.File(raw / "nyu_depth_v2_labeled.mat", "r+") as file:
        old = file[name][()]
        del file[name]
        file[name] = values(old)
    with pytest.raises(InputError, match=rf"labeled\.mat: .*{told}"):
        frame(official_frames(raw))
