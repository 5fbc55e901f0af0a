import struct

import numpy as np
import pytest
from PIL import Image

from inverseform.data.target_files import (
    ENDINGS,
    read_depth,
    read_edges,
    read_hha,
    read_mask,
    read_normals,
    read_parts,
    read_target,
)
from inverseform.data.tasks import TASKS
from inverseform.settings import InputError


def png(path, values, dtype=np.uint8):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.array(values, dtype=dtype)).save(path)
    return path


def npy(path, values, dtype=np.float32):
    np.save(path, np.array(values, dtype=dtype))
    return path


def coded(vectors):
    return ((np.array(vectors) + 1) / 2 * 255).round().astype(np.uint8)


def test_every_task_has_files_and_a_reader_that_gives_what_its_task_wants(tmp_path):
    assert set(ENDINGS) == set(TASKS)
    grey, rgb, deep = np.zeros((3, 4)), np.full((3, 4, 3), (128, 128, 255)), np.full((3, 4), 1500)
    drawn = {"depth": (deep, np.uint16), "normals": (rgb, np.uint8), "hha": (rgb, np.uint8)}
    for task, wanted in TASKS.items():
        values, dtype = drawn.get(task, (grey, np.uint8))
        target = read_target(task, png(tmp_path / f"{task}.png", values, dtype))
        assert target.dtype == wanted.dtype and target.shape == (wanted.channels or 1, 3, 4)


def test_depth_is_metres_from_millimetres_and_from_numbers(tmp_path):
    wanted = np.array([[[1.5, np.nan, 65.535]]], dtype=np.float32)
    np.testing.assert_allclose(read_depth(png(tmp_path / "a.png", [[1500, 0, 65535]], np.uint16)), wanted)
    np.testing.assert_allclose(read_depth(npy(tmp_path / "a.npy", [[1.5, np.nan, 65.535]])), wanted)
    np.testing.assert_allclose(read_depth(npy(tmp_path / "b.npy", [[1.5, 0, 65.535]], np.float64)), wanted)
    assert np.isnan(read_depth(npy(tmp_path / "c.npy", [[np.inf]]))).all()


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([[1, -2.5]], np.float32, r"has depths below 0, the least -2\.5"),
        ([1.0], np.float32, r"has the shape \(1,\) of float32; .*2 axes: height, width$"),
        ([[1000]], np.int64, "of int64; it must be of a floating type"),
    ],
)
def test_numbers_that_are_no_depth_are_refused(tmp_path, values, dtype, message):
    with pytest.raises(InputError, match=message):
        read_depth(npy(tmp_path / "a.npy", values, dtype))


def test_depth_of_8_bits_and_numbers_that_are_cut_short_or_objects_are_refused(tmp_path):
    with pytest.raises(InputError, match="pixels of type L; depth is a grey PNG of 16 bits"):
        read_depth(png(tmp_path / "a.png", [[100]]))
    path = npy(tmp_path / "a.npy", np.ones((9, 9)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"cannot be read as \.npy .*numpy\.save"):
        read_depth(path)
    np.save(tmp_path / "b.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read as \.npy .*Object arrays"):
        read_depth(tmp_path / "b.npy")


def test_normals_of_both_codings_are_unit_vectors_and_unknown_where_they_say_nothing(tmp_path):
    slanted = np.array([0.6, 0.0, 0.8])
    grid = np.array([[slanted, [0, 0, 1], [0, -1, 0]]])
    got = read_normals(png(tmp_path / "a.png", coded(grid)))
    assert got.dtype == np.float16
    assert np.abs(got.astype(float).transpose(1, 2, 0) - grid).max() < 0.006
    # Black, mid-grey, NaN and nought are unknown; a mean of two directions is made one unit long.
    pixels = np.concatenate([coded(grid), [[[0, 0, 0], [127, 127, 127], [128, 128, 128]]]])
    assert np.isnan(read_normals(png(tmp_path / "b.png", pixels))[:, 1]).all()
    rows = np.concatenate([grid, [[[np.nan, 0, 1], [0, 0, 0], slanted * 0.8]]])
    got = read_normals(npy(tmp_path / "a.npy", rows)).astype(float)
    assert np.isnan(got[:, 1, :2]).all() and np.abs(got[:, 1, 2] - slanted).max() < 1e-3
    assert np.isnan(read_normals(png(tmp_path / "c.png", np.zeros((2, 2, 3))))).all()


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((2, 2, 3), (0.0, 0.0, 2.0)), "normals are 2 long and not 1"),
        (np.full((2, 2, 3), (0.0, 0.6, -0.8)), r"point away from the camera \(z is -0\.8"),
        (np.zeros((3, 2, 2)), r"has the shape \(3, 2, 2\); normals are \(height, width, 3\)"),
    ],
)
def test_normals_of_another_coding_are_refused(tmp_path, vectors, message):
    with pytest.raises(InputError, match=message):
        read_normals(npy(tmp_path / "a.npy", vectors))


def test_masks_are_hard_in_three_forms(tmp_path):
    for number, values in enumerate(([[0, 255, 128]], [[0, 1, 0]])):
        got = read_mask(png(tmp_path / f"{number}.png", values))
        assert got.tolist() == [[[0, 1, 255 if number == 0 else 0]]]
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "c.png")
    assert read_mask(tmp_path / "c.png").tolist() == [[[0, 1]]]
    with pytest.raises(InputError, match=r"the value 7 is at row 0, column 1 \(2 pixels.*mogrify -threshold"):
        read_mask(png(tmp_path / "d.png", [[0, 7, 250]]))
    with pytest.raises(InputError, match="pixels of type RGB; it must be grey"):
        read_mask(png(tmp_path / "e.png", np.zeros((2, 2, 3))))


def test_annotators_of_an_image_are_channels_in_the_order_of_their_names(tmp_path):
    for name, value in (("2", 255), ("1", 0)):
        png(tmp_path / "several" / f"{name}.png", [[value, 0]])
    assert read_edges(tmp_path / "several").tolist() == [[[0, 0]], [[1, 0]]]
    assert read_edges(tmp_path / "several" / "2.png").tolist() == [[[1, 0]]]
    png(tmp_path / "several" / "3.png", [[0]])
    with pytest.raises(InputError, match=r"3\.png: is 1x1 and 1\.png is 2x1"):
        read_edges(tmp_path / "several")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: is empty; it needs a PNG of each annotator"):
        read_edges(tmp_path / "none")


def test_parts_are_ids_of_a_grey_or_palette_picture_and_hha_is_rgb(tmp_path):
    assert read_parts(png(tmp_path / "a.png", [[0, 6, 255]])).tolist() == [[[0, 6, 255]]]
    palette = Image.fromarray(np.array([[0, 6, 255]], np.uint8))
    palette.putpalette([3] * 768)
    palette.save(tmp_path / "b.png")
    assert read_parts(tmp_path / "b.png").tolist() == [[[0, 6, 255]]]
    assert read_hha(png(tmp_path / "c.png", [[[1, 2, 3]]])).tolist() == [[[1]], [[2]], [[3]]]


def test_jpeg_is_no_mask_though_its_name_ends_with_png(tmp_path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png", "JPEG")
    with pytest.raises(InputError, match=r"a\.png: is a JPEG file"):
        read_mask(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: is a JPEG file"):
        read_depth(tmp_path / "a.png")


@pytest.mark.parametrize(
    "header", ["{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 9), }", "{'descr': ("]
)
def test_numbers_whose_header_asks_for_any_memory_or_is_no_python_are_refused(tmp_path, header):
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + bytes(64))
    with pytest.raises(InputError, match=r"a\.npy: cannot be read as \.npy .*write it again with numpy\.save"):
        read_depth(path)
