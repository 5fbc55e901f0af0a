"""What a run is said to be doing, and how long one is waited for."""

import pytest

from pipeline.endpoint import Endpoint, Kubeflow, LostContact, Refused
from pipeline.status import look, report, wait
from tests.pipeline.conftest import count

GRAPH = {
    "root": {"dag": {"tasks": {"ingest": {"taskInfo": {"name": "ingest"}}}}},
    "components": {"comp-loop": {"dag": {"tasks": {"shard": {"taskInfo": {"name": "ingest-shard"}}}}}},
}


def task(name, state, **more):
    return {"task_id": more.pop("id", name), "display_name": name, "state": state, **more}


@pytest.fixture
def cluster(kubeflow):
    """The endpoint, with a run r0 in it."""
    graph = {"pipeline_spec": GRAPH | {"pipelineInfo": {"name": "x"}}, "platform_spec": {}}
    kubeflow.runs.append({"run_id": "r0", "display_name": "first", "pipeline_spec": graph})
    return kubeflow


@pytest.fixture
def client(cluster):
    return Kubeflow(Endpoint(cluster.host, answer_seconds=0.3, repeats=1, pause=0.01))


def course(cluster, *looks):
    cluster.course = [{"state": state, "run_details": {"task_details": list(tasks)}} for state, *tasks in looks]


def test_the_tasks_of_the_graph_are_shown_in_the_order_in_which_they_began(cluster, client):
    course(
        cluster,
        (
            "RUNNING",
            task("ingest-shard", "RUNNING", create_time="2026-01-01T10:02:00Z"),
            task("ingest", "SUCCEEDED", create_time="2026-01-01T10:01:00Z", end_time="2026-01-01T10:01:30Z"),
            task("root-driver", "SUCCEEDED", create_time="2026-01-01T10:00:00Z"),
        ),
    )
    run = look(client, "r0")
    assert [(one.name, one.state, one.seconds) for one in run.tasks] == [
        ("ingest", "SUCCEEDED", 30),
        ("ingest-shard", "RUNNING", None),
    ]


def test_a_task_under_way_has_no_length_though_its_end_is_said_to_be_1970(cluster, client):
    times = {"start_time": "2026-01-01T10:00:00Z", "end_time": "1970-01-01T00:00:00Z"}
    course(cluster, ("RUNNING", task("ingest", "RUNNING", **times)))
    assert look(client, "r0").tasks[0].seconds is None


def test_a_failed_driver_is_shown_though_it_is_no_task_of_the_graph(cluster, client):
    course(cluster, ("FAILED", task("ingest-driver", "FAILED")))
    assert [one.name for one in look(client, "r0").tasks] == ["ingest-driver"]


def test_without_a_graph_in_the_answer_all_tasks_are_shown(cluster, client):
    del cluster.runs[0]["pipeline_spec"]
    course(cluster, ("RUNNING", task("root-driver", "SUCCEEDED"), task("ingest", "RUNNING")))
    assert len(look(client, "r0").tasks) == 2


def test_the_report_has_the_link_the_errors_and_where_the_pod_says_more(cluster, client):
    failed = task("ingest", "FAILED", child_tasks=[{"pod_name": "x-123"}])
    told = task("ingest-shard", "FAILED", error={"code": 13, "message": "OOMKilled"})
    cluster.course = [
        {
            "state": "FAILED",
            "error": {"message": "a task failed"},
            "run_details": {"task_details": [failed, told]},
        }
    ]
    text = report(look(client, "r0"), page=client.endpoint.page("runs", "r0"), namespace="me")
    assert text.splitlines() == [
        "run first: FAILED",
        f"{cluster.host}/#/runs/details/r0",
        "  ingest        FAILED",
        "  ingest-shard  FAILED",
        "error: a task failed",
        "ingest failed: Kubeflow does not say why; its pod does",
        "  kubectl -n me logs x-123 -c main; kubectl -n me describe pod x-123",
        "ingest-shard failed: OOMKilled",
    ]


def test_a_run_that_is_not_there_is_refused(client):
    with pytest.raises(Refused, match="status 404"):
        look(client, "nowhere")


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"])
def test_waiting_ends_with_the_run(state, cluster, client):
    course(cluster, ("PENDING",), ("RUNNING",), ("PAUSED",), (state,))
    assert wait(client, "r0", seconds=0.01).state == state
    assert count(cluster, "GET", "/runs/r0") == 4


def test_waiting_tells_each_change_of_a_task_once(cluster, client):
    first, second = task("ingest-shard", "RUNNING", id="a"), task("ingest-shard", "RUNNING", id="b")
    course(
        cluster,
        ("RUNNING", first),
        ("RUNNING", first, second),
        ("RUNNING", first, second),
        ("SUCCEEDED", first | {"state": "SUCCEEDED"}, second | {"state": "SUCCEEDED"}),
    )
    said = []
    wait(client, "r0", seconds=0.01, say=said.append)
    assert [line.split()[1:] for line in said] == [["ingest-shard", "RUNNING"]] * 2 + [
        ["ingest-shard", "SUCCEEDED"]
    ] * 2


def test_an_endpoint_that_is_away_for_a_while_does_not_end_the_waiting(cluster, client):
    cluster.plays["GET", "/runs/r0"] = [None, 503, 503, "drop", "drop", None]
    course(cluster, ("RUNNING",), ("SUCCEEDED",))
    said = []
    assert wait(client, "r0", seconds=0.01, say=said.append).state == "SUCCEEDED"
    assert sum("asking again" in line for line in said) == 2


def test_an_endpoint_that_stays_away_does(cluster, client):
    cluster.plays["GET", "/runs/r0"] = [None, *[503] * 99]
    course(cluster, ("RUNNING",))
    with pytest.raises(LostContact, match=r"status 503.*lost sight of run r0, which goes on by itself"):
        wait(client, "r0", seconds=0.01, lost_seconds=0.1)


def test_a_token_that_runs_out_is_no_fault_of_the_run(cluster, client):
    course(cluster, ("RUNNING", task("ingest", "RUNNING")))
    cluster.plays["GET", "/runs/r0"] = [None, *[401] * 99]
    with pytest.raises(LostContact, match=r"wants a login.*which goes on by itself"):
        wait(client, "r0", seconds=0.01, lost_seconds=0.1)


def test_a_token_file_may_be_empty_or_stale_while_it_is_renewed(cluster, tmp_path):
    course(cluster, ("RUNNING",), ("RUNNING",), ("SUCCEEDED",))
    cluster.token, file = "sesame", tmp_path / "token"
    file.write_text("sesame")
    client = Kubeflow(Endpoint(cluster.host, token_file=file))
    contents = iter(["", "stale", "sesame", "sesame", "sesame"])
    said = []

    def say(line):
        said.append(line)
        file.write_text(next(contents))

    cluster.course[0]["run_details"] = {"task_details": [task("ingest", "RUNNING")]}
    assert wait(client, "r0", seconds=0.01, say=say).state == "SUCCEEDED"
    assert ["is empty" in said[1], "wants a login" in said[2]] == [True, True]


def test_after_the_timeout_the_run_is_left_to_itself(cluster, client):
    course(cluster, ("RUNNING",))
    with pytest.raises(LostContact, match=r"had not ended after --timeout 0.1 seconds"):
        wait(client, "r0", seconds=0.01, timeout=0.1)
