"""Settings to arguments: what is changed, and what is refused."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline import InputError
from pipeline.arguments import as_json, check_arguments, sections
from pipeline.graph import STAGES

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
    ],
)
def test_a_damaged_settings_file_is_named(content, message, params):
    params.write_bytes(content)
    with pytest.raises(InputError, match=f"params.yaml.*{message}"):
        sections(params)


def test_declared_arguments_of_the_right_type_pass(package):
    check_arguments({"raw": "data", "count": 2}, package)
    check_arguments({"raw": "data"}, package)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"row": "data"}, "row is not an argument .* did you mean raw"),
        ({"raw": 3}, "raw .* is a STRING, not 3"),
        ({"count": 1}, "raw .* is missing"),
    ],
)
def test_other_arguments_are_refused(given, message, package):
    with pytest.raises(InputError, match=message):
        check_arguments(given, package)
