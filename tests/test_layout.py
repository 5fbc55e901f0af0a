"""The rules of the house that no other tool holds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("inverseform", "components", "pipeline")
FILES = sorted(p.relative_to(ROOT) for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
# An __init__ that only says what the folder is has nothing to test.
ROOMS = [file for file in FILES if file.stem != "__init__" or "def " in (ROOT / file).read_text()]
LONGEST = 300
VAGUE = {"utils", "misc", "common", "helpers", "base", "core"}
HEAVY = ("timm", "torchvision", "segmentation_models_pytorch", "onnx", "onnxruntime", "onnxscript", "matplotlib",
         "kfp", "dvc", "sklearn", "scipy")  # fmt: skip
BEYOND_THE_PLUGIN = (*HEAVY, "pyarrow", "pandas", "yaml", "PIL", "rich", "typer", "nibabel", "nilearn")


def its_test(room):
    """tests/metrics/test_boundary.py for inverseform/metrics/boundary.py; a wing's __init__ goes by the wing's name."""
    parts = room.parts[1:] if room.parts[0] == "inverseform" else room.parts
    name = room.stem.strip("_")
    if name == "init":
        name = room.parts[-2]
    return Path("tests", *parts[:-1], f"test_{name}.py")


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_every_room_has_its_test(room):
    assert (ROOT / its_test(room)).exists(), f"{room} has no {its_test(room)}"


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_every_room_is_named_for_what_is_in_it_and_is_no_hall(room):
    assert room.stem not in VAGUE
    assert len((ROOT / room).read_text().splitlines()) <= LONGEST


def imports_without(modules, statement):
    """Whether a statement runs in a process in which some modules cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    return subprocess.run([sys.executable, "-c", f"{block}\n{statement}"], cwd=ROOT, capture_output=True, text=True)


def test_the_plugin_needs_torch_and_little_else():
    from inverseform import __all__ as names

    done = imports_without(BEYOND_THE_PLUGIN, f"from inverseform import {', '.join(names)}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", ["ingest", "synthesize"])
def test_the_small_image_builds_no_network(stage):
    done = imports_without(HEAVY, f"import components.{stage}")
    assert done.returncode == 0, done.stderr


def test_only_the_library_is_in_the_wheel():
    import tomllib

    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert found == {"include": ["inverseform*"]}
