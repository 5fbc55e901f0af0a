"""What people write is read as it stands there, or refused with the file, the reason and what to do."""

import pytest

from pipeline import InputError
from pipeline.yaml_file import read


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.yaml"


def test_a_file_is_read_as_it_stands_there(file):
    file.write_text("a: &one {b: 1, c: é}\nd: {<<: *one, b: 2}\ne: {<<: *one}\n", encoding="utf-8")
    one = {"b": 1, "c": "é"}
    assert read(file, flag="--profile") == {"a": one, "d": one | {"b": 2}, "e": one}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: 1\nb: {c: 2, c: 3}\n", r"c is there twice\n.*line 2, column 11"),
        (b"claim: x\nclaim: x\n", r"claim is there twice\n.*line 2, column 1"),
        (b"a: [", "expected the node content"),
        (b"a: 1\n---\nb: 2\n", "expected a single document"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"a: 2026-13-45\n", "month must be in 1..12"),
        (b"a: !!python/object:os.system x\n", "could not determine a constructor"),
        (b"[" * 9999, "nested too deeply"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(content, reason, file):
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"^--profile {file} is not YAML: (?s:.*){reason}(?s:.*); mend it there$"):
        read(file, flag="--profile")


def test_a_file_that_cannot_be_read_is_named_with_its_flag(file, tmp_path):
    for place, reason in ((file, "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"^--params {place}: {reason}; type --params and the name of a file"):
            read(place, flag="--params")
