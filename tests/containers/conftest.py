"""The stages in their real images, for `make test-containers` alone: other runs of pytest do not collect this folder.

Where no engine can be had the tests are skipped and the reason is said, or they fail where INVERSEFORM_CONTAINERS is
`required`.
"""

import shutil

import pytest
import yaml

from containers.build import name_of
from containers.engine import NoEngine, docker, engine
from tests.containers.sandbox import Sandbox, cannot
from tests.drawn import ROOT


def pytest_configure(config):
    config.addinivalue_line("markers", "containers: needs a container engine; run by `make test-containers`")


def pytest_ignore_collect(config):
    # By the words of the command: an expression such as "not containers" leaves out what it collects.
    return None if "containers" in config.getoption("markexpr") else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "containers"):
            item.add_marker("containers")


@pytest.fixture(scope="session")
def host():
    """The address of an engine, which is also in DOCKER_HOST as long as the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        held = engine()
        try:
            address = held.__enter__()
        except NoEngine as error:
            cannot(error)
        patch.setenv("DOCKER_HOST", address)
        yield address
        held.__exit__(None, None, None)


@pytest.fixture(scope="session")
def images(host):
    """The names of the images, which `make images` has built."""
    found = {image: name_of(image) for image in ("small", "large")}
    for name in found.values():
        if not docker("images", "--quiet", name, host=host).stdout:
            cannot(f"{name} is not there; make images")
    return found


@pytest.fixture(scope="session")
def sandbox(host, images, tmp_path_factory):
    """Runs stages in their images; what containers write is removed at the end, whoever owns it."""
    folder = tmp_path_factory.mktemp("containers")
    yield Sandbox(host, images, folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """params.yaml at a very small size: drawn scenes, and a network of a few layers."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["ingest"]["data"] = {"name": "procedural", "train": 12, "val": 4, "test": 4, "size": [96, 128], "seed": 1}
    params["synthesize"] |= {"train_pairs": 512, "val_pairs": 128, "probe_tiles": 12, "shard_pairs": 256, "tile": 32}
    params["train_inverse"] |= {
        "init": "random", "network": {"name": "dense", "pooling": 2, "hidden": [64, 32]},
        # Nothing is asked of a network this small; that the gate holds is tested beside the stage.
        "gate": {"r2": -1e9, "r2_degraded": -1e9, "identity_ratio": 1e9, "spearman": -1.0, "points_back": 0.0,
                 "points_back_degraded": 0.0, "normal_error_pixels": 99.0},
    }  # fmt: skip
    params["train_inverse"]["optimiser"] |= {"steps": 600, "batch": 64, "warm_up": 2}
    params["train_segmentation"]["network"] = {
        "name": "smp", "architecture": "Linknet", "encoder": "tu-resnet18", "weights": None, "boundary_head": True,
        "boundary_feedback": False,
    }  # fmt: skip
    params["train_segmentation"]["optimiser"] |= {"steps": 6, "batch": 4, "warm_up": 2}
    params["train_segmentation"]["augment"]["crop"] = [64, 64]
    params["evaluate"] |= {"overlays": 1, "gate": {"miou": 0.0, "mba": 0.0}}
    path = tmp_path_factory.mktemp("settings") / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    return path


@pytest.fixture(scope="session")
def stages(sandbox, settings, tmp_path_factory):
    """All six stages, one after the other, each in a container of its own: what each said, and its outputs."""
    raw = tmp_path_factory.mktemp("raw")
    made = {}

    def stage(name, **inputs):
        made[name] = sandbox.run(name, {"params": settings, **inputs})
        assert made[name].status == 0, made[name].said
        return made[name].out

    samples = stage("ingest", raw=raw) / "samples"
    pairs = stage("synthesize", samples=samples) / "pairs"
    inverse_net = stage("train_inverse", pairs=pairs) / "inverse_net"
    trained = stage("train_segmentation", samples=samples, inverse_net=inverse_net)
    segmenter = trained / "segmenter"
    judged = stage("evaluate", samples=samples, segmenter=segmenter, curves=trained / "curves")
    stage("export", samples=samples, segmenter=segmenter, gate=judged / "gate")
    return made
