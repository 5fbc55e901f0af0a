"""What differs from cluster to cluster: images, volumes, machines. Read from a profile, and fixed when compiled.

A profile is a YAML file with the fields of `Site`; pipeline/profiles holds some to begin from. What it does not name
has its default, and what it names wrongly is refused.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline import InputError, nearest

STAGES = ("ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export")
"""Names of the stages, in the order in which they run."""
TRAININGS = ("train_inverse", "train_segmentation")
"""Stages that resume from a step and run on several GPUs at a time."""
CHECKPOINTS = "/checkpoints"
"""Where the claim for checkpoints is mounted; an argument of the pipeline may name a folder below it."""
MOST_GPUS = {"evaluate": 1, "export": 1}
"""GPUs that the others can use; none where there is none here."""

Stage = Literal["ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export"]


def _pinned(image: str) -> str:
    # The last colon may also stand before a port.
    tag = re.search(r"^[^@]+:([^/:@]+)$", image)
    if not re.search(r"@sha256:[0-9a-f]{64}$", image) and (tag is None or tag[1] == "latest"):
        raise ValueError(
            f"the image {image} has neither a digest nor a tag of its own, and Kubeflow's cache goes by the name: "
            f"write {image.removesuffix(':latest')}@sha256:... or a tag that is never used again, such as :0.1.0"
        )
    return image


Image = Annotated[str, AfterValidator(_pinned)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|[KMGTPE]i?)?$")]
"""As Kubernetes writes it: 500m, 4, 16Gi."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""Of something in Kubernetes."""


class Fields(BaseModel):
    """Fields of a profile: none is unknown, none is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Toleration(Fields):
    """Lets pods onto nodes that keep others away."""

    key: str
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"] | None = None


class Secret(Fields):
    """A Kubernetes Secret in every stage: its keys as environment variables, or all of it as files."""

    name: Name
    env: dict[str, str] = {}
    """Environment variable by key of the secret."""
    mount_path: str | None = Field(default=None, pattern="^/")

    @model_validator(mode="after")
    def _one_way(self) -> "Secret":
        if bool(self.env) == bool(self.mount_path):
            raise ValueError(f"the secret {self.name} needs either env or mount_path, and not both")
        return self


class Volume(Fields):
    """A PersistentVolumeClaim in every stage, with the data set on it, say."""

    claim: Name
    mount_path: str = Field(pattern="^/")


class Accelerator(Fields):
    """What a GPU is called, and where such nodes are."""

    resource: str = "nvidia.com/gpu"
    node_selector: dict[str, str] = {}
    """Labels of the nodes, by which a type of GPU is chosen."""
    tolerations: tuple[Toleration, ...] = Field(default=(), strict=False)


class Needs(Fields):
    """What a stage asks of the cluster; requests without limits, so that it may use what is idle."""

    cpu: Quantity
    memory: Quantity
    gpus: int = Field(default=0, ge=0)
    retries: int = Field(default=2, ge=0)
    """How often it is tried again: up to 5 times after 1, 2, 4, 8 and 16 minutes, more often after a minute each."""
    shared_memory: Quantity | None = None
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

    pods: int = Field(default=4, ge=1)
    """1: the stage makes all of them itself."""
    at_once: int = Field(default=4, ge=1)


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
    node_selector: dict[str, str] = {}
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


def load_profile(profile: Path, **changes: str | None) -> Site:
    """The site of a profile, with some of its fields replaced, those that are not None.

    Raises:
        InputError: It is no profile; the message names each field that is wrong.
    """
    try:
        document = yaml.safe_load(profile.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{profile} is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{profile} holds no fields; begin from one of pipeline/profiles")
    try:
        return Site.model_validate(document | {name: value for name, value in changes.items() if value is not None})
    except ValidationError as error:
        lines = "".join(f"\n- {_told(one)}" for one in error.errors())
        raise InputError(f"{profile} is not a profile:{lines}") from None


def _told(error: Any) -> str:  # noqa: ANN401 (pydantic's)
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *outer, wrong = error["loc"]
        known = list(_fields(outer))
        return f"{place} is not a setting; " + (f"did you mean {nearest(str(wrong), known)}?" if known else "remove it")
    if error["type"] == "literal_error" and error["loc"][-1] == "[key]":
        return f"{place.removesuffix('.[key]')} is not a stage; did you mean {nearest(str(error['input']), STAGES)}?"
    said = error["msg"].removeprefix("Value error, ")
    return f"{place}: {said} (it is {error['input']!r})" if place else said


def _fields(place: list[Any]) -> list[str]:
    """Names of the fields at a place of the profile."""
    # The innermost comes first: what holds it is named like fields that are elsewhere.
    kinds: dict[str, type[Fields]] = {
        "tolerations": Toleration,
        "stages": Needs,
        "secrets": Secret,
        "volumes": Volume,
        "accelerator": Accelerator,
        "ingest": FanOut,
        "synthesize": FanOut,
    }
    kind = next((kind for name, kind in kinds.items() if name in place), Site)
    return list(kind.model_fields)
