import re
from pathlib import Path

import pytest
import torch

from inverseform import inverse_net
from tests.drawn import ROOT, small_net

README = (ROOT / "README.md").read_text()


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")
def test_the_training_loop_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    inverse_net.save(tmp_path / "models" / "inverse_net", small_net())
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(block, "README.md", "exec"), names)  # our own file, not somebody's
    assert names["terms"].inverseform > 0
    assert all(torch.isfinite(p.grad).all() for p in names["model"].parameters() if p.grad is not None)


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
