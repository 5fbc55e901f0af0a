"""How the images are built, as far as that needs no engine; what is in them is asked by `make test-containers`."""

import contextlib
import hashlib
import os
import re
import tomllib
from pathlib import Path

import pytest

from containers import build, cache, debian, engine, sbom, wheels

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECIPE = (ROOT / "containers" / "Containerfile").read_text()

SMALL = ("data", "demo", "matlab", "coco")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A path with nothing on it but what a test puts there, and no engine that runs already."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    engine.client.cache_clear()
    yield tmp_path
    engine.client.cache_clear()


def command(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def declared(*extras: str) -> set[str]:
    """Packages of the library and of extras, on the machines that images are for."""
    wanted = list(PROJECT["dependencies"])
    for extra in extras:
        wanted += [line for line in PROJECT["optional-dependencies"][extra] if "!=" not in line]
    return {re.match(r"[\w.-]+", line)[0].lower() for line in wanted} - {PROJECT["name"]}


def test_the_small_image_holds_what_ingest_and_synthesize_need():
    assert set(wheels.packages("small")) == declared(*SMALL)


def test_the_large_image_holds_what_a_network_needs():
    assert set(wheels.packages("large")) == declared(*SMALL, "train", "onnx", "onnx-gpu")


@pytest.mark.parametrize("name", ["small", "large"])
def test_every_package_of_an_image_has_its_version(name):
    pinned = {line.split("==")[0].lower() for line in wheels.CONSTRAINTS.read_text().splitlines()}
    assert set(wheels.packages(name)) <= pinned


def test_the_recipe_has_no_entry_point_and_ends_as_a_user():
    instructions = re.findall(r"^([A-Z]+) ", RECIPE, re.M)
    assert "ENTRYPOINT" not in instructions and instructions.count("USER") == 1
    assert "USER 10001:10001" in RECIPE.partition("AS image")[2]


def test_our_code_comes_after_all_that_takes_long():
    above, _, below = RECIPE.partition("COPY inverseform")
    assert "--require-hashes" in above and "pip" not in below


def test_no_lock_lacks_a_hash_and_pip_is_not_installed(tmp_path):
    for name in ("pip-26.3-py3-none-any.whl", "ruamel.yaml-0.19.1-cp311-cp311-linux.whl", "torch-2.13.0+cpu-a-b-c.whl"):
        (tmp_path / name).write_text(name)
    digest = hashlib.sha256(b"torch-2.13.0+cpu-a-b-c.whl").hexdigest()
    first, second = wheels.locked(tmp_path).splitlines()
    assert first.startswith("ruamel-yaml==0.19.1 --hash=sha256:")
    assert second == f"torch==2.13.0+cpu --hash=sha256:{digest}"


def test_a_version_given_instead_replaces_that_of_constraints_and_no_other():
    text = wheels.constrained("torch==2.14.1\ntorchvision==0.29.1\n", {"torch": "2.13.0+cpu"})
    assert text.split() == ["torchvision==0.29.1", "torch==2.13.0+cpu"]


def test_wheels_that_are_there_are_not_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(wheels.sys, "executable", "/bin/false")
    with pytest.raises(wheels.subprocess.CalledProcessError):
        wheels.house("small", python="3.11", instead={})
    assert not list((tmp_path / "wheels").iterdir())
    command(tmp_path / "python", 'mkdir wheels; echo pip > wheels/pip-1-py3-none-any.whl; echo once >> "$0.log"')
    monkeypatch.setattr(wheels.sys, "executable", str(tmp_path / "python"))
    first = wheels.house("small", python="3.11", instead={})
    assert wheels.house("small", python="3.11", instead={}) == first
    assert wheels.house("small", python="3.11", instead={"torch": "1"}) != first
    assert (tmp_path / "python.log").read_text() == "once\n" * 2


def test_debian_packages_join_the_bill():
    bill = sbom.with_debian({"components": [{"name": "torch"}]}, "libstdc++6\t12.2.0-14\tamd64\nbase\t1:2~3\tall\n")
    assert [each["name"] for each in bill["components"]] == ["torch", "libstdc++6", "base"]
    assert bill["components"][1]["purl"] == "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64"


def test_the_cache_lies_where_it_is_told_or_where_caches_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(tmp_path))
    assert cache.root() == tmp_path
    monkeypatch.delenv("INVERSEFORM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.root() == Path("/somewhere/inverseform")


def test_labels_say_version_and_revision():
    given = build.labels("large")
    assert given["VERSION"] == PROJECT["version"] and re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", given["REVISION"])


@pytest.mark.parametrize(("help", "refused"), [("--progress string", False), ("only the old builder", True)])
def test_a_client_without_buildkit_is_passed_over(path, monkeypatch, help, refused):
    monkeypatch.setattr(
        engine.shutil, "which", lambda name, path=None: str(first) if path == str(first.parent) else None
    )
    first = path / "docker"
    command(first, f"echo '{help}'")
    if not refused:
        assert engine.client() == str(first)
        return
    with pytest.raises(engine.NoEngine, match="no BuildKit"):
        engine.client()


def test_an_engine_that_does_not_answer_is_told_by_its_address(path, monkeypatch):
    command(path / "docker", 'case "$1" in build) echo --progress;; *) exit 1;; esac')
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/s")
    with pytest.raises(engine.NoEngine, match="DOCKER_HOST is unix:///nowhere/s and nobody answers"), engine.engine():
        pass


def test_a_machine_without_an_engine_is_told_what_to_install(path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(path / "cache"))
    monkeypatch.setattr(engine.caches, "free", lambda folder: 1 << 40)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(engine.NoEngine, match=r"no dockerd on the path; apt-get install docker\.io"), engine.engine():
        pass


def test_a_disk_that_is_too_full_is_told_before_anything_is_started(path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(path / "cache"))
    monkeypatch.setattr(engine.caches, "free", lambda folder: 5 << 30)
    with pytest.raises(engine.NoEngine, match="5 GiB are free, 16 needed; set INVERSEFORM_CACHE"), engine.engine():
        pass


def test_an_engine_that_dies_at_once_is_told_by_its_last_words(path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(path / "cache"))
    monkeypatch.setattr(engine.caches, "free", lambda folder: 1 << 40)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    command(path / "docker", 'case "$1" in build) echo --progress;; *) exit 1;; esac')
    command(path / "setpriv", "echo no such device >&2; exit 1")
    command(path / "dockerd", "true")
    command(path / "umount", "true")
    with pytest.raises(engine.NoEngine, match="did not start:\nno such device"), engine.engine():
        pass


def test_a_base_needs_its_tool(path, monkeypatch):
    monkeypatch.setenv("INVERSEFORM_CACHE", str(path / "cache"))
    with pytest.raises(engine.NoEngine, match=r"no mmdebstrap on the path; .* --base-image"):
        debian.tar()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["medium"], "medium is no image; type small or large, or nothing for both"),
        (["--tag", "a b"], "argument --tag: 'a b' is no tag, which has letters"),
        (["--tag", ""], "argument --tag: '' is no tag"),
    ],
)
def test_what_is_typed_wrongly_is_told_before_anything_is_built(typed, message, path, capsys):
    with pytest.raises(SystemExit, match="2"):
        build.main(typed)
    assert message in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_no_traceback(path, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INVERSEFORM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(build, "engine", lambda: contextlib.nullcontext("unix:///nowhere"))
    command(path / "mmdebstrap", "exit 0")
    with pytest.raises(SystemExit, match="1"):
        build.main(["small"])
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/file: File exists; see {tmp_path}/file")
