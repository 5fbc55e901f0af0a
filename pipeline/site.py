"""What differs from cluster to cluster: images, volumes, machines. Read from a profile, and fixed when compiled.

What Kubernetes would refuse when the first pod starts, or kfp while it compiles, is refused here, by the field's name.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

STAGES = ("ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export")
"""Names of the stages, in the order in which they run."""
TRAININGS = ("train_inverse", "train_segmentation")
"""Stages that resume from a step and run on several GPUs at a time."""
CHECKPOINTS = "/checkpoints"
"""Where the claim for checkpoints is mounted; an argument of the pipeline may name a folder below it."""
MOST_GPUS = {"evaluate": 1, "export": 1}
"""GPUs that the others can use; none where there is none here."""
TAKEN = (CHECKPOINTS, "/dev/shm", "/app", "/opt", "/gcs", "/s3", "/minio", "/oci", "/kfp-launcher")
"""Paths in a container that are the graph's, the images' or those of Kubeflow's launcher."""

Stage = Literal["ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export"]

IMAGE = r"([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[A-Za-z0-9_][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
WORD = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"


def _written(pattern: str, example: str) -> AfterValidator:
    """Holds a text against what Kubernetes takes."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"not as Kubernetes takes it; write it like {example}")
        return text

    return AfterValidator(check)


def _pinned(image: str) -> str:
    if not re.fullmatch(IMAGE, image, re.ASCII):
        raise ValueError(f"{image!r} is no name of an image; write it like quay.io/me/small:0.1.0")
    # The last colon may also stand before a port.
    tag = re.search(r"^[^@]+:([^/:@]+)$", image)
    if "@sha256:" not in image and (tag is None or tag[1] == "latest"):
        raise ValueError(
            f"the image {image} has neither a digest nor a tag of its own, and Kubeflow's cache goes by the name: "
            f"write {image.removesuffix(':latest')}@sha256:... or a tag that is never used again, such as :0.1.0"
        )
    return image


Image = Annotated[str, AfterValidator(_pinned)]
Cpus = Annotated[str, _written(r"\d+m|\d+(\.\d+)?", "500m or 4")]
Memory = Annotated[str, _written(r"\d+(Ki|[MGTPE]i?)?", "512Mi or 16Gi")]
"""Whole, as kfp wants it."""
Count = Annotated[int, Field(le=1000)]
"""Of pods, GPUs or tries; more is a slip of the hand."""
Name = Annotated[str, _written(NAME, "inverseform-checkpoints")]
"""Of something in Kubernetes."""
Labels = dict[
    Annotated[str, _written(rf"({NAME}/)?{WORD}", "nvidia.com/gpu.product")],
    Annotated[str, _written(rf"({WORD})?", "NVIDIA-A100-SXM4-80GB")],
]
"""Of nodes."""
Variables = dict[
    Annotated[str, _written(r"[-.\w]+", "access-key")], Annotated[str, _written(r"[A-Za-z_]\w*", "AWS_ACCESS_KEY_ID")]
]
"""Environment variable by key of a secret."""
MountPath = Annotated[str, _written(r"(/[^/:\s]+)+", "/camvid")]


class Fields(BaseModel):
    """Fields of a profile: none is unknown, none is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Toleration(Fields):
    """Lets pods onto nodes that keep others away."""

    key: str
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(f"the toleration of {self.key} has a value, which Exists takes none of; write Equal")
        return self


class Secret(Fields):
    """A Kubernetes Secret in every stage: its keys as environment variables, or all of it as files."""

    name: Name
    env: Variables = {}
    mount_path: MountPath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Secret":
        if bool(self.env) == bool(self.mount_path):
            raise ValueError(f"the secret {self.name} needs either env or mount_path, and not both")
        return self


class Volume(Fields):
    """A PersistentVolumeClaim in every stage, with the data set on it, say."""

    claim: Name
    mount_path: MountPath


class Accelerator(Fields):
    """What a GPU is called, and where such nodes are."""

    resource: Annotated[str, _written(rf"{NAME}/{WORD}", "nvidia.com/gpu")] = "nvidia.com/gpu"
    node_selector: Labels = {}
    """Labels of the nodes, by which a type of GPU is chosen."""
    tolerations: tuple[Toleration, ...] = Field(default=(), strict=False)


class Needs(Fields):
    """What a stage asks of the cluster; requests without limits, so that it may use what is idle."""

    cpu: Cpus
    memory: Memory
    gpus: Count = Field(default=0, ge=0)
    retries: Count = Field(default=2, ge=0)
    """How often it is tried again: up to 5 times after 1, 2, 4, 8 and 16 minutes, more often after a minute each."""
    shared_memory: Memory | None = None
    """Size of /dev/shm, which counts as memory of the pod; 64 MB where there is none."""


NEEDS: dict[Stage, dict[str, Any]] = {
    "ingest": {"cpu": "4", "memory": "8Gi"},
    "synthesize": {"cpu": "4", "memory": "8Gi"},
    # More often: they resume, and may run on machines that are taken away. torch's loaders hand batches over in shared
    # memory.
    "train_inverse": {"cpu": "4", "memory": "16Gi", "gpus": 1, "retries": 4, "shared_memory": "8Gi"},
    "train_segmentation": {"cpu": "8", "memory": "32Gi", "gpus": 1, "retries": 4, "shared_memory": "8Gi"},
    "evaluate": {"cpu": "4", "memory": "16Gi"},
    "export": {"cpu": "2", "memory": "8Gi"},
}
"""What a profile does not change, by stage; `evaluate` uses a GPU as well if it gets one."""


class FanOut(Fields):
    """How the shards of a stage are spread over pods."""

    pods: Count = Field(default=4, ge=1)
    """1: the stage makes all of them itself."""
    at_once: Count = Field(default=4, ge=1)


class Site(Fields):
    """One cluster."""

    small_image: Image = "localhost/inverseform/small:0.1.0"
    """Of the stages that need torch and the data libraries alone."""
    large_image: Image = "localhost/inverseform/large:0.1.0"
    """Of the stages that build a network."""
    claim: Name = "inverseform-checkpoints"
    """PersistentVolumeClaim for checkpoints: Kubeflow keeps nothing of a pod that failed, a retry resumes from here."""
    ingest: FanOut = FanOut()
    synthesize: FanOut = FanOut()
    accelerator: Accelerator = Accelerator()
    node_selector: Labels = {}
    """Labels of the nodes for all stages."""
    tolerations: tuple[Toleration, ...] = Field(default=(), strict=False)
    secrets: tuple[Secret, ...] = Field(default=(), strict=False)
    volumes: tuple[Volume, ...] = Field(default=(), strict=False)
    image_pull_secrets: tuple[Name, ...] = Field(default=(), strict=False)
    stages: dict[Stage, Needs] = Field(default={}, validate_default=True)
    """What each stage asks for; what is not named has its default."""

    def needs(self, stage: str) -> Needs:
        """What a stage asks for."""
        return next(needs for name, needs in self.stages.items() if name == stage)

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, given: Any) -> Any:  # noqa: ANN401 (whatever YAML holds)
        stages = given.get("stages", {}) if isinstance(given, dict) else None
        if not isinstance(stages, dict) or not all(isinstance(needs, (dict, Needs)) for needs in stages.values()):
            return given
        filled = {stage: NEEDS[stage] | dict(stages.get(stage, {})) for stage in NEEDS}
        return {**given, "stages": filled | {stage: stages[stage] for stage in stages if stage not in filled}}

    @model_validator(mode="after")
    def _possible(self) -> "Site":
        for stage, needs in self.stages.items():
            if stage not in TRAININGS and needs.gpus > (most := MOST_GPUS.get(stage, 0)):
                raise ValueError(
                    f"stages.{stage}.gpus is {needs.gpus}, and {stage} uses at most {most}; only "
                    f"{' and '.join(TRAININGS)} run on several"
                )
        return self

    @model_validator(mode="after")
    def _apart(self) -> "Site":
        paths = [secret.mount_path for secret in self.secrets if secret.mount_path]
        paths += [volume.mount_path for volume in self.volumes]
        for path in paths:
            if path in TAKEN or paths.count(path) > 1:
                raise ValueError(
                    f"mount_path {path} is there twice, or is none of yours: {', '.join(TAKEN)}; name another"
                )
        return self
