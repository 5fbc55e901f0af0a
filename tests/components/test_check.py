import os
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from components import check
from components.ingest import IngestParams
from inverseform.boundary import BoundaryParams
from inverseform.data.folder import FolderParams
from inverseform.data.layout import LayoutError
from tests.data.miniatures import folder as miniature
from tests.drawn import ROOT

DATA = {
    "name": "folder", "classes": ["sky", "road", "car", "lorry"], "ignore_index": 11, "label_format": "ids",
    "colours": [[0, 0, 255], [128, 64, 128], [200, 0, 0], [9, 9, 9]],
}  # fmt: skip
SECTION = {"data": DATA, "boundary": {"operator": "sobel", "radius": 1}, "workers": 2, "shard_mib": 1}


def settings():
    colours = tuple(map(tuple, DATA["colours"]))
    data = FolderParams(**{**DATA, "classes": tuple(DATA["classes"]), "colours": colours})
    return IngestParams(data=data, boundary=BoundaryParams(operator="sobel", radius=1), workers=2, shard_mib=1)


@pytest.fixture
def raw(tmp_path):
    miniature.draw(tmp_path / "raw")
    return tmp_path / "raw"


@pytest.fixture
def line(raw, tmp_path):
    """The command line."""
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": SECTION}))
    return ["--check", "--params", str(tmp_path / "params.yaml"), "--raw", str(raw), "--grid", str(tmp_path / "g.png")]


def run(line, capsys):
    """Exit status and what is printed."""
    try:
        check.main(line)
        status = 0
    except SystemExit as left:
        status = left.code
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_what_is_there_is_told_and_drawn(line, capsys, tmp_path):
    status, out, err = run(line, capsys)
    assert status == 0 and "error" not in err
    rows = {words[1]: words for row in out.splitlines() if len(words := [w.strip() for w in row.split("│")]) > 2}
    assert rows["train"][2:7] == ["2", "", "12", "16", "1"]
    # 10 void pixels of 192 in each; of the known 182 the road has 36.
    assert rows["val"][7] == "5.21 %" and rows["1"][2:5] == ["road", *["19.8 %, 2"] * 2]
    assert rows["3"][3:6] == ["never"] * 3
    assert rows["hha"][2].startswith("2, 100 %, 0 to 25") and rows["hha"][4] == "none"
    assert "train: classes that never occur: lorry" in out
    assert "ingest     about" in out and "as 6 samples" in out
    with Image.open(tmp_path / "g.png") as grid:
        assert grid.format == "PNG" and grid.width > 1900


def test_all_that_is_damaged_is_told_and_the_rest_is_drawn(line, raw, capsys, tmp_path):
    for name in ("train/images/a.png", "val/labels/b.png"):
        (raw / name).write_bytes((raw / name).read_bytes()[:50])
    status, out, err = run(line, capsys)
    assert status == 2 and err.count("cannot be decoded") == 2 and err.endswith("\n2 problems\n")
    assert f"error: {raw}/train/images/a.png: " in err and f"error: {raw}/val/labels/b.png: " in err
    assert "as 4 samples" in out and (tmp_path / "g.png").exists()


def test_a_name_that_is_not_in_utf_8_is_told_and_the_rest_is_drawn(line, raw, capsys, tmp_path):
    for kind in ("images", "labels"):
        (raw / "test" / kind / "a.png").rename(raw / "test" / kind / os.fsdecode(b"stra\xdfe.png"))
    status, _, err = run(line, capsys)
    assert status == 2 and err.endswith("\n1 problem\n") and (tmp_path / "g.png").exists()
    assert "error: test: 'stra\\udcdfe': the name is not in UTF-8, as samples' names are; rename the file\n" in err


def test_all_that_is_missing_is_told(line, raw, capsys):
    for name in ("train/labels/a.png", "val/hha/b.png", "test/images/a.png"):
        (raw / name).unlink()
    status, _, err = run(line, capsys)
    assert status == 2 and err.count("error: ") == 3 and err.endswith("\n3 problems\n")
    with pytest.raises(LayoutError):
        check.check(settings(), raw=raw, grid=raw / "g.png")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--overrides", '{"wrkers": 1}'], "ingest.wrkers is not a setting; did you mean workers"),
        (["--params", "nowhere.yaml"], "nowhere.yaml: No such file"),
    ],
)
def test_wrong_settings_are_told_without_a_traceback(line, capsys, changes, message):
    status, _, err = run([*line, *changes], capsys)
    assert status == 2 and message in err and err.endswith("\n1 problem\n")


def test_as_a_function_it_gives_numbers(raw, tmp_path):
    found = check.check(settings(), raw=raw, grid=tmp_path / "deep" / "g.png")
    assert found.problems == [] and found.splits["test"].count == 2 and (tmp_path / "deep" / "g.png").exists()
    assert np.isclose(found.splits["train"].void, 10 / 192)


def test_ingest_runs_it_and_writes_no_samples(line, tmp_path):
    command = [sys.executable, "-m", "components.ingest", *line, "--samples", str(tmp_path / "samples")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "grid " in done.stdout and "check train 2 of 2" in done.stderr and not (tmp_path / "samples").exists()


@pytest.mark.parametrize(("seconds", "told"), [(0.34, "0.34 s"), (42.3, "42 s"), (330, "5.5 min"), (20_000, "5.56 h")])
def test_times_are_told_in_units_for_people(seconds, told):
    assert check._time(seconds) == told


def test_lengths_are_told_by_their_least_median_and_most():
    assert check._range([(10, 1), (20, 5), (90, 1)]) == "10 / 20 / 90"
    assert check._range([(7, 3)]) == "7" and check._range([]) == ""
