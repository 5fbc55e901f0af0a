import importlib
import json
import typing

import pytest
import yaml

from inverseform.params import STAGES, load_section, parse_section
from inverseform.settings import InputError
from tests.drawn import ROOT

SHIPPED = ROOT / "params.yaml"


def section_class(stage):
    """The settings class of a stage, as its command line finds it."""
    function = getattr(importlib.import_module(f"components.{stage}"), stage)
    return typing.get_type_hints(function)["params"]


@pytest.fixture
def edited(tmp_path):
    """A copy of the repository's params.yaml with some values changed; None takes a key out."""

    def edit(**places):
        document = yaml.safe_load(SHIPPED.read_text())
        for place, value in places.items():
            *parts, last = place.split("__")
            part = document
            for name in parts:
                part = part[name]
            if value is None:
                del part[last]
            else:
                part[last] = value
        path = tmp_path / "params.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return edit


def refusal(path, stage, overrides="{}"):
    with pytest.raises(InputError) as caught:
        load_section(path, stage, section_class(stage), overrides=overrides)
    return str(caught.value)


def test_the_sections_are_the_stages_in_their_order():
    assert tuple(yaml.safe_load(SHIPPED.read_text())) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_the_params_of_the_repository_are_right_and_say_everything(stage):
    settings = load_section(SHIPPED, stage, section_class(stage))
    section = yaml.safe_load(SHIPPED.read_text())[stage]
    # Every number of the file arrives, and no field has a value that the file does not show.
    assert json.loads(settings.model_dump_json(exclude_defaults=True)) == section


@pytest.mark.parametrize("stage", STAGES)
def test_a_section_is_the_same_from_the_file_and_from_its_json(stage):
    text = json.dumps(yaml.safe_load(SHIPPED.read_text())[stage])
    assert parse_section(text, stage, section_class(stage)) == load_section(SHIPPED, stage, section_class(stage))


def test_a_misspelt_key_is_told_with_the_one_that_was_meant_and_nothing_else(edited):
    path = edited(synthesize__occupancy=None, synthesize__ocupancy=0.02)
    message = f"{path}: synthesize.ocupancy is not a setting; did you mean occupancy?"
    assert refusal(path, "synthesize") == message


def test_a_misspelt_key_beside_the_right_one_is_told_with_it(edited):
    path = edited(train_inverse__optimiser__learning_rat=0.1)
    message = f"{path}: train_inverse.optimiser.learning_rat is not a setting; did you mean learning_rate?"
    assert refusal(path, "train_inverse") == message


def test_a_key_like_no_other_is_to_be_taken_out(edited):
    path = edited(train_inverse__optimiser__zzz=0.1)
    assert refusal(path, "train_inverse") == f"{path}: train_inverse.optimiser.zzz is not a setting; take it out"


def test_a_missing_key_is_told(edited):
    path = edited(evaluate__gate__miou=None)
    assert refusal(path, "evaluate").startswith(f"{path}: evaluate.gate.miou is missing; write it")


WRONG = {
    "synthesize__tile": ["large", 64.5, True, 0, -4],
    "synthesize__identity": [1.5, -0.1, float("nan")],
    "synthesize__source": ["ranom"],
    "synthesize__degrees_of_freedom": [5],
    "synthesize__seed": [-1, 2**70],
    "synthesize__workers": [0, "two"],
    "train_inverse__optimiser__learning_rate": [0, "1e-3"],
    "train_inverse__optimiser__seed": [-1, 2**70],
    "train_inverse__init": ["imagenet"],
    "train_inverse__network__pooling": [0, "one"],
    "train_inverse__network__features": [[1, "a", 3]],
    "train_inverse__network__levels": [[]],
    "train_segmentation__augment__crop": [[0, 128], [128, -1]],
    "train_segmentation__augment__flip": ["yes"],
    "evaluate__split": ["tst"],
    "export__provider": ["tpu"],
}


@pytest.mark.parametrize(("place", "value"), [(place, value) for place, values in WRONG.items() for value in values])
def test_a_wrong_value_is_told_with_its_file_key_and_itself(edited, place, value):
    path = edited(**{place: value})
    message = refusal(path, place.split("__")[0])
    assert message.startswith(f"{path}: {place.replace('__', '.')}")
    # Of a list, the number in it that is wrong.
    assert any(f" is {json.dumps(part)}: " in message for part in (value, *(value if isinstance(value, list) else ())))
    assert message.endswith("set it to what the rule allows")
    assert "\n" not in message


def test_ranges_the_wrong_way_round_are_told(edited):
    path = edited(synthesize__ranges__scale=[1.2, 0.8])
    assert refusal(path, "synthesize").startswith(f"{path}: synthesize.ranges.scale is [1.2, 0.8]: ")
    for scale in ([1.2, 0.8], [0.0, 1.0], [-1.0, 1.0]):
        path = edited(train_segmentation__augment__scale=scale)
        message = refusal(path, "train_segmentation")
        assert f"train_segmentation.augment.scale is {scale}: " in message and "0 < smallest <= largest" in message


def test_a_number_too_few_is_told(edited):
    path = edited(train_segmentation__augment__crop=[128])
    assert refusal(path, "train_segmentation").startswith(f"{path}: train_segmentation.augment.crop.1 is missing")


def test_a_choice_is_told_without_the_tags_of_the_library(edited):
    assert "ingest.data is" in refusal(edited(ingest__data__name="mnist"), "ingest")
    path = edited(ingest__data__colour=1)
    assert refusal(path, "ingest").startswith(f"{path}: ingest.data.colour is not a setting")


def test_all_mistakes_are_told_at_once_a_line_each(edited):
    path = edited(synthesize__tile="large", synthesize__workers=0, synthesize__seed=None)
    lines = refusal(path, "synthesize").splitlines()
    assert [line.split(" is ")[0] for line in lines] == [f"{path}: synthesize.{n}" for n in ("tile", "seed", "workers")]


def test_a_mistake_in_another_stages_section_does_not_stop_this_one(edited):
    load_section(edited(export__opset="many"), "ingest", section_class("ingest"))


def test_an_unknown_section_is_told_with_the_nearest(edited):
    path = edited(sinthesize={})
    assert refusal(path, "ingest") == f"{path}: sinthesize is not a section; did you mean synthesize?"


def test_a_missing_section_is_told(edited):
    path = edited(export=None)
    assert refusal(path, "export").startswith(f"{path}: the section export is missing; write it")


@pytest.mark.parametrize("section", ["", "3", "[1, 2]", "word"])
def test_a_section_that_is_none_is_told(tmp_path, section):
    (tmp_path / "params.yaml").write_text(f"ingest: {section}\n")
    assert refusal(tmp_path / "params.yaml", "ingest").startswith(f"{tmp_path / 'params.yaml'}: ingest is ")


@pytest.mark.parametrize(
    "text", ["seed: [1, 2", "a: b: c", "\t- x", "? [1]\n: 2", "a: \x07", "a: 2026-13-45", "a: {b: 1, b: 2}"]
)
def test_what_is_not_yaml_is_told(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    assert refusal(tmp_path / "params.yaml", "ingest").startswith(f"{tmp_path / 'params.yaml'}: is not YAML (")


def test_a_binary_file_is_told(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")
    assert refusal(path, "ingest").startswith(f"{path}: is not YAML (")


@pytest.mark.parametrize("text", ["", "- ingest", "ingest"])
def test_a_file_without_sections_is_told_what_it_needs(tmp_path, text):
    (tmp_path / "params.yaml").write_text(text)
    assert refusal(tmp_path / "params.yaml", "ingest").endswith(f"and needs the sections {', '.join(STAGES)}")


@pytest.mark.parametrize("value", ["2026-01-01", "!!set {1, 2}", "!!binary aGk=", ".nan", ".inf"])
def test_what_only_yaml_knows_is_a_wrong_value_and_no_crash(tmp_path, value):
    path = tmp_path / "params.yaml"
    path.write_text(f"evaluate: {{split: test, overlays: {value}, gate: {{miou: 0.6, mba: 0.5}}}}\n")
    assert refusal(path, "evaluate").startswith(f"{path}: evaluate.overlays is ")


def test_a_file_that_is_not_there_keeps_its_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_section(tmp_path / "no.yaml", "ingest", section_class("ingest"))
    assert caught.value.filename == str(tmp_path / "no.yaml")


def test_overrides_change_what_they_name_however_deep_and_leave_the_rest():
    kind = section_class("train_inverse")
    plain = load_section(SHIPPED, "train_inverse", kind)
    text = '{"optimiser": {"seed": 7}, "network": {"features": [8, 8, 8]}}'
    changed = load_section(SHIPPED, "train_inverse", kind, overrides=text)
    assert changed.optimiser == plain.optimiser.model_copy(update={"seed": 7})
    assert changed.network == plain.network.model_copy(update={"features": (8, 8, 8)})
    assert changed.degradation == plain.degradation


def test_an_override_to_another_kind_takes_nothing_of_the_one_before():
    kind = section_class("train_segmentation")
    network = {"name": "smp", "architecture": "FPN", "encoder": "resnet18", "weights": None, "boundary_head": True,
               "boundary_feedback": False}  # fmt: skip
    segmentation = {"name": "rmi", "weight": 0.5, "radius": 3, "downsampling": 3, "pooling": "average"}
    text = json.dumps({"network": network, "loss": {"segmentation": segmentation}, "optimiser": {"name": "sgd"}})
    changed = load_section(SHIPPED, "train_segmentation", kind, overrides=text)
    assert changed.network.model_dump() == network and changed.loss.segmentation.model_dump() == segmentation
    # Of one kind as before: the optimiser keeps its other settings.
    assert changed.optimiser.name == "sgd" and changed.optimiser.steps == section_steps()


def section_steps():
    return yaml.safe_load(SHIPPED.read_text())["train_segmentation"]["optimiser"]["steps"]


def test_overrides_are_held_to_the_same_rules_and_named():
    message = refusal(SHIPPED, "synthesize", '{"ranges": {"rotation": 999}}')
    assert message.startswith(f"{SHIPPED} with --overrides: synthesize.ranges.rotation is 999: ")
    message = refusal(SHIPPED, "synthesize", '{"ocupancy": 0.1}')
    rule = "synthesize.ocupancy is not a setting; did you mean occupancy?"
    assert message == f"{SHIPPED} with --overrides: {rule}"
    assert "synthesize is [1]" in refusal(SHIPPED, "synthesize", "[1]")


@pytest.mark.parametrize("text", ["seed=2", "{'seed': 2}", "", '{"seed": 2'])
def test_what_is_not_json_is_refused_with_an_example(text):
    assert refusal(SHIPPED, "synthesize", text).startswith(f"--overrides: {text!r} is not JSON (")
    with pytest.raises(InputError, match=r"params of synthesize: .* is not JSON \(.*write for instance"):
        parse_section(text, "synthesize", section_class("synthesize"))
