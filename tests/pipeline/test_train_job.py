import importlib
import json
from pathlib import Path

import pytest
import yaml
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from components.executor import Executor
from components.stage import ports
from pipeline import InputError
from pipeline.profile import load_profile
from pipeline.site import TRAININGS, Site
from pipeline.train_job import PORTS, train_job

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted((ROOT / "pipeline" / "profiles").glob("*.yaml"))
SETTINGS = yaml.safe_load((ROOT / "params.yaml").read_text())
FULL = {
    "secrets": [{"name": "bucket", "env": {"key": "AWS_KEY"}}, {"name": "ca", "mount_path": "/ca"}],
    "volumes": [{"claim": "camvid", "mount_path": "/camvid"}],
    "image_pull_secrets": ["registry"],
    "node_selector": {"pool": "spot"},
}


def node(job):
    """What is asked of the pods of a job."""
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["name"] == "node"
    return replicated["template"]["spec"]["template"]["spec"]


def unknown(given, kept, place=""):
    """Places of a manifest that the models of Kubeflow's API let go, as they have no such field."""
    if isinstance(given, dict):
        return [
            lost
            for key, value in given.items()
            for lost in (unknown(value, kept[key], f"{place}.{key}") if key in kept else [f"{place}.{key}"])
        ]
    if isinstance(given, list):
        return [lost for n, value in enumerate(given) for lost in unknown(value, kept[n], f"{place}.{n}")]
    return []


@pytest.mark.parametrize("site", [*PROFILES, FULL], ids=lambda site: site.stem if isinstance(site, Path) else "full")
@pytest.mark.parametrize("stage", TRAININGS)
def test_the_manifest_is_one_of_kubeflows_api(stage, site):
    chosen = load_profile(site) if isinstance(site, Path) else Site.model_validate(site)
    job = train_job(stage, SETTINGS[stage], chosen, nodes=3)
    kept = TrainerV1alpha1TrainJob.from_dict(json.loads(json.dumps(job))).to_dict()
    assert unknown(job, kept) == []
    assert yaml.safe_load(yaml.safe_dump(job)) == job


def test_a_field_that_the_api_has_not_would_be_seen():
    job = train_job("train_inverse", {}, Site())
    job["spec"]["trainer"]["nodes"] = 3
    kept = TrainerV1alpha1TrainJob.from_dict(job).to_dict()
    assert unknown(job, kept) == [".spec.trainer.nodes"]


@pytest.mark.parametrize("stage", TRAININGS)
def test_the_ports_are_those_of_the_stage(stage):
    function = getattr(importlib.import_module(f"components.{stage}"), stage)
    assert PORTS[stage] == (tuple(ports(function, "input")), tuple(ports(function, "output")))


def test_the_same_command_reads_and_writes_on_the_claim():
    job = train_job(
        "train_segmentation", SETTINGS["train_segmentation"], Site(), inputs={"samples": "camvid-3"}, outputs="first"
    )
    trainer = job["spec"]["trainer"]
    assert trainer["command"] == ["python", "-m", "torch.distributed.run", "-m", "components.train_segmentation"]
    flag, text = trainer["args"]
    assert flag == "--executor-input"
    # As the stage reads it.
    executor = Executor(text)
    assert json.loads(executor.parameter("params")) == SETTINGS["train_segmentation"]
    found = executor.artifacts(inputs=["samples", "inverse_net"], outputs=["segmenter"])
    assert {port: str(path) for port, path in found.items()} == {
        "samples": "/data/camvid-3", "inverse_net": "/data/inverse_net", "segmenter": "/data/first/segmenter"
    }  # fmt: skip
    folder = executor.folder("checkpoints", stage="train_segmentation")
    mounts = {mount["mountPath"] for mount in node(job)["containers"][0]["volumeMounts"]}
    assert folder.is_relative_to("/checkpoints") and {"/checkpoints", "/data", "/dev/shm"} == mounts


def test_each_node_has_the_gpus_of_the_profile_and_a_process_for_each():
    job = train_job("train_segmentation", {}, load_profile(ROOT / "pipeline" / "profiles" / "gpus.yaml"), nodes=4)
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (4, 8)
    assert trainer["resourcesPerNode"]["limits"] == {"nvidia.com/gpu": "8"}
    assert node(job)["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert node(job)["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    on_cpus = train_job("train_inverse", {}, load_profile(ROOT / "pipeline" / "profiles" / "cpu.yaml"))
    assert on_cpus["spec"]["trainer"]["numProcPerNode"] == 1
    assert on_cpus["spec"]["trainer"]["resourcesPerNode"]["limits"] == {}


def test_every_volume_is_mounted_and_every_mount_has_a_volume():
    job = train_job("train_segmentation", {}, Site.model_validate(FULL), claim="mine")
    volumes, mounts = node(job)["volumes"], node(job)["containers"][0]["volumeMounts"]
    assert [volume["name"] for volume in volumes] == [mount["name"] for mount in mounts]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]
    assert claims == ["inverseform-checkpoints", "mine", "camvid"]
    (env,) = job["spec"]["trainer"]["env"]
    assert env == {"name": "AWS_KEY", "valueFrom": {"secretKeyRef": {"name": "bucket", "key": "key"}}}


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("evaluate", {}, "evaluate is no training, .* did you mean train_"),
        ("train_inverse", {"nodes": 0}, "--nodes 0: a training has from 1 to 1000"),
        ("train_inverse", {"nodes": 10**9}, "--nodes 1000000000: a training has from 1 to 1000"),
        ("train_inverse", {"claim": "A b"}, "--data 'A b' is no name in Kubernetes"),
        ("train_inverse", {"runtime": ""}, "--runtime '' is no name in Kubernetes"),
        ("train_inverse", {"outputs": "../x"}, r"'\.\./x' is no folder on the claim inverseform-data"),
        ("train_inverse", {"inputs": {"pairs": "/abs"}}, "'/abs' is no folder on the claim"),
        ("train_inverse", {"inputs": {"pair": "x"}}, r"pair is not an input of train_inverse; did you mean pairs\?"),
    ],
)
def test_what_no_training_has_is_refused(stage, changes, message):
    with pytest.raises(InputError, match=message):
        train_job(stage, {}, Site(), **changes)
