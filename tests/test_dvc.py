"""dvc.yaml says what is true: its commands are the stages', its deps all the code a stage imports and no more.

`python tests/test_dvc.py STAGE` prints the code for the deps of a stage.
"""

import ast
import importlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
# pygtrie's, of which DVC makes its graph.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon:DeprecationWarning")

PACKAGED = ("settings.json", "weights.safetensors")
STAGES = ["ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export"]


def imported(stage: str, graph: grimp.ImportGraph) -> set[Path]:
    """Files of ours that a stage's module imports, in its functions too, at any distance; from the source alone."""
    found: set[str] = set()
    left = {f"components.{stage}"}
    while left:
        module = left.pop()
        found.add(module)
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py as well, with what they import.
        parents = {module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1)}
        left |= (graph.find_modules_directly_imported_by(module) | parents) - found
    files = {_file(module) for module in found}
    # The packaged network is read by the room that it lies in.
    wing = Path("inverseform", "inverse_net")
    return files | ({wing / "pretrained" / name for name in PACKAGED} if wing / "__init__.py" in files else set())


def folded(files: set[Path]) -> list[str]:
    """The files as they are listed in dvc.yaml: a wing that is imported as a whole is one line."""
    wings = {file.parent for file in files if len(file.parts) > 2}
    whole = {wing for wing in wings if (sources := set(_sources(wing))) and sources <= files}
    return sorted({str(file.parent if file.parent in whole else file) for file in files})


def _sources(folder: Path) -> list[Path]:
    return [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")]


def _file(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def _import_graph() -> grimp.ImportGraph:
    sys.path.insert(0, str(ROOT))
    return grimp.build_graph("inverseform", "components", exclude_type_checking_imports=True, cache_dir=None)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return _import_graph()


@pytest.fixture(scope="module")
def written() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def repo():
    """DVC's own reading of dvc.yaml."""
    from dvc.repo import Repo

    with Repo(str(ROOT)) as opened:
        yield opened


def ports(stage: str, kind: str) -> list[str]:
    """Names of a stage's ports, from the signature of its function."""
    from components.stage import ports as of_function

    return of_function(getattr(importlib.import_module(f"components.{stage}"), stage), kind)


def flags(command: str) -> dict[str, str]:
    """What follows `python -m components.<stage>`, by port name."""
    words = shlex.split(command)[3:]
    return {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }


def code(stage: dict) -> list[str]:
    return [dep for dep in stage["deps"] if dep.split("/")[0] in ("inverseform", "components")]


def listed(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def outputs(stage: dict) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in listed(stage.get(kind, []))]


def within(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def test_dvc_reads_the_six_stages_in_this_order(repo, written):
    assert list(written) == STAGES
    place = {stage.name: index for index, stage in enumerate(repo.index.stages)}
    assert sorted(place, key=lambda name: STAGES.index(name)) == STAGES


def test_every_stage_waits_for_the_stages_before_it(repo):
    before = {stage.name: {other.name for other in repo.index.graph.successors(stage)} for stage in repo.index.stages}
    assert before == {
        "ingest": set(),
        "synthesize": {"ingest"},
        "train_inverse": {"synthesize"},
        "train_segmentation": {"ingest", "train_inverse"},
        "evaluate": {"ingest", "train_segmentation"},
        "export": {"ingest", "train_segmentation", "evaluate"},
    }


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_runs_its_module_with_its_section(name, written):
    stage = written[name]
    assert stage["cmd"].startswith(f"python -m components.{name} --params params.yaml ")
    assert stage["params"] == [name]


@pytest.mark.parametrize("name", STAGES)
def test_the_flags_of_a_stage_are_its_ports(name, written):
    given = flags(written[name]["cmd"])
    del given["params"]
    assert list(given) == [*ports(name, "input"), *ports(name, "output"), *ports(name, "scratch")]


@pytest.mark.parametrize("name", STAGES)
def test_inputs_are_deps_and_outputs_are_outs(name, written):
    stage, given = written[name], flags(written[name]["cmd"])
    data = [dep for dep in stage["deps"] if dep not in code(stage)]
    assert data == [given[port] for port in ports(name, "input")]
    places = [given[port] for port in ports(name, "output")]
    assert all(any(within(out, place) for out in outputs(stage)) for place in places), "an output that is no out"
    assert all(any(within(out, place) for place in places) for out in outputs(stage)), "an out that no output makes"
    scratch = [given[port] for port in ports(name, "scratch")]
    assert not any(within(out, place) for out in outputs(stage) for place in scratch)


@pytest.mark.parametrize("name", STAGES)
def test_the_code_among_the_deps_is_all_that_the_stage_imports(name, written, graph):
    real = imported(name, graph)
    missing = [str(file) for file in sorted(real) if not any(within(str(file), dep) for dep in code(written[name]))]
    excess = [dep for dep in code(written[name]) if not set(_sources(Path(dep)) or [Path(dep)]) <= real]
    assert (missing, excess) == ([], []), f"dvc.yaml, {name}: `python tests/test_dvc.py {name}` prints the right deps"


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Our files that are loaded with each stage's module, found by doing so; torch is loaded once for all."""
    program = """
import importlib, json, sys
files = {}
for stage in sys.argv[1:]:
    for name in [name for name in sys.modules if name.split(".")[0] in ("inverseform", "components")]:
        del sys.modules[name]
    importlib.import_module(f"components.{stage}")
    files[stage] = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
print(json.dumps(files))
"""
    command = [sys.executable, "-c", program, *STAGES]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    wings = (ROOT / "inverseform", ROOT / "components")
    return {
        stage: [str(Path(file).relative_to(ROOT)) for file in files if file and file.startswith(tuple(map(str, wings)))]
        for stage, files in json.loads(run.stdout).items()
    }


@pytest.mark.parametrize("name", STAGES)
def test_what_is_loaded_with_a_stage_is_among_its_deps(name, written, loaded):
    """The same by running it: an import that the source does not show, by name say, appears here."""
    assert f"components/{name}.py" in loaded[name]
    assert [file for file in loaded[name] if not any(within(file, dep) for dep in code(written[name]))] == []


def test_no_room_goes_through_the_lazy_front_of_the_library():
    """`from inverseform import boundaries` would hide from the closure which room it needs."""
    import inverseform

    for file in [*_sources(Path("inverseform")), *_sources(Path("components"))]:
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            # The front itself names the rooms for type checkers, room by room.
            if isinstance(node, ast.ImportFrom) and node.module == "inverseform":
                lazy = [alias.name for alias in node.names if alias.name in inverseform._ROOMS]
                assert lazy == [], f"{file}:{node.lineno}: name the room, as in `from inverseform.boundary import ...`"


def test_what_is_committed_is_small_figures_and_everything_else_is_cached(written):
    for name, stage in written.items():
        entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
        for entry in entries:
            path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            assert (options.get("cache") is False) == (Path(path).suffix in (".json", ".csv", ".md")), f"{name}: {path}"


def test_git_ignores_what_is_cached_and_nothing_else(written):
    """Else DVC writes a .gitignore beside each output, one of them into a folder which evaluate replaces."""
    for name, stage in written.items():
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])):
            path, options = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
            ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode == 0
            assert ignored == (options.get("cache") is not False), f"{name}: {path}"


if __name__ == "__main__":
    print(*(f"      - {line}" for line in folded(imported(sys.argv[1], _import_graph()))), sep="\n")
