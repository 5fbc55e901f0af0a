"""A training on several nodes: the manifest of a Kubeflow TrainJob that runs a stage as the graph does.

A step of Kubeflow Pipelines is one pod, and so has the GPUs of one node at most. A TrainJob (Kubeflow Trainer 2.2 or
newer) has as many nodes as one likes. Inputs and outputs lie on a claim that all nodes mount: what the graph made
before is copied there, and what comes out is copied back, or evaluated from there.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pipeline import InputError, nearest
from pipeline.site import CHECKPOINTS, NAME, TRAININGS, Site

DATA = "/data"
"""Where the claim for inputs and outputs is mounted."""
MOST_NODES = 1000


class Ports(NamedTuple):
    """What a training reads and writes, by the names of its parameters."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


PORTS = {
    "train_inverse": Ports(("pairs",), ("inverse_net", "metrics", "curves", "report")),
    "train_segmentation": Ports(("samples", "inverse_net"), ("segmenter", "metrics", "curves")),
}


def train_job(
    stage: str,
    settings: Mapping[str, Any],
    site: Site,
    *,
    nodes: int = 2,
    claim: str = "inverseform-data",
    inputs: Mapping[str, str] | None = None,
    outputs: str | None = None,
    runtime: str = "torch-distributed",
) -> dict[str, Any]:
    """The manifest, for `kubectl create -f`.

    Args:
        stage: One of the trainings.
        settings: Its section of params.yaml.
        site: The cluster: image, GPUs of a node, checkpoints, nodes, secrets.
        nodes: How many; each has the GPUs that the profile gives the stage, and a process for each.
        claim: A PersistentVolumeClaim that all nodes can mount (ReadWriteMany), with the inputs.
        inputs: Folder of each input on that claim, by name, such as {"samples": "samples"}; by default its own name.
        outputs: Folder on that claim for what comes out; by default the stage's name.
        runtime: Name of the ClusterTrainingRuntime; its job and container have to be called node, as Kubeflow's own.

    Raises:
        InputError: The stage is no training, an input has another name, or Kubernetes would not take the rest.
    """
    if stage not in TRAININGS:
        raise InputError(
            f"{stage} is no training, and one node is enough for it; did you mean {nearest(stage, TRAININGS)}?"
        )
    if not 1 <= nodes <= MOST_NODES:
        raise InputError(f"--nodes {nodes}: a training has from 1 to {MOST_NODES}; type --nodes 2, say")
    for flag, name in (("--data", claim), ("--runtime", runtime)):
        if not re.fullmatch(NAME, name):
            raise InputError(
                f"{flag} {name!r} is no name in Kubernetes; it has small letters, digits, hyphens and dots"
            )
    for folder in (outputs or stage, *(inputs or {}).values()):
        if not re.fullmatch(r"[^/\s]+(/[^/\s]+)*", folder) or ".." in folder.split("/"):
            raise InputError(
                f"{folder!r} is no folder on the claim {claim}; type it from the root of that on, like a/b"
            )
    if DATA in {volume.mount_path for volume in site.volumes}:
        raise InputError(f"volumes: a TrainJob has {claim} at {DATA}; name another mount_path in the profile")
    needs = site.needs(stage)
    accelerators = {site.accelerator.resource: str(needs.gpus)} if needs.gpus else {}
    task = _executor_input(stage, settings, dict(inputs or {}), outputs or stage)
    name = stage.replace("_", "-")
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"generateName": f"{name}-", "labels": {"app.kubernetes.io/part-of": "inverseform"}},
        "spec": {
            "runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": runtime},
            "trainer": {
                "image": site.large_image,
                # torchrun; how many nodes there are and which one is the first it reads from variables of the runtime.
                "command": ["python", "-m", "torch.distributed.run", "-m", f"components.{stage}"],
                "args": ["--executor-input", json.dumps(task)],
                "numNodes": nodes,
                "numProcPerNode": max(1, needs.gpus),
                "resourcesPerNode": {
                    "requests": {"cpu": needs.cpu, "memory": needs.memory, **accelerators},
                    "limits": accelerators,
                },
                "env": [
                    {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}}
                    for secret in site.secrets
                    for key, variable in secret.env.items()
                ],
            },
            "runtimePatches": [{"manager": "inverseform.pipeline", "trainingRuntimeSpec": _node(site, stage, claim)}],
        },
    }


def _executor_input(stage: str, settings: Mapping[str, Any], given: dict[str, str], outputs: str) -> dict[str, Any]:
    """What Kubeflow Pipelines would hand over, with paths for addresses: the same stage, the same command."""
    ports = PORTS[stage]
    for port in given:
        if port not in ports.inputs:
            raise InputError(f"{port} is not an input of {stage}; did you mean {nearest(port, ports.inputs)}?")

    def artifact(port: str, place: str) -> dict[str, Any]:
        return {"artifacts": [{"name": port, "uri": f"{DATA}/{place}", "metadata": {}}]}

    return {
        "inputs": {
            "parameterValues": {"params": json.dumps(dict(settings)), "checkpoints": f"{CHECKPOINTS}/{outputs}"},
            "artifacts": {port: artifact(port, given.get(port, port)) for port in ports.inputs},
        },
        "outputs": {
            "artifacts": {port: artifact(port, f"{outputs}/{port}") for port in ports.outputs},
            "outputFile": f"{DATA}/{outputs}/executor_output.json",
        },
    }


def _node(site: Site, stage: str, claim: str) -> dict[str, Any]:
    """What a pod has beside the runtime's own: volumes, machines, and the user of the images."""
    needs = site.needs(stage)
    held = [("checkpoints", site.claim, CHECKPOINTS), ("data", claim, DATA)]
    held += [(f"volume-{number}", volume.claim, volume.mount_path) for number, volume in enumerate(site.volumes)]
    volumes: list[dict[str, Any]] = [
        {"name": name, "persistentVolumeClaim": {"claimName": claimed}} for name, claimed, _ in held
    ]
    mounts = [{"name": name, "mountPath": path} for name, _, path in held]
    for number, secret in enumerate(site.secrets):
        if secret.mount_path:
            volumes.append({"name": f"secret-{number}", "secret": {"secretName": secret.name}})
            mounts.append({"name": f"secret-{number}", "mountPath": secret.mount_path})
    if needs.shared_memory:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": needs.shared_memory}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
    accelerator = site.accelerator if needs.gpus else None
    tolerations = (*site.tolerations, *(accelerator.tolerations if accelerator else ()))
    pod = {
        "nodeSelector": site.node_selector | (accelerator.node_selector if accelerator else {}),
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in tolerations],
        "imagePullSecrets": [{"name": name} for name in site.image_pull_secrets],
        "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001, "runAsNonRoot": True},
        "volumes": volumes,
        "containers": [{"name": "node", "volumeMounts": mounts}],
    }
    # What is empty is left out: the runtime's own stays.
    spec = {field: value for field, value in pod.items() if value}
    return {"template": {"spec": {"replicatedJobs": [
        {"name": "node", "template": {"spec": {"template": {"spec": spec}}}}
    ]}}}  # fmt: skip
