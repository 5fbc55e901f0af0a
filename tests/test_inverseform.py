import importlib
import subprocess
import sys

import pytest

import inverseform
from tests.drawn import ROOT


def run(statement):
    return subprocess.run([sys.executable, "-c", statement], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("name", inverseform.__all__)
def test_every_public_name_is_the_rooms_own(name):
    room = importlib.import_module(f"inverseform.{inverseform._ROOMS[name]}")
    assert getattr(inverseform, name) is getattr(room, name)
    # The room it is said to be in is the one that makes it, not one that imports it.
    assert getattr(inverseform, name).__module__ == room.__name__


def test_all_and_the_table_of_rooms_hold_the_same_names():
    assert sorted(inverseform.__all__) == sorted(inverseform._ROOMS) and list(inverseform.__all__) == sorted(
        inverseform.__all__
    )


def test_the_names_a_type_checker_sees_are_the_public_ones():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(inverseform.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(alias.name, node.module.split(".")[-1]) for node in block.body for alias in node.names}
    assert seen == set(inverseform._ROOMS.items())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'inverseform' has no attribute 'InverseFromLoss'"):
        inverseform.InverseFromLoss  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from inverseform import nothing  # noqa: F401


def test_dir_lists_the_public_names():
    assert set(inverseform.__all__) | {"__version__"} <= set(dir(inverseform))
    assert len(set(dir(inverseform))) == len(dir(inverseform))


def test_importing_the_package_imports_no_torch():
    done = run("import sys, inverseform; dir(inverseform); sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_a_name_is_imported_on_first_use_and_no_other_room_with_it():
    done = run(
        "import sys; from inverseform import euclidean\n"
        "sys.exit(', '.join(m for m in sys.modules if m in ('inverseform.loss', 'inverseform.boundary_aware')) or 0)"
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_packages():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert inverseform.__version__ == project["version"]
