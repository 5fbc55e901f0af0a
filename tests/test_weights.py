import json
import subprocess
import sys

import pytest
import torch

from inverseform import weights
from inverseform.settings import InputError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2, 3])}


def test_tensors_and_settings_come_back(tmp_path):
    weights.save(tmp_path / "net", TENSORS, {"tile": 64}, format="thing/1")
    tensors, settings = weights.load(tmp_path / "net", format="thing/1")
    assert settings == {"tile": 64}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS) and len(tensors) == 2


def test_saving_again_replaces_the_whole_folder_and_leaves_nothing_beside_it(tmp_path):
    weights.save(tmp_path / "net", TENSORS, {"tile": 64}, format="thing/1")
    weights.save(tmp_path / "net", {"a": torch.zeros(1)}, {}, format="thing/1")
    assert list(weights.load(tmp_path / "net", format="thing/1")[0]) == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


def test_the_same_tensors_have_the_same_digest(tmp_path):
    for name in ("one", "other"):
        weights.save(tmp_path / name, TENSORS, {}, format="thing/1")
    weights.save(tmp_path / "third", {"a": TENSORS["a"] + 1, "b": TENSORS["b"]}, {}, format="thing/1")
    one, other, third = (weights.digest(tmp_path / name) for name in ("one", "other", "third"))
    assert one == other != third and len(one) == 64


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder.*train_inverse.*nowhere"):
        weights.load(tmp_path / "nowhere", format="thing/1")


def test_another_format_is_refused_by_its_name(tmp_path):
    weights.save(tmp_path / "net", TENSORS, {}, format="other/2")
    with pytest.raises(InputError, match=r"net: holds 'other/2' and 'thing/1' was expected"):
        weights.load(tmp_path / "net", format="thing/1")


@pytest.mark.parametrize("file", ["weights.safetensors", "settings.json"])
def test_a_cut_file_is_refused(tmp_path, file):
    weights.save(tmp_path / "net", TENSORS, {"tile": 64}, format="thing/1")
    path = tmp_path / "net" / file
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InputError, match=r"net: cannot be read as a saved network"):
        weights.load(tmp_path / "net", format="thing/1")


@pytest.mark.parametrize("text", [b"\xff\xfe\x80", b"[1]", b'"net"'])
def test_settings_that_are_no_json_object_are_refused(tmp_path, text):
    weights.save(tmp_path / "net", TENSORS, {}, format="thing/1")
    (tmp_path / "net" / weights.SETTINGS).write_bytes(text)
    with pytest.raises(InputError, match=r"net: cannot be read as a saved network"):
        weights.load(tmp_path / "net", format="thing/1")


def test_a_pickle_in_place_of_the_weights_is_never_opened(tmp_path):
    weights.save(tmp_path / "net", TENSORS, {}, format="thing/1")
    torch.save(TENSORS, tmp_path / "net" / weights.WEIGHTS)
    with pytest.raises(InputError, match="cannot be read as a saved network"):
        weights.load(tmp_path / "net", format="thing/1")


FULL = """
import errno, sys, torch
from pathlib import Path
from inverseform import weights
try:
    weights.save(Path(sys.argv[1]) / "net", {"a": torch.zeros(10**6)}, {}, format="thing/1")
except OSError as error:
    sys.exit(0 if error.errno == errno.ENOSPC and error.filename.endswith("weights.safetensors") else repr(error))
sys.exit("it was written")
"""


def test_a_full_disk_is_told_as_one(tmp_path):
    run = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    if subprocess.run([*run, 'mount -t tmpfs none "$1"', "sh", tmp_path], capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a small disk")
    done = subprocess.run([*run, mount, "sh", tmp_path, sys.executable, FULL], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_settings_are_readable_by_a_person(tmp_path):
    weights.save(tmp_path / "net", TENSORS, {"tile": 64}, format="thing/1")
    assert json.loads((tmp_path / "net" / "settings.json").read_text()) == {"format": "thing/1", "tile": 64}


def test_the_first_misfit_of_many_is_named():
    with pytest.raises(RuntimeError) as found:
        torch.nn.Linear(2, 3).load_state_dict({"weight": torch.zeros(4, 2), "strange": torch.zeros(1)})
    told = weights.misfit(found.value)
    assert "bias" in told and "strange" not in told
    assert weights.misfit(RuntimeError("something else")) == "something else"
