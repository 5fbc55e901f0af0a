import os

import pytest

from components.shard_plan import Job
from components.shard_receipts import PARTIAL, Receipt, keep, partial_folder, put, sweep, whole
from inverseform.data.digest import digest_of

JOB = Job("train", 1, 2, 5)


def kept(folder, data=b"three rows and a footer" * 3):
    """A shard of three, made as the stages make theirs."""
    with partial_folder(folder) as partial:
        made = partial / "train-00001.parquet"
        made.write_bytes(data)
        receipt = Receipt(digest=digest_of(made, samples=3))
        keep(made, folder, JOB, receipt)
    return receipt


def test_a_shard_is_whole_when_its_receipt_is_there(tmp_path):
    assert whole(tmp_path, JOB, Receipt) is None
    receipt = kept(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train-00001.json", "train-00001.parquet"]
    assert whole(tmp_path, JOB, Receipt) == receipt


def test_what_was_not_kept_is_gone_and_what_a_killed_run_left_is_swept(tmp_path):
    with pytest.raises(KeyError), partial_folder(tmp_path) as partial:
        (partial / "half").touch()
        raise KeyError
    assert not list(tmp_path.iterdir())
    (tmp_path / f"{PARTIAL}0" / "deep").mkdir(parents=True)
    (tmp_path / f"{PARTIAL}1-plan.json").touch()
    for name in ("plan.json", "train-00000.json"):
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "train-00000.json"]


def test_a_plan_by_which_nothing_was_made_is_swept_too(tmp_path):
    (tmp_path / "plan.json").touch()
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["receipt", "shard", "shorter", "gone", "fewer"])
def test_what_is_not_whole_is_made_again(tmp_path, damage):
    kept(tmp_path)
    shard, receipt, job = tmp_path / "train-00001.parquet", tmp_path / "train-00001.json", JOB
    data = bytearray(shard.read_bytes())
    match damage:
        case "receipt":
            receipt.write_text(receipt.read_text()[:-9])
        case "shard":
            data[len(data) // 3] ^= 1
            shard.write_bytes(data)
        case "shorter":
            shard.write_bytes(data[:-1])
        case "gone":
            shard.unlink()
        case "fewer":
            job = JOB._replace(last=9)
    assert whole(tmp_path, job, Receipt) is None


@pytest.mark.parametrize("linked", [True, False], ids=["same disk", "another disk"])
def test_a_shard_is_put_into_another_folder(tmp_path, monkeypatch, linked):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "shard").write_bytes(b"rows")
    (tmp_path / "there").mkdir()
    put(tmp_path / "shard", tmp_path / "there")
    assert (tmp_path / "there" / "shard").read_bytes() == b"rows"
    assert (tmp_path / "there" / "shard").samefile(tmp_path / "shard") == linked
