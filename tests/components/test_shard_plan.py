import itertools
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.shard_plan import Job, Plan, every_nth, find_plan, inputs_of, probes, write_plan, write_whole
from inverseform.data.dataset import Dataset, Reading
from inverseform.settings import InputError
from tests.drawn import ROOT

SETTINGS = {"version": 4, "info": {"boundary": {"radius": 1}, "classes": ("a", "b")}}


@dataclass(frozen=True)
class Named:
    name: str

    def read(self) -> Reading:
        raise AssertionError("a plan needs names alone")


def dataset(**counts: int) -> Dataset:
    splits = {split: [Named(f"{n:03d}") for n in range(count)] for split, count in counts.items()}
    return Dataset("drawn", ("a", "b"), ((0, 0, 0),) * 2, splits)


def plan(**changes) -> Plan:
    return Plan(**{"settings": SETTINGS, "inputs": {"raw": "r"}, "sizes": {"train": 4, "val": 5}, **changes})


@pytest.mark.parametrize("counts", [{"train": 9, "val": 5}, {"train": 8, "val": 1}, {"train": 1, "val": 0}])
def test_every_sample_is_in_one_shard_and_shards_are_in_order(counts):
    jobs = plan().jobs(counts)
    for split, count in counts.items():
        mine = [job for job in jobs if job.split == split]
        assert [n for job in mine for n in range(job.first, job.last)] == list(range(count))
        assert [job.number for job in mine] == list(range(len(mine)))
        assert all(0 < job.last - job.first <= plan().sizes[split] for job in mine)
    assert Job("val", 3, 0, 5).name == "val-00003"


def test_each_machine_makes_every_nth_shard_and_together_they_make_all():
    shards = list(range(10))
    parts = [shards[every_nth(number, 3)] for number in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    for number, of in [(3, 3), (-1, 3), (0, 0), (None, 3), (0, None)]:
        with pytest.raises(InputError, match=rf"--shard {number} --of {of}: .*write --shard 0 --of 8"):
            every_nth(number, of)


@pytest.mark.parametrize(("count", "probed"), [(0, 0), (1, 1), (2, 2), (100, 2), (367, 5), (10**5, 32)])
def test_some_samples_are_probed_evenly(count, probed):
    chosen = probes(list(range(count)))
    assert len(chosen) == len(set(chosen)) == probed
    if probed:
        gaps = [b - a for a, b in itertools.pairwise(chosen)]
        assert all(abs(gap - count / probed) <= 1 for gap in gaps) and chosen[0] <= count / probed


def test_a_plan_is_found_again_by_the_same_settings_alone(tmp_path):
    assert find_plan(tmp_path, SETTINGS, {"raw": "r"}) is None
    write_plan(tmp_path, plan())
    assert find_plan(tmp_path, SETTINGS, {"raw": "r"}).sizes == {"train": 4, "val": 5}
    other = {**SETTINGS, "info": {**SETTINGS["info"], "boundary": {"radius": 2}}}
    with pytest.raises(InputError, match=rf"(?s)info\.boundary\.radius: 1 .* 2 now\n.*rm -r {tmp_path}"):
        find_plan(tmp_path, other, {"raw": "r"})
    with pytest.raises(InputError, match='input raw: "r" in the checkpoint, "s" now'):
        find_plan(tmp_path, SETTINGS, {"raw": "s"})


def test_of_changed_raw_files_it_is_said_how_they_are_found_and_that_finds_them(tmp_path):
    # Beside each other: what lies under --raw must not change.
    raw, folder = tmp_path / "my raw", tmp_path / "c"
    (raw / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        (raw / "images" / name).write_bytes(b"one")
    folder.mkdir()
    before = inputs_of(dataset(train=2), raw)
    write_plan(folder, plan(inputs=before))
    assert find_plan(folder, SETTINGS, before, raw=raw) is not None
    # As copied with its time, which tells nothing then.
    time.sleep(0.02)
    (raw / "images" / "b.png").write_bytes(b"three")
    os.utime(raw / "images" / "b.png", ns=(1, 1))
    now = inputs_of(dataset(train=3), raw)
    with pytest.raises(InputError, match=r"(?s)input raw: files under .* are others.*input train_names: ") as caught:
        find_plan(folder, SETTINGS, now, raw=raw)
    assert before["raw"] not in str(caught.value) and now["raw"] not in str(caught.value)
    [command] = [line.partition("see which: ")[2] for line in str(caught.value).splitlines() if "see which" in line]
    found = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
    assert found.stdout == f"{raw}/images/b.png\n"


def test_a_damaged_plan_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match=r"plan\.json: is not the plan of any shards; begin anew: rm -r"):
        find_plan(tmp_path, SETTINGS, {})


def test_a_small_file_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    write_whole(tmp_path / "one", "first")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        write_whole(tmp_path / "one", "second")
    assert (tmp_path / "one").read_text() == "first"


def changed_content(raw: Path) -> None:
    (raw / "images" / "a.png").write_bytes(b"other")


def touched(raw: Path) -> None:
    os.utime(raw / "images" / "a.png", ns=(1, 1))


def renamed(raw: Path) -> None:
    (raw / "images" / "a.png").rename(raw / "images" / "b.png")


def added(raw: Path) -> None:
    (raw / "c.png").write_bytes(b"")


@pytest.mark.parametrize("change", [changed_content, touched, renamed, added])
def test_what_is_read_is_told_apart_by_names_sizes_and_times(tmp_path, change):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"one")
    before = inputs_of(dataset(train=2), tmp_path)
    assert inputs_of(dataset(train=2), tmp_path) == before
    assert inputs_of(dataset(train=3), tmp_path)["train_names"] != before["train_names"]
    change(tmp_path)
    assert inputs_of(dataset(train=2), tmp_path)["raw"] != before["raw"]


def test_what_is_hidden_is_read_by_nobody_and_may_change(tmp_path):
    (tmp_path / "images").mkdir()
    before = inputs_of(dataset(train=2), tmp_path)
    (tmp_path / "images" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "a.png").write_bytes(b"x")
    assert inputs_of(dataset(train=2), tmp_path) == before


def test_a_name_that_is_not_in_utf_8_is_refused(tmp_path):
    (tmp_path / os.fsdecode(b"stra\xdfe.png")).write_bytes(b"")
    with pytest.raises(InputError, match=r"'stra\\udcdfe\.png 0 \d+': the name is not in UTF-8, as samples' names are"):
        inputs_of(dataset(train=2), tmp_path)


def test_files_behind_a_url_are_told_apart_too_and_nothing_is_said_of_find(tmp_path):
    program = """
import pathlib, sys
from components.shard_plan import Plan, find_plan, inputs_of, write_plan
from inverseform.data.dataset import Dataset
from inverseform.location import locate
raw, nothing = locate("memory://raw"), Dataset("drawn", (), (), {})
raw.mkdir()
(raw / "a.png").write_bytes(b"one")
one, again = inputs_of(nothing, raw), inputs_of(nothing, raw)
(raw / "a.png").write_bytes(b"two")
print(one == again, one == inputs_of(nothing, raw))
folder = pathlib.Path(sys.argv[1])
write_plan(folder, Plan(settings={}, inputs=one, sizes={}))
try:
    find_plan(folder, {}, inputs_of(nothing, raw), raw=raw)
except ValueError as error:
    print(str(error).splitlines()[1])
"""
    run = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True)
    told = "- input raw: files under memory://raw are others than when the run began"
    assert run.stdout.splitlines() == ["True False", told], run.stderr
