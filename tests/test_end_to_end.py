"""The pipeline as a person runs it, at a very small size: real stages, real DVC, and a real kill in the middle."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from inverseform import weights
from tests.drawn import ROOT

SMALL = {
    "synthesize": {"train_pairs": 512, "val_pairs": 128, "probe_tiles": 12, "shard_pairs": 256, "tile": 32},
    # Of 30 steps nothing is asked; that the gate holds is tested beside the stage.
    "train_inverse": {
        "init": "random", "network": {"name": "dense", "pooling": 2, "hidden": [64, 32]},
        "gate": {"r2": -1e9, "r2_degraded": -1e9, "identity_ratio": 1e9, "spearman": -1.0, "points_back": 0.0,
                 "points_back_degraded": 0.0, "normal_error_pixels": 99.0},
    },
    "evaluate": {"overlays": 1, "gate": {"miou": 0.0, "mba": 0.0}},
}  # fmt: skip
STEPS = {"train_inverse": (30, 64), "train_segmentation": (80, 4)}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone of what git would take, with small settings and no results."""
    folder = tmp_path_factory.mktemp("project")
    for name in (
        "inverseform",
        "components",
        "data/raw",
        "dvc.yaml",
        "params.yaml",
        ".dvc",
        ".dvcignore",
        ".gitignore",
    ):
        source = ROOT / name
        if source.is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local", "train", "val", "test")
            shutil.copytree(source, folder / name, ignore=left_out)
        else:
            shutil.copy(source, folder / name)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for stage, changes in SMALL.items():
        params[stage] |= changes
    for stage, (steps, batch) in STEPS.items():
        params[stage]["optimiser"] |= {"steps": steps, "batch": batch, "warm_up": 2}
    params["train_segmentation"]["augment"]["crop"] = [64, 64]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def repro(project):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", "repro"]
    with (project / "log").open("a") as log:
        return subprocess.Popen(
            command, cwd=project, stdout=log, stderr=log, env={**os.environ, "PATH": path}, start_new_session=True
        )


def test_killed_in_the_middle_and_run_again_it_ends_as_an_undisturbed_run(project):
    first = repro(project)
    log, begun = project / "log", project / "models" / ".lock.segmenter"
    deadline = time.monotonic() + 300
    while not begun.exists():
        assert time.monotonic() < deadline and first.poll() is None, log.read_text()
        time.sleep(0.05)
    time.sleep(1)  # the stage has begun, and its 80 steps take longer than that
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (project / "models" / "segmenter").exists(), log.read_text()
    assert repro(project).wait(timeout=300) == 0, log.read_text()
    for name in (
        "models/segmenter.onnx",
        "models/MODEL_CARD.md",
        "reports/train_inverse/report.html",
        "reports/evaluate/report.html",
        "dvc.lock",
    ):
        assert (project / name).stat().st_size > 0
    left = [p for p in project.rglob(".*") if p.name.startswith((".partial", ".lock"))]
    assert not left and not any((project / "checkpoints").glob("*"))

    undisturbed = project / "undisturbed"
    command = [sys.executable, "-m", "components.train_segmentation", "--samples", "data/samples"]
    command += ["--inverse-net", "models/inverse_net", "--segmenter", undisturbed / "segmenter"]
    command += ["--metrics", undisturbed / "m", "--curves", undisturbed / "c", "--checkpoints", undisturbed / "k"]
    subprocess.run(command, cwd=project, check=True, stderr=subprocess.DEVNULL)
    assert weights.digest(undisturbed / "segmenter") == weights.digest(project / "models" / "segmenter")
    assert (undisturbed / "c").read_bytes() == (project / "reports/train_segmentation/curves.csv").read_bytes()


def test_run_again_it_finds_nothing_to_do(project):
    lock = (project / "dvc.lock").read_bytes()
    (project / "log").unlink()
    assert repro(project).wait(timeout=60) == 0
    assert "Data and pipelines are up to date" in (project / "log").read_text()
    assert (project / "dvc.lock").read_bytes() == lock


def test_the_exported_file_predicts_by_itself(project, tmp_path):
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 61, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    command = [Path(sys.executable).parent / "inverseform", "predict", project / "models" / "segmenter.onnx"]
    subprocess.run([*command, tmp_path / "photo.png", "-o", tmp_path / "mask.png"], check=True, cwd=tmp_path)
    mask = Image.open(tmp_path / "mask.png")
    assert mask.size == (61, 50) and mask.mode == "P" and np.asarray(mask).max() < 4
