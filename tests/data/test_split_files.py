import pytest

from inverseform.data.split_files import FOLDERS, SplitFiles


@pytest.fixture
def split(tmp_path):
    """Two images in each folder there may be; annotators of one of them in a folder."""
    for name, endings in FOLDERS.items():
        (tmp_path / name).mkdir()
        for stem in "ab":
            (tmp_path / name / f"{stem}{endings[-1]}").write_bytes(b"")
    (tmp_path / "edges" / "a.png").unlink()
    (tmp_path / "edges" / "a").mkdir()
    return tmp_path


def problems(split):
    found = []
    SplitFiles(split, found)
    return found


def test_what_belongs_together_is_found_by_its_stem(split):
    found = SplitFiles(split, [])
    assert problems(split) == []
    assert list(found.files) == list(FOLDERS)
    assert all(list(files) == ["a", "b"] for files in found.files.values())
    assert found.files["edges"]["a"].is_dir()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_too_few_too_many_or_of_another_kind_is_told_in_every_folder(split, name):
    kept = split / name / f"b{FOLDERS[name][-1]}"
    kept.rename(kept.with_name("c.xyz"))
    told = problems(split)
    assert any(f"{name}/c.xyz: is not one of {', '.join(FOLDERS[name])}" in line for line in told)
    if name == "images":
        assert sum("has no image in" in line for line in told) == len(FOLDERS) - 1
    else:
        assert any(f"images/b.jpeg: has no {name.replace('predictions', 'prediction')} in" in line for line in told)


def test_an_unknown_folder_and_a_stray_file_are_told(split):
    (split / "label").mkdir()
    (split / "notes.txt").write_text("")
    (split / ".DS_Store").write_text("")
    assert [line.split(": ")[1][:25] for line in problems(split)] == ["is none of the folders im"] * 2


def test_a_split_that_is_not_there_is_told_once_a_folder(tmp_path):
    told = problems(tmp_path / "val")
    assert [line.split(";")[0] for line in told] == [
        f"{tmp_path}/val/{name}: does not exist" for name in ("images", "labels")
    ]
