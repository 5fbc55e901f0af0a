"""Of a run on this machine what needs no engine; the rest is in tests/containers/test_run_local.py."""

from pathlib import Path

import pytest

from pipeline import InputError
from pipeline.local_graph import Graph
from pipeline.local_tasks import Done
from pipeline.run_local import _alone, _fault, _hand_over, _place, run_local, table
from tests.containers import graphs

IMAGE = "localhost/inverseform/small:1.0.0"


@pytest.fixture
def package(tmp_path):
    return graphs.two(tmp_path / "graph.yaml", IMAGE, "answer()")


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
    assert _hand_over(done, tmp_path / "made", tmp_path / "outputs") == ""
    assert (tmp_path / "outputs" / "train_inverse" / "inverse_net").read_text() == "net"
    assert (tmp_path / "outputs" / "ingest_shard" / "2" / "samples").read_text() == "part"
    assert not (tmp_path / "made").exists()


def test_outputs_that_another_run_has_put_there_meanwhile_are_left_alone(tmp_path):
    (tmp_path / "net").write_text("net")
    theirs = tmp_path / "outputs" / "theirs"
    theirs.mkdir(parents=True)
    done = [Done("train-inverse", "comp-train-inverse", 1.0, "", {"inverse_net": tmp_path / "net"})]
    fault = _hand_over(done, tmp_path / "made", tmp_path / "outputs")
    assert fault == f"--outputs {tmp_path}/outputs: Directory not empty; the rest is in {tmp_path}/made"
    assert (tmp_path / "made" / "train_inverse" / "inverse_net").read_text() == "net"
    assert list((tmp_path / "outputs").iterdir()) == [theirs]


def test_where_outputs_go_is_known_to_be_writable_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--outputs .*file/out: Not a directory; name a folder that can be written"):
        with _place(tmp_path / "file" / "out"):
            pass
    (tmp_path / "there").mkdir()
    with _place(tmp_path / "there") as made:
        assert made == tmp_path / "there"
    with _place(tmp_path / "new") as made:
        assert made.is_dir() and made.parent == tmp_path
    assert {path.name for path in tmp_path.iterdir()} == {"file", "there"}


def test_a_folder_of_runs_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"--work .*file: File exists; name a folder that can be written"):
        with _alone(tmp_path / "file"):
            pass
    with _alone(tmp_path / "work"), pytest.raises(InputError, match="is used by another run"):
        with _alone(tmp_path / "work"):
            pass


def test_what_went_wrong_first_is_told_before_doubts_and_what_did_not_run(package):
    graph = Graph(package)
    first, second = Done("first", "comp-first", 1.0, "", {}), Done("second", "comp-second", 1.0, "exit status 1", {})
    assert _fault(graph, [first, second], ["doubt"]) == "second: exit status 1"
    assert _fault(graph, [first], ["doubt"]) == "doubt"
    assert _fault(graph, [first], []) == "did not run: second"
    assert _fault(graph, [first, second._replace(fault="")], []) == ""
