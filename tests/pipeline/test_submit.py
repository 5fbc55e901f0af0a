"""What goes to Kubeflow over the wire, and what is refused before."""

import socket
import time

import pytest
import yaml

from pipeline import InputError
from pipeline.graph import STAGES, Site
from pipeline.submit import Endpoint, compile_graph, doubts, submit, wait

SETTINGS = {"raw": "s3://data/set-1", **{f"{stage}_params": '{"seed": 1}' for stage in STAGES}}


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "pipeline.yaml"
    compile_graph(path, site=Site(), defaults={})
    return path


def posted(kubeflow, path):
    return [body for method, place, _, body in kubeflow.requests if (method, place) == ("POST", path)]


def test_a_run_is_the_graph_with_its_arguments(kubeflow, package):
    run = submit(Endpoint(kubeflow.host), package, SETTINGS, experiment="trial", run_name="first")
    (sent,) = posted(kubeflow, "/runs")
    assert run == "r0"
    assert sent["display_name"] == "first"
    assert sent["experiment_id"] == kubeflow.experiments[0]["experiment_id"]
    assert sent["runtime_config"]["parameters"] == SETTINGS
    graph, platform = yaml.safe_load_all(package.read_text())
    assert sent["pipeline_spec"] == {"pipeline_spec": graph, "platform_spec": platform}


def test_an_experiment_is_made_once(kubeflow, package):
    for _ in range(2):
        submit(Endpoint(kubeflow.host), package, SETTINGS, experiment="trial")
    assert [body["display_name"] for body in posted(kubeflow, "/experiments")] == ["trial"]


def test_the_token_goes_into_the_header_of_every_request(kubeflow, package):
    kubeflow.token = "sesame"
    submit(Endpoint(kubeflow.host, token="sesame"), package, SETTINGS, experiment="trial")
    assert {headers.get("authorization") for _, _, headers, _ in kubeflow.requests} == {"Bearer sesame"}


def test_a_wrong_token_is_refused_at_once_and_not_repeated_in_the_message(kubeflow, package):
    kubeflow.token = "sesame"
    start = time.monotonic()
    with pytest.raises(InputError, match=r"wants a login \(status 401\).*KFP_TOKEN") as refusal:
        submit(Endpoint(kubeflow.host, token="barley"), package, SETTINGS, experiment="trial")
    assert time.monotonic() - start < 5
    assert "barley" not in str(refusal.value)


def test_a_host_that_is_not_there_is_named_within_seconds(package):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    with pytest.raises(InputError, match=rf"--host {host} does not answer: .*kubectl port-forward"):
        submit(Endpoint(host), package, SETTINGS, experiment="trial")
    assert time.monotonic() - start < 8


def test_a_host_without_a_scheme_is_told_what_to_type(package):
    with pytest.raises(InputError, match=r"--host kfp.example: .*type https://kfp\.example"):
        submit(Endpoint("kfp.example"), package, SETTINGS, experiment="trial")


def test_a_host_that_is_something_else_is_refused(kubeflow, package):
    with pytest.raises(InputError, match=r"/elsewhere.*status 404; is this Kubeflow"):
        submit(Endpoint(f"{kubeflow.host}/elsewhere"), package, SETTINGS, experiment="trial")


def test_a_run_that_the_server_refuses_ends_with_its_reason(kubeflow, package):
    kubeflow.refuses = True
    with pytest.raises(InputError, match=r"did not start the run: status 400 .*not to my taste"):
        submit(Endpoint(kubeflow.host), package, SETTINGS, experiment="trial")


def test_wrong_arguments_never_reach_the_server(kubeflow, package):
    with pytest.raises(InputError, match="did you mean raw"):
        submit(Endpoint(kubeflow.host), package, SETTINGS | {"row": ""}, experiment="trial")
    assert kubeflow.requests == []


@pytest.mark.parametrize("state", ["SUCCEEDED", "FAILED", "CANCELED"])
def test_waiting_ends_with_the_run(state, kubeflow):
    kubeflow.states = ["PENDING", "RUNNING", state]
    assert wait(Endpoint(kubeflow.host), "r0", seconds=0.01) == state
    assert sum(path == "/runs/r0" for _, path, _, _ in kubeflow.requests) == 3


def test_a_compilation_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        compile_graph(tmp_path / "pipeline.yaml", site=Site(), defaults={"nonsense": "{}"})
    assert list(tmp_path.iterdir()) == []


def test_the_compiled_file_must_be_named_yaml(tmp_path):
    with pytest.raises(InputError, match=r"type -o .*pipeline\.yaml"):
        compile_graph(tmp_path / "pipeline.json", site=Site(), defaults={})


@pytest.mark.parametrize(
    "image", ["quay.io/me/small@sha256:0f", "quay.io/me/small:1.2.0", "quay.io/me/small:v1.2.0-rc1", "me/small:0a1b2c3"]
)
def test_a_digest_a_version_or_a_commit_raises_no_doubt(image):
    assert doubts(Site(small_image=image, large_image=image)) == []


@pytest.mark.parametrize("image", ["quay.io/me/small", "quay.io:443/me/small", "me/small:latest", "me/small:dev"])
def test_an_image_that_can_change_under_its_name_is_doubted(image):
    (doubt,) = doubts(Site(small_image=image, large_image="me/large:1.0.0"))
    assert doubt.startswith(f"{image} has neither a digest nor a version")


def test_an_image_of_this_machine_is_doubted():
    assert all("cluster needs a registry" in doubt for doubt in doubts(Site()))
