import pytest

from inverseform.data.layout import LayoutError
from inverseform.data.list_files import Kind, listed

MISSING = "cannot be read as a list of names ([Errno 2] No such file or directory"


@pytest.fixture
def raw(tmp_path):
    for folder, names in (("images", "abc"), ("first", "a"), ("second", "abcx")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.png").write_bytes(b"")
    (tmp_path / "train.txt").write_text("b\n\n a \n")
    (tmp_path / "val.txt").write_text("c\n")
    return tmp_path


def kinds(raw):
    return {
        "image": Kind("image", (raw / "images",), ".png"),
        "labels": Kind("label map", (raw / "first", raw / "second"), ".png"),
    }


def lists(raw):
    return {"train": raw / "train.txt", "val": raw / "val.txt", "test": raw / "val.txt"}


def test_names_keep_their_order_and_get_a_file_of_each_kind(raw):
    found = listed(lists(raw), kinds(raw))
    assert list(found["train"]) == ["b", "a"] and found["val"] == found["test"]
    assert found["train"]["a"] == {"image": raw / "images" / "a.png", "labels": raw / "first" / "a.png"}
    assert found["train"]["b"]["labels"] == raw / "second" / "b.png"


def test_a_line_may_have_a_form_of_its_own(raw):
    (raw / "train.txt").write_text("x/a y\nx/b\n")

    def name(line):
        if " " not in line:
            raise ValueError("it must have two parts")
        return line[2]

    with pytest.raises(LayoutError, match=r"train\.txt: line 2 is 'x/b'; it must have two parts"):
        listed({"train": raw / "train.txt"}, kinds(raw), name=name)


def test_everything_that_is_missing_is_told_at_once_and_only_once(raw):
    (raw / "images" / "c.png").unlink()
    (raw / "second" / "b.png").unlink()
    (raw / "train.txt").write_text("a\nb\na\n")
    with pytest.raises(LayoutError) as error:
        listed(lists(raw) | {"more": raw / "more.txt"}, kinds(raw))
    assert [problem.removeprefix(f"{raw}/") for problem in error.value.problems] == [
        "train.txt: line 3 is a, and so is line 1; remove one of the two",
        f"more.txt: {MISSING}: '{raw}/more.txt'); copy it again",
        f"train.txt: has b, and there is no label map b.png in {raw}/first or {raw}/second",
        f"val.txt: has c, and there is no image c.png in {raw}/images",
    ]


def test_a_missing_folder_is_told_rather_than_each_file_in_it(raw):
    for path in (raw / "images").iterdir():
        path.unlink()
    (raw / "images").rmdir()
    with pytest.raises(LayoutError) as error:
        listed(lists(raw), kinds(raw))
    assert len(error.value.problems) == 1 and "there is no such folder" in str(error.value)


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_an_empty_list_is_refused(raw, content):
    (raw / "val.txt").write_text(content)
    with pytest.raises(LayoutError, match=r"val\.txt: is empty"):
        listed(lists(raw), kinds(raw))


def test_the_mark_that_windows_puts_before_a_text_is_no_part_of_a_name(raw):
    (raw / "val.txt").write_text("c\n", encoding="utf-8-sig")
    assert list(listed(lists(raw), kinds(raw))["val"]) == ["c"]
