import subprocess
import sys

import numpy as np
import pytest

from inverseform.data.dataset import decode_image
from inverseform.data.mni import open_mni, tissue, upright


@pytest.fixture(scope="module")
def dataset():
    return open_mni()


def levels(sources):
    return [int(source.name.removeprefix("axial-")) for source in sources]


def test_splits_share_no_slice_and_keep_two_unused_between_them(dataset):
    used = {split: levels(sources) for split, sources in dataset.splits.items()}
    assert list(used) == ["train", "val", "test"]
    for one in used:
        for other in set(used) - {one}:
            assert min(abs(a - b) for a in used[one] for b in used[other]) == 3


def test_every_split_spans_the_brain_and_train_is_the_largest(dataset):
    used = {split: levels(sources) for split, sources in dataset.splits.items()}
    assert len(used["train"]) > 50
    assert all(len(found) > 10 and found[-1] - found[0] > 90 for found in used.values())


def test_every_slice_holds_brain_of_all_four_classes(dataset):
    for sources in dataset.splits.values():
        for source in sources:
            labels = source.read().labels
            assert set(np.unique(labels)) == {0, 1, 2, 3}
            assert (labels > 0).mean() >= 0.1


def test_outside_is_where_the_image_is_black(dataset):
    reading = dataset.splits["test"][5].read()
    assert reading.image.shape == (233, 197, 3)
    assert ((reading.labels == 0) == (reading.image[..., 0] == 0)).all()
    assert (decode_image(reading.encoded, source="x") == reading.image).all()


def test_the_front_of_the_head_is_up(dataset):
    # The eyes are the only part of a low slice in front of its middle.
    lowest = dataset.splits["train"][0].read().labels > 0
    rows = np.flatnonzero(lowest.any(axis=1))
    middle = (rows[0] + rows[-1]) // 2
    assert lowest[:middle].sum() < lowest[middle:].sum() / 2


def test_the_patients_right_is_on_the_left():
    right_front = np.zeros((3, 4), dtype=np.uint8)
    right_front[-1, -1] = 1
    assert upright(right_front).shape == (4, 3)
    assert upright(right_front)[0, 0] == 1


def test_tissue_is_the_larger_map_where_it_is_at_least_a_half():
    t1 = np.array([0, 9, 9, 9, 9, 9])
    grey = np.array([255, 128, 127, 255, 100, 128])
    white = np.array([0, 0, 127, 0, 200, 128])
    assert tissue(t1, grey, white).tolist() == [0, 1, 3, 1, 2, 1]


@pytest.mark.parametrize("package", ["nilearn", "nibabel"])
def test_without_its_packages_it_says_what_to_install(package):
    code = (
        "import importlib.machinery as m, sys\n"
        "find = m.PathFinder.find_spec\n"
        f"m.PathFinder.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
        "from inverseform.data.mni import open_mni\n"
        "try: open_mni()\n"
        "except ValueError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "inverseform[demo]"' in run.stdout
