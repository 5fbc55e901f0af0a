"""Where a token comes from, and that no message has it."""

from pathlib import Path

import pytest

from pipeline import InputError
from pipeline.tokens import is_open_to_others, read, reader


@pytest.fixture
def file(tmp_path):
    return tmp_path / "token"


@pytest.mark.parametrize("text", ["", "\n", "two words", "line\nline", "na\u00efve"])
def test_what_cannot_be_a_token_is_refused_and_not_repeated(text, file):
    file.write_text(text)
    with pytest.raises(
        InputError, match=rf"^--token-file {file} (holds|is empty).*; put the token alone into it"
    ) as no:
        read(file)
    assert not text.strip() or text not in str(no.value)


def test_a_newline_around_it_is_no_part_of_a_token(file):
    file.write_text("\nsesame\r\n")
    assert read(file) == "sesame"


def test_a_file_that_is_not_there_is_not_named_as_it_may_be_the_token_itself(tmp_path):
    with pytest.raises(InputError, match=r"^--token-file: No such file or directory; give it the name") as no:
        read(tmp_path / "sesame")
    assert "sesame" not in str(no.value)


def test_a_file_is_read_anew_at_each_call(file):
    file.write_text("first")
    token = reader(file)
    file.write_text("second")
    assert token() == "second"


def test_a_file_that_all_may_read_is_known(file):
    assert not is_open_to_others(file)
    file.write_text("sesame")
    for mode, is_open in ((0o600, False), (0o640, False), (0o644, True)):
        file.chmod(mode)
        assert is_open_to_others(file) is is_open


def test_a_device_without_an_end_is_no_token():
    with pytest.raises(InputError, match="holds spaces or letters that no token has"):
        read(Path("/dev/zero"))
