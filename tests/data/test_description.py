import json

import pytest

from inverseform.boundary import BoundaryParams
from inverseform.data.description import FORMAT, DatasetInfo, read_description, write_info
from inverseform.data.digest import ShardDigest
from inverseform.settings import InputError

INFO = DatasetInfo(
    source="drawn", classes=("a", "b"), colours=((0, 0, 0), (255, 0, 0)),
    boundary=BoundaryParams(operator="sobel", radius=1), tasks=("depth",), counts={"train": 5, "val": 0},
)  # fmt: skip
DIGEST = ShardDigest(name="train-00000.parquet", samples=5, bytes=99, footer="f", sha256="s")


def test_what_is_written_is_read(tmp_path):
    write_info(tmp_path, INFO, {"train": [DIGEST], "val": []})
    said = read_description(tmp_path)
    assert said.info == INFO and said.shards == {"train": (DIGEST,), "val": ()} and said.version == FORMAT.version


def test_the_same_description_is_the_same_bytes(tmp_path):
    write_info(tmp_path, INFO, {"train": [DIGEST], "val": []})
    once = (tmp_path / "dataset.json").read_bytes()
    write_info(tmp_path, INFO, {"val": [], "train": [DIGEST]})
    assert (tmp_path / "dataset.json").read_bytes() == once


def test_the_description_of_version_three_is_refused_as_such(tmp_path):
    (tmp_path / "dataset.json").write_text(INFO.model_dump_json())
    with pytest.raises(
        InputError, match="describes samples of version 3 and samples of version 4 was expected; delete"
    ):
        read_description(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": 4})])
def test_what_is_no_description_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: is not what ingest writes; delete .*dvc repro ingest"):
        read_description(tmp_path)


def test_a_missing_description_is_told(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.json: is missing; delete"):
        read_description(tmp_path)
