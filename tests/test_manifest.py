import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from inverseform.manifest import Manifest
from inverseform.settings import InputError
from tests.drawn import MANIFEST, MEAN, STD


def test_what_was_written_is_read_again_as_strings_alone():
    properties = MANIFEST.properties()
    assert all(isinstance(entry, str) for entry in properties.values())
    assert Manifest.read(properties, source=Path("network.onnx")) == MANIFEST


def test_what_is_missing_is_named():
    properties = MANIFEST.properties()
    del properties["classes"]
    with pytest.raises(InputError, match=r"network\.onnx: its metadata was changed .*classes"):
        Manifest.read(properties, source=Path("network.onnx"))


def test_preprocessing_is_there_for_programs_too():
    steps = json.loads(MANIFEST.properties()["preprocessing_json"])
    assert steps["mean"] == list(MEAN) and steps["std"] == list(STD) and steps["scale"] == 1 / 255


def test_each_class_has_a_colour():
    with pytest.raises(ValidationError, match="3 classes and 1 colours"):
        Manifest.model_validate({**MANIFEST.model_dump(), "colours": ((0, 0, 0),)})
