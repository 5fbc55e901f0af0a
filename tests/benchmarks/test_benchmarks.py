"""That every benchmark begins: a renamed function would else be found by whoever measures next."""

import argparse
import importlib
import sys

import numpy as np
import pytest
import torch
import yaml
from scipy.io import savemat

from benchmarks import boundaries, degradations, descent, edges, ingest, mba, miou
from inverseform.settings import InputError
from tests.data.miniatures import bsds500, folder
from tests.drawn import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sorted((ROOT / "benchmarks").rglob("*.py"))
]
WITH_ARGUMENTS = [
    name for name in MODULES if "ArgumentParser(" in (ROOT / f"{name.replace('.', '/')}.py").read_text("utf-8")
]


@pytest.fixture(autouse=True)
def _threads():
    """Benchmarks run on one."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the main function of a benchmark with a command line; gives what it prints."""
    monkeypatch.chdir(ROOT)

    def call(module, *words):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, words)])
        module.main()
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The peer of the edges is GPL, and never installed beside us.
        assert (name, error.name) == ("benchmarks.edges_peer", "pyEdgeEval")


def test_all_that_are_measured_by_have_a_command_line_to_ask():
    assert {"benchmarks.ingest", "benchmarks.edges", "benchmarks.losses.__main__"} < set(WITH_ARGUMENTS)
    assert len(WITH_ARGUMENTS) >= 18


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_every_command_line_tells_its_arguments(run, capsys, name):
    with pytest.raises(SystemExit) as left:
        run(importlib.import_module(name), "--help")
    assert left.value.code == 0 and "usage: " in capsys.readouterr().out


def rows(printed):
    """The cells of the lines of a Markdown table, below its head."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "--" not in line][1:]


def test_ingest_is_measured_on_files_of_ones_own(run, tmp_path):
    folder.draw(tmp_path / "raw")
    data = {
        "name": "folder", "classes": ["sky", "road", "car"], "ignore_index": 11, "label_format": "ids",
        "colours": [[0, 0, 255], [128, 64, 128], [200, 0, 0]],
    }  # fmt: skip
    section = {"data": data, "boundary": {"operator": "sobel", "radius": 1}, "workers": 1, "shard_mib": 1}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"ingest": section}))
    words = ("--params", tmp_path / "params.yaml", "--raw", tmp_path / "raw", "--work", tmp_path)
    found = rows(run(ingest, *words, "--runs", 1, "--memory-images", 0))
    assert [row[0] for row in found] == ["images per second, ingest"] * 2 + ["samples per second, shuffled"]
    assert all(float(row[1]) > 0 and float(row[3]) > 0 for row in found)


def test_ingest_is_measured_on_scenes_drawn_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "SIZE", (64, 96))
    settings = ingest.draw(tmp_path / "raw", 2)
    timed = ingest.Clock(cpu=False, workers=1)
    rates = ingest.writing(settings.model_copy(update={"workers": 1}), tmp_path / "raw", tmp_path / "out", 1, timed)
    assert set(rates) == {"ingest", "reader", "pil"} and all(len(some) == 1 for some in rates.values())


def test_mean_iou_is_measured_beside_torchmetrics(run):
    printed = run(miou, "--size", 1, 16, 24, "--classes", 2, 19, "--repeats", 1, "--turns", 1)
    assert "IoU equal to 1e-6" in printed and [line.split()[0] for line in printed.splitlines()[-2:]] == ["2", "19"]


def test_mean_boundary_accuracy_is_measured_beside_its_definition(run):
    printed = run(mba, "--height", 60, "--width", 90, "--classes", 3, "--repeats", 1, "--turns", 2)
    assert "equal to 1e-12" in printed and len(printed.splitlines()[-1].split()) == 5


def test_boundaries_are_measured_beside_one_hot_maps(run, monkeypatch):
    for name, value in (("HEIGHT", 64), ("WIDTH", 96), ("RUNS", 1)):
        monkeypatch.setattr(boundaries, name, value)
    assert [row[0] for row in rows(run(boundaries))] == ["2", "19", "150"]


def test_degradations_are_measured_one_by_one(run, monkeypatch):
    monkeypatch.setattr(degradations, "COUNT", 2)
    monkeypatch.setattr(degradations, "RUNS", 1)
    names = [row[0] for row in rows(run(degradations))]
    assert {*degradations.DEGRADATIONS, "all", "none", "as in params.yaml", "homography"} < set(names)


def test_descent_is_measured_term_by_term(run, monkeypatch):
    monkeypatch.setattr(descent, "COUNT", 1)
    found = rows(run(descent, "--steps", 1))
    assert [row[0] for row in found] == ["cross entropy", "boundary cross entropy", "InverseForm"]


@pytest.mark.parametrize("detector", ["sobel", "canny", "ucm"])
def test_edges_are_measured_with_the_annotators_of_the_release(tmp_path, detector):
    people = bsds500.draw_mat(tmp_path, place="BSDS500/data")["test"]
    bsds500.draw_shares(tmp_path / "shares")
    release = tmp_path / "BSDS500"
    (release / "ucm2" / "test").mkdir(parents=True)
    for name, everyone in people.items():
        height, width = everyone[0].shape
        savemat(release / "ucm2" / "test" / f"{name}.mat", {"ucm2": np.full((2 * height + 1, 2 * width + 1), 0.5)})
    given = argparse.Namespace(data=tmp_path / "shares", release=release, work=tmp_path, images=2)
    for file, everyone in zip(edges.prepare(given, detector), people.values(), strict=True):
        with np.load(file) as found:
            assert (found["annotators"] == [bsds500.edges(each) > 0 for each in everyone]).all()
            assert found["annotators"].dtype == bool and found["probability"].shape == everyone[0].shape
    assert edges.one(file)[0].images.tolist() == [1, 0]


def test_edges_of_nested_annotators_and_of_no_image(tmp_path):
    people = bsds500.draw_shares(tmp_path)["test"]
    given = argparse.Namespace(data=tmp_path, release=None, work=tmp_path, images=1)
    (file,) = edges.prepare(given, "sobel")
    with np.load(file) as found:
        assert len(found["annotators"]) == len(people["100007"])
    given.data = tmp_path / "nowhere"
    with pytest.raises(InputError, match=r"nowhere: holds no test/images/\*\.jpg"):
        edges.prepare(given, "sobel")
