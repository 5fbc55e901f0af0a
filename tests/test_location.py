import subprocess
import sys
from pathlib import Path

import pytest

from inverseform.location import locate
from inverseform.settings import InputError
from tests.drawn import ROOT


@pytest.mark.parametrize("text", ["data/raw", "/data/raw", "a:b", Path("data/raw")])
def test_what_is_no_url_is_a_path(text):
    assert locate(text) == Path(text) and isinstance(locate(text), Path)


def test_a_url_of_this_machine_is_a_path():
    assert locate("file:///data/raw") == Path("/data/raw")


def run(program: str) -> str:
    """What a program prints; on its own, as annotations with Path, which a URL's is not, are checked in tests alone."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_url_walks_as_a_path_does():
    program = """
from inverseform.location import locate
raw = locate("memory://raw")
(raw / "images").mkdir(parents=True)
(raw / "images" / "one.png").write_bytes(b"1")
found = locate("memory://raw")
[image] = sorted((found / "images").iterdir())
print(found.is_dir(), (found / "labels").is_dir(), image, image.stem, image.suffix, image.read_bytes())
"""
    assert run(program) == "True False memory://raw/images/one.png one .png b'1'\n"


def test_a_url_with_a_password_is_refused_without_repeating_it():
    with pytest.raises(InputError, match=r"a user or a password in it.*AWS_ACCESS_KEY_ID") as caught:
        locate("s3://someone:secret@bucket/raw")
    assert "secret" not in str(caught.value)


def test_a_file_system_that_nobody_knows_is_refused():
    with pytest.raises(InputError, match=r"nowhere://raw: Protocol not known: nowhere; fsspec knows file, memory, s3"):
        locate("nowhere://raw")


def test_without_the_extra_it_says_what_to_install():
    program = """
import sys
sys.modules["upath"] = None
from inverseform.location import locate
from inverseform.settings import InputError
locate("data/raw")
try:
    locate("memory://raw")
except InputError as error:
    print(error)
"""
    assert 'pip install "inverseform[remote]"' in run(program)
