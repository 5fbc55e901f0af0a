import subprocess
import sys

import torch

from components.provenance import revision, versions


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_revision_is_the_commit_and_says_whether_the_code_is_another(tmp_path):
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "a.py").write_text("a = 1\n")
    (tmp_path / "result.csv").write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert revision(tmp_path) == commit
    # Results are being written while this is asked.
    (tmp_path / "result.csv").write_text("2\n")
    assert revision(tmp_path) == commit
    (tmp_path / "components" / "a.py").write_text("a = 2\n")
    assert revision(tmp_path) == f"{commit}, with changes that are not in it"


def test_without_a_working_copy_there_is_no_revision(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "inside").mkdir()
    assert revision(tmp_path) is None, "there is no commit yet"
    assert revision(tmp_path / "inside") is None


def test_without_git_there_is_none_either(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert revision(tmp_path) is None


def test_versions_are_those_of_what_computes():
    found = versions().split(", ")
    assert found[0] == f"Python {sys.version.split()[0]}"
    assert f"torch {torch.__version__.split('+')[0]}" in [each.split("+")[0] for each in found]
