"""Settings to arguments: what is changed, and what is refused."""

import json
import re
from pathlib import Path

import pytest
import yaml

from components.executor import MOUNTS
from pipeline import InputError
from pipeline.arguments import SCHEMES, as_json, check_address, check_arguments, differences, documents, sections
from pipeline.site import STAGES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def params(tmp_path):
    file = tmp_path / "params.yaml"
    document = {stage: {"seed": 1, "network": {"name": "dense", "hidden": [8, 4], "rate": 0.5}} for stage in STAGES}
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.fixture
def package(tmp_path):
    file = tmp_path / "pipeline.yaml"
    declared = {"raw": {"parameterType": "STRING"}, "count": {"parameterType": "NUMBER_INTEGER", "defaultValue": 1}}
    file.write_text(yaml.safe_dump({"root": {"inputDefinitions": {"parameters": declared}}}))
    return file


def test_settings_come_through_as_they_stand():
    file = ROOT / "params.yaml"
    document = yaml.safe_load(file.read_text())
    assert {name: json.loads(text) for name, text in as_json(sections(file)).items()} == {
        f"{stage}_params": document[stage] for stage in STAGES
    }


def test_whole_numbers_stay_whole(params):
    assert '"seed": 1}' in as_json(sections(params))["ingest_params"]


def test_an_override_changes_its_leaf_and_nothing_else(params):
    before = sections(params)
    after = sections(params, '{"train_inverse": {"network": {"rate": 0.1}}}')
    assert after["train_inverse"] == {"seed": 1, "network": {"name": "dense", "hidden": [8, 4], "rate": 0.1}}
    assert {stage: after[stage] for stage in STAGES if stage != "train_inverse"} == {
        stage: before[stage] for stage in STAGES if stage != "train_inverse"
    }


def test_settings_of_another_name_take_the_place_of_the_old_ones(params):
    after = sections(params, '{"train_inverse": {"network": {"name": "aet", "depth": 3}}}')
    assert after["train_inverse"]["network"] == {"name": "aet", "depth": 3}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ('{"train_invrse": {}}', "train_invrse is not a stage; did you mean train_inverse?"),
        ('{"evaluate": {"sede": 2}}', "evaluate.sede is not a setting of params.yaml; did you mean seed?"),
        ('{"evaluate": {"network": {"rat": 2}}}', "evaluate.network.rat is not .* did you mean rate?"),
        ("{'evaluate': 1}", "is not JSON"),
        ("[]", "is not by stage"),
        ('{"evaluate": 3}', "--overrides: evaluate is 3, and needs settings by name"),
        ('{"evaluate": null}', "--overrides: evaluate is None, and needs settings by name"),
        ("[" * 9999, "is not JSON"),
    ],
)
def test_a_wrong_override_is_named_with_the_nearest_right_one(overrides, message, params):
    with pytest.raises(InputError, match=message):
        sections(params, overrides)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ingest: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"- ingest", "holds no sections"),
        (b"ingest: {}", "no section synthesize, train_inverse"),
        (b"ingest: {}\ningest: {}", "ingest is there twice"),
        (
            ", ".join(f"{stage}: {{}}" for stage in (*STAGES, "ingst")).join("{}").encode(),
            "ingst is not a section; did",
        ),
        (", ".join(f"{stage}: 3" for stage in STAGES).join("{}").encode(), "ingest is 3, and needs settings by name"),
    ],
)
def test_a_damaged_settings_file_is_named(content, message, params):
    params.write_bytes(content)
    with pytest.raises(InputError, match=f"params.yaml.*{message}"):
        sections(params)


@pytest.mark.parametrize("value", ["2026-01-01", "!!set {a}", "&ONE [*ONE]", "!!binary aGk="])
def test_what_json_has_no_word_for_is_refused(value, params):
    params.write_text("\n".join(f"{stage}: {{seed: {value.replace('ONE', stage)}}}" for stage in STAGES))
    with pytest.raises(InputError, match=r"the section ingest holds what JSON has no word for: .*; write it as text"):
        as_json(sections(params))


def test_declared_arguments_of_the_right_type_pass(package):
    check_arguments({"raw": "data", "count": 2}, package)
    check_arguments({"raw": "data"}, package)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"row": "data"}, "row is not an argument .* did you mean raw"),
        ({"raw": 3}, "raw .* is a STRING, not 3"),
        ({"count": 1}, "raw .* is missing"),
        ({"raw": "data", "count": True}, "count .* is a NUMBER_INTEGER, not True"),
    ],
)
def test_other_arguments_are_refused(given, message, package):
    with pytest.raises(InputError, match=message):
        check_arguments(given, package)


def test_a_compiled_graph_may_ask_nothing_of_the_cluster(package):
    graph, asked = documents(package)
    assert "root" in graph and asked is None
    package.write_text(package.read_text() + "---\nplatforms: {}\n")
    assert documents(package) == (graph, {"platforms": {}})


@pytest.mark.parametrize("raw", ["s3://bucket/set", "gs://b", "minio://b/a set", "oci://host:5000/set", "s3://b/ü@v1"])
def test_a_data_set_has_an_address_that_a_cluster_can_read(raw):
    check_address(raw)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        *((raw, f"{raw!r} is no address") for raw in ("data/raw", "/data/raw", "s3:bucket", "s3://", "", "file:///a")),
        ("s3://b/line\nline", "is no address"),
        ("s3://b/\udcff", "is no address"),
        ("https://host/set", "Kubeflow fetches nothing by https://; copy it to a store of gs, s3, minio, oci"),
    ],
)
def test_any_other_address_is_refused(raw, message):
    with pytest.raises(InputError, match=f"^--raw .*{re.escape(message)}"):
        check_address(raw)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(InputError, match=r"^--raw has a user or a password in its s3:// address") as refusal:
        check_address("s3://key:sesame@bucket/set")
    assert "sesame" not in str(refusal.value)


def test_what_passes_is_what_a_stage_finds():
    assert set(SCHEMES) == set(MOUNTS)


def test_differences_are_the_leaves_that_are_not_the_same():
    before = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    after = {"a": {"b": 1, "c": [1, 3]}, "e": 4}
    assert list(differences(before, after)) == [("a.c", [1, 2], [1, 3]), ("d", 3, None), ("e", None, 4)]
    assert list(differences(before, before)) == []
