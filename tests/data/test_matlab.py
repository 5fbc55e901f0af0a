import sys

import numpy as np
import pytest
import scipy.io

from inverseform.data.matlab import read_mat
from inverseform.settings import InputError


@pytest.fixture
def path(tmp_path):
    rows = np.empty((1, 2), dtype=[("name", object), ("mask", object)])
    rows[0] = [("head", np.eye(3)), ("foot", np.zeros((2, 2)))]
    content = {"matrix": np.arange(6, dtype=np.uint16).reshape(2, 3), "anno": {"rows": rows, "none": np.zeros((0, 0))}}
    scipy.io.savemat(tmp_path / "a.mat", content, do_compression=True)
    return tmp_path / "a.mat"


def test_matrices_are_arrays_and_structures_are_dicts(path):
    matrix, anno = read_mat(path, "matrix", "anno")
    assert (matrix == [[0, 1, 2], [3, 4, 5]]).all() and matrix.dtype == np.uint16
    assert [row["name"] for row in anno["rows"]] == ["head", "foot"]
    assert (anno["rows"][0]["mask"] == np.eye(3)).all() and len(anno["none"]) == 0


def test_a_missing_variable_is_told(path):
    with pytest.raises(InputError, match=r"a\.mat: has no variable LabelMap; copy it again"):
        read_mat(path, "LabelMap")


def test_a_file_cut_short_anywhere_is_told(path):
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.mat: (cannot be read as a MATLAB file|has no variable)"):
            read_mat(path, "matrix", "anno")


def test_a_damaged_file_is_told_or_read_as_something(path):
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(128, len(whole), 3):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(bytes(damaged))
        try:
            read_mat(path, "matrix", "anno")
        except InputError as error:
            assert str(path) in str(error)


def test_files_of_version_73_and_files_that_are_not_there_are_told(path):
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(512))
    with pytest.raises(InputError, match=r"a\.mat: cannot be read as a MATLAB file"):
        read_mat(path, "matrix")
    path.unlink()
    with pytest.raises(InputError, match=r"a\.mat: cannot be read as a MATLAB file .*No such file"):
        read_mat(path, "matrix")


def test_without_scipy_it_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(InputError, match=r'is read by scipy, which is missing; pip install "inverseform\[matlab\]"'):
        read_mat(path, "matrix")
