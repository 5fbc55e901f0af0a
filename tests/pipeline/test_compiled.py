"""What is compiled is whole, for every profile that comes with the project."""

import graphlib
import re

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline.profile import load_profile
from tests.pipeline.compiled_graph import PROFILES, compile_to, dags


@pytest.fixture(scope="module", params=list(PROFILES))
def of_profile(request, tmp_path_factory):
    """The two documents of each profile that comes with the project."""
    return compile_to(tmp_path_factory.mktemp(request.param), load_profile(PROFILES[request.param]))


def test_the_compiled_graph_is_what_kubeflow_reads(of_profile):
    json_format.ParseDict(of_profile[0], pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(of_profile[1], pipeline_spec_pb2.PlatformSpec())


def test_every_reference_in_the_graph_leads_somewhere(of_profile):
    graph, platform = of_profile
    for name, dag in dags(graph).items():
        declared = graph["root" if name == "root" else "components"]
        own = (declared if name == "root" else declared[name]).get("inputDefinitions", {})
        for task in dag["tasks"].values():
            assert task["componentRef"]["name"] in graph["components"]
            assert set(task.get("dependentTasks", [])) <= set(dag["tasks"])
            called = graph["components"][task["componentRef"]["name"]]
            for section, output in (("artifacts", "taskOutputArtifact"), ("parameters", "taskOutputParameter")):
                key = {"artifacts": "outputArtifactKey", "parameters": "outputParameterKey"}[section]
                inner = "componentInputArtifact" if section == "artifacts" else "componentInputParameter"
                wanted = called.get("inputDefinitions", {}).get(section, {})
                given = task.get("inputs", {}).get(section, {})
                loop = task.get("parameterIterator", {}).get("itemInput")
                assert {n for n, d in wanted.items() if not d.get("isOptional")} <= {*given, loop}
                assert set(given) <= set(wanted)
                for source in given.values():
                    if output in source:
                        made = graph["components"][dag["tasks"][source[output]["producerTask"]]["componentRef"]["name"]]
                        assert source[output][key] in made["outputDefinitions"][section]
                    if inner in source:
                        assert source[inner] in own[section]
                    if "taskFinalStatus" in source:
                        assert source["taskFinalStatus"]["producerTask"] in dag["tasks"]
    labels = {item["executorLabel"] for item in graph["components"].values() if "executorLabel" in item}
    assert labels == set(graph["deploymentSpec"]["executors"])
    assert set(platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]) <= labels


def test_the_graph_goes_one_way(of_profile):
    for dag in dags(of_profile[0]).values():
        waits = {}
        for name, task in dag["tasks"].items():
            inputs = task.get("inputs", {})
            sources = [*inputs.get("artifacts", {}).values(), *inputs.get("parameters", {}).values()]
            producers = {
                inner["producerTask"]
                for source in sources
                for inner in source.values()
                if isinstance(inner, dict) and "producerTask" in inner
            }
            # kfp says twice what a task waits for: here as well.
            assert producers <= set(task.get("dependentTasks", []))
            waits[name] = set(task.get("dependentTasks", []))
        assert len(list(graphlib.TopologicalSorter(waits).static_order())) == len(dag["tasks"])


def test_no_placeholder_is_used_that_kubeflow_does_not_resolve(of_profile):
    for executor in of_profile[0]["deploymentSpec"]["executors"].values():
        words = executor.get("container", {})
        for word in [*words.get("command", []), *words.get("args", []), words.get("image", "")]:
            assert '{"Concat"' not in word and '{"IfPresent"' not in word
            assert "{{" not in word or word == "{{$}}"


def test_every_image_is_pinned_by_a_digest_or_a_tag_of_its_own(of_profile):
    images = [
        e["container"]["image"] for e in of_profile[0]["deploymentSpec"]["executors"].values() if "container" in e
    ]
    assert len(images) == len(of_profile[0]["deploymentSpec"]["executors"]) - 1
    for image in images:
        assert re.search(r"@sha256:[0-9a-f]{64}$|:v?[0-9]+\.[0-9]+\.[0-9]+$", image), image
