"""Of a run on this machine what needs no engine; the rest is in tests/containers/test_run_local.py."""

import gc
import warnings
from pathlib import Path

import pytest

from pipeline import InputError
from pipeline.local_graph import Graph
from pipeline.local_tasks import Done
from pipeline.run_local import _hand_over, run_local, table
from tests.containers import graphs

IMAGE = "localhost/inverseform/small:1.0.0"


@pytest.fixture
def package(tmp_path):
    return graphs.two(tmp_path / "graph.yaml", IMAGE, "answer()")


def test_without_an_engine_it_says_so(package, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with warnings.catch_warnings():
        # The engine's client leaves the socket open that led nowhere.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(
            InputError, match=r"no container engine answers.*DOCKER_HOST is unix://.*no\.sock"
        ) as caught:
            run_local(package, {}, work=tmp_path / "work")
        del caught
        gc.collect()


@pytest.mark.parametrize("raw", ["nowhere", "s3://bucket/set"])
def test_raw_data_elsewhere_are_refused(raw, package, tmp_path):
    with pytest.raises(InputError, match=f"--raw {raw.replace('//', '/+')}: no such file or folder on this machine"):
        run_local(package, {}, raw=Path(raw), work=tmp_path / "work")


def test_outputs_that_are_there_are_refused_before_anything_runs(package, tmp_path):
    (tmp_path / "mine").write_text("mine")
    for place in (tmp_path / "mine", tmp_path):
        with pytest.raises(InputError, match=r"--outputs .* is there already; remove it, or name another folder"):
            run_local(package, {}, work=tmp_path / "work", outputs=place)
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "work").exists()


def test_the_table_has_a_line_for_every_task(package):
    done = [Done("first", "comp-first", 1.25, "exit status 1", {})]
    assert table(Graph(package), done).splitlines() == [
        "task    state       seconds",
        "first   failed          1.2  exit status 1",
        "second  not run",
    ]


def test_outputs_go_by_stage_and_port(tmp_path):
    for name in ("net", "part"):
        (tmp_path / name).write_text(name)
    done = [
        Done("train-inverse", "comp-train-inverse", 1.0, "", {"inverse_net": tmp_path / "net"}),
        Done("ingest-shard[2]", "comp-ingest-shard", 1.0, "", {"samples": tmp_path / "part"}),
    ]
    _hand_over(done, tmp_path / "outputs")
    assert (tmp_path / "outputs" / "train_inverse" / "inverse_net").read_text() == "net"
    assert (tmp_path / "outputs" / "ingest_shard" / "2" / "samples").read_text() == "part"
