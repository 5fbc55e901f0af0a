"""The lists of packages of the images say what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

SMALL = ("data", "demo", "matlab", "coco")


def declared(*extras: str) -> set[str]:
    """Packages of the library and of extras, on the machines that images are for."""
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        wanted += [line for line in PROJECT["optional-dependencies"][extra] if "!=" not in line]
    return {re.match(r"[\w.-]+", line)[0].lower() for line in wanted} - {PROJECT["name"]}


def in_image(name: str) -> set[str]:
    """Packages in the list of an image, and in the lists which that one includes."""
    lines = (ROOT / "containers" / f"{name}.txt").read_text().splitlines()
    included = [in_image(line.removeprefix("-r ").removesuffix(".txt")) for line in lines if line.startswith("-r ")]
    return {line for line in lines if line and line[0] not in "#-"}.union(*included)


def test_the_small_image_holds_what_ingest_and_synthesize_need():
    assert in_image("small") == declared(*SMALL)


def test_the_large_image_holds_what_a_network_needs():
    assert in_image("large") == declared(*SMALL, "train", "onnx", "onnx-gpu")


@pytest.mark.parametrize("name", ["small", "large"])
def test_every_package_of_an_image_has_its_version(name):
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert in_image(name) <= pinned


def test_no_image_has_an_entry_point():
    instructions = [
        line.split()[0] for line in (ROOT / "containers" / "Containerfile").read_text().splitlines() if line
    ]
    assert "ENTRYPOINT" not in instructions
    assert instructions.count("USER") == 2
