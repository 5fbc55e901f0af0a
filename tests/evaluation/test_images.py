import re
from dataclasses import replace

import pytest
import torch

from inverseform.evaluation.images import check_labels, find, hashed, read, read_earlier, write
from inverseform.evaluation.measures import Columns
from inverseform.settings import InputError
from tests.evaluation.drawn import CLASSES, scene, table


@pytest.fixture
def images():
    return table([scene(seed) for seed in range(4)])


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path, images):
    write(tmp_path / "images.csv", images)
    again = read(tmp_path / "images.csv")
    assert torch.equal(again.counts, images.counts)
    assert (again.split, again.names, again.labels, again.columns) == ("val", images.names, images.labels,
                                                                       images.columns)  # fmt: skip
    write(tmp_path / "again.csv", again)
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "images.csv").read_bytes()


def test_the_table_is_found_by_its_folder_and_by_the_metrics_beside_it(tmp_path, images):
    write(tmp_path / "images.csv", images)
    for path in (tmp_path, tmp_path / "metrics.json", tmp_path / "images.csv"):
        assert find(path) == tmp_path / "images.csv"


def test_an_evaluation_without_a_table_is_refused(tmp_path):
    (tmp_path / "metrics.json").write_text("{}")
    for path in (tmp_path, tmp_path / "metrics.json"):
        with pytest.raises(InputError, match=r"there is no .*images\.csv.* run that evaluation again"):
            find(path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: "", "not enough values"),
        (lambda text: text.splitlines()[0] + "\n", "rows are missing"),
        (lambda text: text.replace("bin_right 15", "bin_right 16"), "its columns are others"),
        (lambda text: text.rsplit(",", 3)[0] + "\n", "or cut off"),
        (lambda text: re.sub(r",[^,\n]+\n$", ",nan\n", text), "not finite"),
        (lambda text: text.replace("\nval,", "\ntest,", 1), "several splits"),
    ],
    ids=["empty", "no rows", "columns", "cut off", "nan", "splits"],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, images, damage, reason):
    write(tmp_path / "images.csv", images)
    (tmp_path / "images.csv").write_text(damage((tmp_path / "images.csv").read_text()))
    with pytest.raises(InputError, match=rf"images\.csv: not a table of images .*{reason}"):
        read(tmp_path / "images.csv")


def test_an_earlier_table_comes_in_the_order_of_this_one(tmp_path, images):
    write(tmp_path / "images.csv", images)
    names = images.names[::-1]
    earlier = read_earlier(tmp_path, split="val", classes=CLASSES, names=names)
    assert earlier.names == names
    assert torch.equal(earlier.counts, images.counts.flip(0))
    assert earlier.labels == images.labels[::-1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": "test"}, "split val there and test here"),
        ({"classes": ("road", "absent", "tree, large")}, "classes road, tree, large, absent there and road, absent"),
        ({"names": ("image 0", "image 1", "image 2", "other")}, "4 images there and 4 here, of which 2 are in one"),
        ({"names": ("image 0", "image 1", "image 2", "other")}, ".* are in one of the two alone, as image 3 there"),
        ({"names": ("image 0", "image 1")}, "4 images there and 2 here"),
    ],
)  # fmt: skip
def test_an_evaluation_of_other_data_is_refused_with_what_differs(tmp_path, images, change, told):
    write(tmp_path / "images.csv", images)
    asked = {"split": "val", "classes": CLASSES, "names": images.names, **change}
    with pytest.raises(InputError, match=rf"cannot be compared with this one \({told}"):
        read_earlier(tmp_path, **asked)


def test_other_labels_under_the_same_name_are_refused(tmp_path, images):
    other = replace(images, labels=(*images.labels[:3], "0" * 16))
    check_labels(images, images, path=tmp_path)
    with pytest.raises(InputError, match="1 of the 4 images have other labels, as image 3"):
        check_labels(images, other, path=tmp_path)


def test_the_hash_is_of_the_labels_and_of_their_size():
    labels = torch.arange(12, dtype=torch.uint8)
    found = {hashed(labels.view(shape)) for shape in ((3, 4), (4, 3))} | {hashed(labels.flip(0).view(3, 4))}
    assert len(found) == 3
    assert hashed(labels.view(3, 4)) == hashed(labels.view(4, 3).T.contiguous().T.reshape(3, 4))
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in found)


def test_columns_are_known_by_the_classes_in_them(tmp_path):
    odd = Columns(("a b", "intersection c", "ü,\n\"d'"))
    images = replace(table([scene(0)]), columns=odd)
    write(tmp_path / "images.csv", images)
    assert read(tmp_path / "images.csv").columns == odd
