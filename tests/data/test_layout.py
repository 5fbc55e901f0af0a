import pytest

from inverseform.data.layout import LayoutError, files, unpaired
from inverseform.settings import InputError


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_files_are_found_by_their_ending_in_the_order_of_their_keys(tmp_path):
    touch(tmp_path, "b_image.PNG", "a_image.png", ".hidden_image.png", "a_label.png", "notes.txt")
    found = files(tmp_path, ending="_image.png")
    assert list(found) == ["a", "b"] and found["b"].name == "b_image.PNG"
    assert list(files(tmp_path, ending=("_label.png", ".txt"), key=str.upper)) == ["A", "NOTES"]


def test_a_folder_that_is_missing_or_empty_and_a_key_of_two_are_told(tmp_path):
    with pytest.raises(LayoutError, match=r"nowhere: there is no such folder; it must hold \*\.png or \*\.jpg"):
        files(tmp_path / "nowhere", ending=(".png", ".jpg"))
    with pytest.raises(LayoutError, match=r"has no \*\.png; copy the data set again"):
        files(tmp_path, ending=".png")
    touch(tmp_path, "a.png", "a.jpg", "b.png", "b.jpg")
    with pytest.raises(LayoutError, match=r"a\.png: is a, and so is .*a\.jpg; remove one of the two \(and 1 more") as e:
        files(tmp_path, ending=(".png", ".jpg"))
    assert len(e.value.problems) == 2 and isinstance(e.value, InputError)


def test_partners_that_are_missing_are_all_told(tmp_path):
    images = {name: tmp_path / f"{name}.jpg" for name in "abc"}
    labels = {name: tmp_path / "labels" / f"{name}.png" for name in "bd"}
    told = unpaired(images, labels, what="label map", folder=tmp_path / "labels")
    assert [line.split(": ")[1] for line in told] == [f"has no label map in {tmp_path / 'labels'}"] * 2 + [
        "is a label map of no image"
    ]
    assert unpaired(images, images, what="label map", folder=tmp_path) == []
