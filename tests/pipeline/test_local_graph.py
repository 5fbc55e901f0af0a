"""What a run on one machine reads from a compiled graph."""

import pytest
import yaml
from kfp import compiler, dsl

from pipeline import InputError, submit
from pipeline.graph import Site
from pipeline.local_graph import Graph, Wants, _bytes
from tests.containers import graphs

SMALL, LARGE = "localhost/inverseform/small:1.0.0", "localhost/inverseform/large:1.0.0"
LOCAL = {"retries": False, "gpus": False}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The graph of the six stages."""
    package = tmp_path_factory.mktemp("graph") / "graph.yaml"
    submit.compile_graph(package, site=Site(small_image=SMALL, large_image=LARGE), defaults={})
    return Graph(package)


@pytest.fixture
def branching(tmp_path):
    return Graph(graphs.branching(tmp_path / "graph.yaml", SMALL, passed=True))


def test_every_stage_is_a_task_and_the_importer_is_none(whole):
    names = {task.name: task.optional for task in whole.tasks}
    assert names.items() >= {"ingest": False, "train-segmentation": False, "export": True, "skip-export": True}.items()
    assert "importer" not in names
    assert sorted(whole.images()) == [LARGE, SMALL]


def test_claims_shared_memory_and_gpus_are_those_of_the_executor(tmp_path):
    graph = Graph(graphs.two(tmp_path / "graph.yaml", SMALL, "answer()"))
    assert graph.wants("exec-first") == Wants({}, {}, None, 0)
    assert graph.wants("exec-second") == Wants({"/checkpoints": "kept"}, {"/dev/shm": 96 << 20}, None, 0)


def test_the_trainings_have_their_claim_and_their_gpu(whole):
    for stage in ("train-inverse", "train-segmentation"):
        wants = whole.wants(f"exec-{stage}")
        assert list(wants.claims) == ["/checkpoints"] and wants.gpus == 1 and wants.empty["/dev/shm"]


@pytest.mark.parametrize(
    ("text", "size"), [("64Mi", 64 << 20), ("1.5Gi", 3 << 29), ("2G", 2 * 10**9), ("12", 12), ("{{$}}", None)]
)
def test_amounts_are_read_in_the_spelling_of_kubernetes(text, size):
    assert _bytes(text) == size


def test_limits_are_those_of_the_graph(tmp_path):
    @dsl.container_component
    def task() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=SMALL, command=["true"])

    @dsl.pipeline(name="limits")
    def pipeline() -> None:
        task().set_memory_limit("3G").set_cpu_limit("2")

    compiler.Compiler().compile(pipeline, str(tmp_path / "graph.yaml"))
    graph = Graph(tmp_path / "graph.yaml")
    assert graph.wants("exec-task").memory == 3 * 10**9
    assert graph.not_given(**LOCAL) == ["CPU limit: task"]


def test_what_is_not_given_is_told_with_the_tasks_that_ask(tmp_path, whole):
    told = Graph(graphs.two(tmp_path / "graph.yaml", SMALL, "answer()")).not_given(**LOCAL)
    assert told == ["memory request: second", "nodeSelector: second"]
    without = whole.not_given(**LOCAL)
    assert any(line.startswith("GPU (") and "train-inverse" in line for line in without)
    assert "retries (--retries): all tasks" in without
    assert not any("GPU" in line or "retries" in line for line in whole.not_given(gpus=True, retries=True))


def test_retries_are_left_out_or_come_at_once(tmp_path):
    graph = Graph(graphs.one(tmp_path / "graph.yaml", SMALL, "answer()", retries=2))
    (task,) = yaml.safe_load(graph.text(retries=False))["root"]["dag"]["tasks"].values()
    assert "retryPolicy" not in task
    (task,) = yaml.safe_load(graph.text(retries=True))["root"]["dag"]["tasks"].values()
    assert task["retryPolicy"] == {"maxRetryCount": 2}


@pytest.mark.parametrize(
    ("done", "told"),
    [
        ({"shard", "gate", "taken", "note"}, []),
        ({"shard", "gate", "other", "note"}, []),
        ({"shard", "gate", "taken", "other", "note"}, ["2 of the branches"]),
        ({"shard", "gate", "note"}, ["0 of the branches"]),
        ({"gate", "taken", "note"}, ["shard"]),
        ({"shard", "gate", "taken"}, ["note"]),
    ],
)
def test_what_did_not_run_of_a_graph_without_failures_is_found(branching, done, told):
    found = branching.left_out({f"comp-{name}" for name in done})
    assert len(found) == len(told) and all(line.startswith(start) for line, start in zip(found, told, strict=True))


@pytest.mark.parametrize(
    "text", ["", "a: [", "root: {}", "- 1", "{deploymentSpec: {executors: {}}, root: 3}", "[" * 9999]
)
def test_another_file_is_refused(text, tmp_path):
    (tmp_path / "graph.yaml").write_text(text)
    with pytest.raises(InputError, match=r"graph\.yaml is no compiled graph.*pipeline compile"):
        Graph(tmp_path / "graph.yaml")


def test_an_empty_second_document_asks_for_nothing(tmp_path):
    package = graphs.one(tmp_path / "graph.yaml", SMALL, "answer()")
    package.write_text(package.read_text().partition("---\nplatforms")[0] + "---\n")
    assert Graph(package).wants("exec-only") == Wants({}, {}, None, 0)


def test_tasks_whose_outputs_would_meet_are_refused(tmp_path):
    package = graphs.two(tmp_path / "graph.yaml", SMALL, "answer()")
    package.write_text(package.read_text().replace("name: comp-second", "name: comp-first"))
    with pytest.raises(InputError, match="several tasks share comp-first"):
        Graph(package)
