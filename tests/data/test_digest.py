import shutil

import pytest

from inverseform.data.digest import check_digest, difference, digest_of
from inverseform.settings import InputError
from tests.data.test_shards import write


@pytest.fixture
def shard(tmp_path):
    (path,) = write(tmp_path)
    return path, digest_of(path, samples=50)


def test_a_shard_agrees_with_its_own_digest(shard):
    path, digest = shard
    assert digest.name == path.name and digest.bytes == path.stat().st_size
    assert difference(path, digest, full=False) is None
    assert difference(path, digest, full=True) is None


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_shard_cut_short_is_told_by_its_size(shard, kept):
    path, digest = shard
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"has \d+ bytes and {digest.bytes} were written; delete .*dvc repro ingest"):
        check_digest(path, digest, stage="ingest")


def test_one_changed_byte_is_found_by_reading_all(shard):
    path, digest = shard
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    assert difference(path, digest, full=False) is None
    with pytest.raises(InputError, match="is damaged: its SHA-256 is not that of what was written"):
        check_digest(path, digest, stage="ingest", full=True)


def test_a_damaged_footer_is_found_without_reading_the_rest(shard):
    path, digest = shard
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    assert difference(path, digest, full=False) == "is another shard than was written, or its footer is damaged"


def test_a_shard_that_is_not_there_is_missing(shard, tmp_path):
    path, digest = shard
    shutil.move(path, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"train-00000\.parquet: is missing; delete"):
        check_digest(path, digest, stage="ingest")
