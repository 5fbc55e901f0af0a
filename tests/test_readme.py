import re
from pathlib import Path
from typing import get_args

import pytest
import torch
import yaml
from pydantic import TypeAdapter

from inverseform.networks import NetworkParams
from tests.drawn import ROOT

UNION = get_args(get_args(NetworkParams)[0])
README = (ROOT / "README.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def run_block(block):
    names = {}
    exec(compile(block, "README.md", "exec"), names)  # our own file, not somebody's
    return names


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_the_training_loop_of_the_readme_runs_as_it_stands():
    names = run_block(BLOCKS[0])
    assert names["terms"].inverseform > 0
    assert all(torch.isfinite(p.grad).all() for p in names["model"].parameters() if p.grad is not None)


def test_wrapping_a_network_as_the_readme_does_leaves_it_as_it_was():
    names = run_block(BLOCKS[1])
    assert len(BLOCKS) == 2 and not any("boundary" in key for key in names["model"].state_dict())
    assert all(torch.isfinite(p.grad).all() for p in names["network"].parameters() if p.grad is not None)
    assert names["network"].boundary_head.classify.weight.grad.abs().sum() > 0


def test_every_network_of_the_readme_is_a_setting():
    (block,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    kinds = [TypeAdapter(NetworkParams).validate_python(yaml.safe_load(line), strict=False).name
             for line in block.splitlines()]  # fmt: skip
    assert sorted(kinds) == sorted(get_args(cls.model_fields["name"].annotation)[0] for cls in UNION)


def test_every_file_and_test_that_the_readme_names_is_there():
    for link in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / link).exists(), link
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for name in re.findall(r"`(test_\w+)`", README):
        assert f"def {name}(" in tests, name
    for path in re.findall(r"`(tests/[\w/]+\.py)`", README):
        assert (ROOT / path).exists(), path


def test_the_commands_of_the_readme_are_targets_of_make():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.M))
    assert {"repro", "test", "check"} <= named <= set(targets)


def test_every_room_of_the_library_stands_in_the_tree():
    tree = README.split("## The house")[1].split("```")[1]
    for room in Path(ROOT, "inverseform").iterdir():
        if room.suffix == ".py" and room.stem != "__init__":
            assert re.search(rf"\b{room.stem}\b", tree), room.name
