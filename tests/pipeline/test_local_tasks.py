"""When a task counts as done, and what its container gets, as far as no engine is needed."""

import json
import os
from pathlib import Path

import docker
import pytest
from kfp import dsl
from kfp.local import status
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.local_container import TASK, Containers, Ended
from pipeline.local_graph import Graph
from pipeline.local_tasks import Limits, Tasks
from tests.containers import graphs

IMAGE = "localhost/inverseform/small:1.0.0"


@pytest.fixture
def tasks(tmp_path):
    """Of a graph with a claim, on an engine that is never asked."""
    containers = Containers(docker.DockerClient("http://127.0.0.1:9", version="1.41"), "work", grace=1)
    graph = Graph(graphs.two(tmp_path / "graph.yaml", IMAGE, "answer()"))
    return Tasks(graph, containers, raw=tmp_path, work=tmp_path / "work", limits=Limits(1 << 30), gpus=False)


def run(tasks, tmp_path, around, *, resource="two-1"):
    component = pipeline_spec_pb2.ComponentSpec(executor_label="exec-second")
    component.output_definitions.artifacts["made"].artifact_type.schema_title = "system.Dataset"
    return tasks.around(around)(
        component_name="comp-second",
        component_spec=component,
        pipeline_resource_name=resource,
        pipeline_root=str(tmp_path / "work" / "runs"),
    )


def made(path):
    return {"made": dsl.Dataset(name="made", uri=str(path), metadata={})}


def test_a_task_whose_outputs_are_there_is_done(tasks, tmp_path):
    outputs, state = run(
        tasks, tmp_path, lambda **_: (made(tmp_path), status.Status.SUCCESS), resource="two-1/for-loop-1-iteration-4"
    )
    assert state is status.Status.SUCCESS and outputs["made"].uri == str(tmp_path)
    (done,) = tasks.done
    assert (done.name, done.component, done.fault, done.artifacts) == (
        "second[4]",
        "comp-second",
        "",
        {"made": tmp_path},
    )


def test_a_task_fails_for_a_status_a_fault_of_the_engine_and_a_missing_output(tasks, tmp_path):
    def status_3(**given):
        tasks.containers.ended[given["runner"].container_run_args["labels"][TASK]] = Ended(3, out_of_memory=False)
        return {}, status.Status.FAILURE

    def engine(**_):
        raise docker.errors.APIError("no such command")

    def answer(**_):
        json.loads("{")

    for function, fault in (
        (status_3, "exit status 3"),
        (engine, "APIError: no such command"),
        (answer, "JSONDecodeError"),
        (lambda **_: ({}, status.Status.SUCCESS), "did not make made"),
        (lambda **_: (made(tmp_path / "nowhere"), status.Status.SUCCESS), "did not make made"),
    ):
        assert run(tasks, tmp_path, function) == ({}, status.Status.FAILURE)
        assert fault in tasks.done[-1].fault


def test_after_a_signal_nothing_is_begun(tasks, tmp_path):
    tasks.containers.signal = 15
    assert run(tasks, tmp_path, lambda **_: pytest.fail("it was begun")) == ({}, status.Status.FAILURE)
    assert tasks.done == []


def test_a_full_disk_fails_the_task_and_not_the_program(tasks, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "claims")

    monkeypatch.setattr(Path, "mkdir", full)
    assert run(tasks, tmp_path, lambda **_: pytest.fail("it was begun")) == ({}, status.Status.FAILURE)
    assert "No space left on device: 'claims'" in tasks.done[-1].fault


def test_what_an_attempt_left_is_gone_before_the_next(tasks, tmp_path):
    left = tmp_path / "work" / "runs" / "two-1" / "second" / "made"

    def first(**_):
        left.write_text("made")
        return {}, status.Status.FAILURE

    def second(**_):
        return (made(left), status.Status.SUCCESS)

    run(tasks, tmp_path, first)
    assert run(tasks, tmp_path, second) == ({}, status.Status.FAILURE)
    assert "did not make made" in tasks.done[-1].fault


def test_a_container_gets_little_and_may_do_little(tasks, tmp_path):
    seen = {}

    def look(**given):
        seen.update(given["runner"].container_run_args)
        return made(tmp_path), status.Status.SUCCESS

    run(tasks, tmp_path, look)
    assert seen["network_mode"] == "none" and seen["read_only"] and seen["cap_drop"] == ["ALL"]
    assert seen["security_opt"] == ["no-new-privileges"] and seen["pids_limit"] == 1024
    assert seen["mem_limit"] == seen["memswap_limit"] == 1 << 30 and seen["shm_size"] == 96 << 20
    assert not seen["user"].startswith("0:")
    places = {place["Target"]: (Path(place["Source"]), place["ReadOnly"]) for place in seen["mounts"]}
    own = tmp_path / "work" / "runs" / "two-1" / "second"
    claim = tmp_path / "work" / "claims" / "kept"
    assert places == {str(own): (own, False), "/raw": (tmp_path, True), "/checkpoints": (claim, False)}
    owner = int(seen["user"].split(":")[0])
    assert own.stat().st_uid == claim.stat().st_uid == owner and (os.geteuid() in (0, owner))
