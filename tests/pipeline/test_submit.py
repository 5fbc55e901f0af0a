"""What goes to Kubeflow over the wire, what is refused before, and that nothing is ever started twice."""

import warnings

import kfp
import pytest
import yaml

from pipeline import InputError
from pipeline.endpoint import Endpoint, LostContact, Refused
from pipeline.site import STAGES, Site
from pipeline.submit import compile_graph, doubts, schedule, submit
from tests.pipeline import described
from tests.pipeline.conftest import aside, count

SETTINGS = {"raw": "s3://data/set-1", **{f"{stage}_params": '{"seed": 1}' for stage in STAGES}}
WEEKLY = "0 0 3 * * 1"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "pipeline.yaml"
    aside(compile_graph, path, site=Site(), defaults={})
    return path


def start(seen, package, settings=SETTINGS, **named):
    endpoint = Endpoint(seen.host, answer_seconds=0.3, pause=0.01)
    return submit(endpoint, package, settings, **{"experiment": "trial"} | named)


def plan_weekly(seen, package, **named):
    endpoint = Endpoint(seen.host, answer_seconds=0.3, pause=0.01)
    return schedule(endpoint, package, SETTINGS, **{"experiment": "trial", "times": WEEKLY} | named)


def posted(kubeflow, path):
    return [body for method, place, _, body in kubeflow.requests if (method, place) == ("POST", path)]


def test_a_run_is_the_graph_with_its_arguments(kubeflow, package):
    run = start(kubeflow, package, run_name="first")
    (sent,) = posted(kubeflow, "/runs")
    assert run == "r0"
    assert sent["display_name"] == "first"
    assert sent["experiment_id"] == kubeflow.experiments[0]["experiment_id"]
    assert sent["runtime_config"]["parameters"] == SETTINGS
    graph, platform = yaml.safe_load_all(package.read_text())
    assert sent["pipeline_spec"] == {"pipeline_spec": graph, "platform_spec": platform}


def test_it_is_what_the_client_of_kfp_sends(kubeflow, package, tmp_path, monkeypatch):
    start(kubeflow, package, run_name="first")
    monkeypatch.setattr(kfp.Client, "_LOCAL_KFP_CONTEXT", str(tmp_path / "kfp" / "context.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = kfp.Client(kubeflow.host)
    client.create_run_from_pipeline_package(str(package), arguments=SETTINGS, run_name="first", experiment_name="trial")
    ours, theirs = posted(kubeflow, "/runs")
    assert ours.pop("description").startswith("sent by python -m pipeline as ")
    assert ours == theirs


def test_a_request_that_is_not_described_is_a_fault_of_the_endpoint_here():
    (run,) = [one for one in described.operations() if one.body == "V2beta1Run"]
    graph = {"pipeline_spec": {"root": {"bogus": 1}}, "platform_spec": {"platforms": {}}, "more": 1}
    wrong = {"display_name": 3, "nmae": "x", "runtime_config": {"parameters": {}, "root": ""}, "pipeline_spec": graph}
    assert [fault.split(":")[0] for fault in described.request_faults(run, {"dry": "1"}, wrong)] == [
        "?dry is not described",
        "V2beta1Run.nmae is not described",
        "V2beta1Run.display_name",
        "V2beta1Run.runtime_config.root is not described",
        "V2beta1Run.pipeline_spec.more is not described",
        "V2beta1Run.pipeline_spec.pipeline_spec",
    ]


def test_an_experiment_is_made_once(kubeflow, package):
    for _ in range(2):
        start(kubeflow, package)
    assert [body["display_name"] for body in posted(kubeflow, "/experiments")] == ["trial"]


def test_an_experiment_that_another_made_meanwhile_is_taken(kubeflow, package):
    kubeflow.plays["POST", "/experiments"] = ["taken"]
    start(kubeflow, package)
    assert len(kubeflow.experiments) == 1
    assert kubeflow.runs[0]["experiment_id"] == kubeflow.experiments[0]["experiment_id"]


@pytest.mark.parametrize("trouble", ["drop", "drop after", 500, "hang after"])
def test_an_experiment_is_made_once_however_often_it_is_asked_for(trouble, kubeflow, package):
    kubeflow.plays["POST", "/experiments"] = [trouble]
    start(kubeflow, package)
    assert len(kubeflow.experiments) == 1


def test_without_the_cache_no_task_is_skipped_not_even_in_a_branch(kubeflow, package):
    start(kubeflow, package, cached=False)
    (sent,) = posted(kubeflow, "/runs")
    graph = sent["pipeline_spec"]["pipeline_spec"]
    dags = [graph["root"], *graph["components"].values()]
    options = [t.get("cachingOptions") for dag in dags for t in dag.get("dag", {}).get("tasks", {}).values()]
    assert options and not any(options)


@pytest.mark.parametrize("trouble", ["drop after", "hang after"])
def test_a_run_whose_answer_was_lost_is_found_and_not_started_again(trouble, kubeflow, package):
    start(kubeflow, package, run_name="first")
    kubeflow.plays["POST", "/runs"] = [trouble]
    # Another of that name is there already: it is not taken for this one.
    assert start(kubeflow, package, run_name="first") == "r1"
    assert len(kubeflow.runs) == 2


@pytest.mark.parametrize("trouble", ["drop", 500, 503])
def test_a_run_that_did_not_arrive_is_looked_for_and_then_sent_again(trouble, kubeflow, package):
    kubeflow.plays["POST", "/runs"] = [trouble]
    assert start(kubeflow, package) == "r0"
    order = [method for method, path, _, _ in kubeflow.requests if path == "/runs"]
    assert order == ["POST", "GET", "POST"]


def test_an_endpoint_that_fails_again_and_again_is_given_up(kubeflow, package):
    kubeflow.plays["POST", "/runs"] = [500] * 9
    with pytest.raises(LostContact, match=r"status 500 .*out of order; it has not arrived"):
        start(kubeflow, package)
    assert count(kubeflow, "POST", "/runs") == count(kubeflow, "GET", "/runs") == 4
    assert kubeflow.runs == []


def test_a_silent_endpoint_may_still_be_at_work_so_nothing_is_sent_again(kubeflow, package):
    kubeflow.plays["POST", "/runs"] = ["hang"]
    with pytest.raises(LostContact, match=r"timed out.*whether it still starts is not known"):
        start(kubeflow, package)
    assert (count(kubeflow, "POST", "/runs"), count(kubeflow, "GET", "/runs")) == (1, 4)


def test_a_refusal_while_it_is_looked_for_does_not_say_that_nothing_was_started(kubeflow, package):
    kubeflow.plays["POST", "/runs"] = ["drop after"]
    kubeflow.plays["GET", "/runs"] = [401]
    with pytest.raises(LostContact, match=r"wants a login.*whether it started is not known"):
        start(kubeflow, package)
    assert len(kubeflow.runs) == 1


def test_where_it_cannot_even_be_looked_for_that_is_said(kubeflow, package):
    kubeflow.plays["POST", "/runs"] = ["drop"]
    kubeflow.plays["GET", "/runs"] = ["drop"] * 9
    with pytest.raises(LostContact, match="whether it started is not known"):
        start(kubeflow, package)
    assert count(kubeflow, "POST", "/runs") == 1


@pytest.mark.parametrize(
    ("trouble", "message"),
    [(400, "status 400 Bad Request: no"), (401, "wants a login"), (404, "404"), (409, "409"), ("login", "status 302")],
)
def test_a_run_that_is_refused_ends_with_the_reason_and_is_sent_once(trouble, message, kubeflow, package):
    kubeflow.plays["POST", "/runs"] = [trouble]
    with pytest.raises(Refused, match=message):
        start(kubeflow, package)
    assert (count(kubeflow, "POST", "/runs"), count(kubeflow, "GET", "/runs")) == (1, 0)


def test_wrong_arguments_never_reach_the_server(kubeflow, package):
    with pytest.raises(InputError, match="did you mean raw"):
        start(kubeflow, package, SETTINGS | {"row": ""})
    with pytest.raises(InputError, match=r"raw .* is missing"):
        start(kubeflow, package, {name: value for name, value in SETTINGS.items() if name != "raw"})
    with pytest.raises(InputError, match="has no seconds"):
        plan_weekly(kubeflow, package, times="0 3 * * 1")
    assert kubeflow.requests == []


def test_a_schedule_runs_one_at_a_time_without_the_cache_and_misses_what_was_missed(kubeflow, package):
    assert plan_weekly(kubeflow, package) == "r0"
    (sent,) = posted(kubeflow, "/recurringruns")
    assert sent["trigger"] == {"cron_schedule": {"cron": WEEKLY}}
    assert (sent["max_concurrency"], sent["no_catchup"], sent["mode"]) == ("1", True, "ENABLE")
    assert sent["runtime_config"]["parameters"] == SETTINGS
    tasks = sent["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert not any(task.get("cachingOptions") for task in tasks.values())


def test_there_is_one_schedule_of_a_name(kubeflow, package):
    plan_weekly(kubeflow, package)
    with pytest.raises(InputError, match=r"has a schedule inverseform already.*/#/recurringrun/details/r0; delete it"):
        plan_weekly(kubeflow, package)
    assert plan_weekly(kubeflow, package, name="another") == "r1"


@pytest.mark.parametrize("trouble", ["drop", "drop after", "hang after"])
def test_a_schedule_is_not_made_twice(trouble, kubeflow, package):
    kubeflow.plays["POST", "/recurringruns"] = [trouble]
    assert plan_weekly(kubeflow, package) == "r0"
    assert len(kubeflow.schedules) == 1


def test_a_compilation_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        aside(compile_graph, tmp_path / "pipeline.yaml", site=Site(), defaults={"nonsense": "{}"})
    assert list(tmp_path.iterdir()) == []


def test_the_compiled_file_must_be_named_yaml(tmp_path):
    with pytest.raises(InputError, match=r"type -o .*pipeline\.yaml"):
        compile_graph(tmp_path / "pipeline.json", site=Site(), defaults={})


@pytest.mark.parametrize(
    "image",
    [
        f"quay.io/me/small@sha256:{'0f' * 32}",
        "quay.io/me/small:1.2.0",
        "quay.io/me/small:v1.2.0-rc1",
        "me/small:0a1b2c3",
    ],
)
def test_a_digest_a_version_or_a_commit_raises_no_doubt(image):
    assert doubts(Site(small_image=image, large_image=image)) == []


@pytest.mark.parametrize("image", ["quay.io:443/me/small:main", "me/small:dev"])
def test_an_image_that_can_change_under_its_name_is_doubted(image):
    (doubt,) = doubts(Site(small_image=image, large_image="me/large:1.0.0"))
    assert doubt.startswith(f"{image} has neither a digest nor a version")


def test_an_image_of_this_machine_is_doubted():
    assert all("cluster needs a registry" in doubt for doubt in doubts(Site()))
