"""The graph: six container components, one a stage, and the pipeline that joins them.

Every component runs `python -m components.<stage>` and hands it the executor input, one JSON with all that Kubeflow
knows about the task; `components.stage` reads paths and settings from it. Function, module, section of params.yaml
and stage of dvc.yaml share one name, and `tests/pipeline/test_graph.py` holds this file and dvc.yaml together.

Settings travel as one string of JSON a stage. Kubeflow would turn the whole numbers of a dict into floats, and its
cache then takes note of the stage's own settings only, as DVC's does.
"""

from dataclasses import dataclass
from typing import NamedTuple, cast

from kfp import dsl, kubernetes
from kfp.dsl import HTML, Artifact, Dataset, Input, Markdown, Metrics, Model, Output
from kfp.dsl.base_component import BaseComponent

STAGES = ("ingest", "synthesize", "train_inverse", "train_segmentation", "evaluate", "export")
"""Names of the stages, in the order in which they run."""


@dataclass(frozen=True)
class Site:
    """What differs from cluster to cluster; fixed when the graph is compiled."""

    small_image: str = "localhost/inverseform/small:0.1.0"
    """Image of the stages that need torch and the data libraries alone."""
    large_image: str = "localhost/inverseform/large:0.1.0"
    """Image of the stages that build a network."""
    claim: str = "inverseform-checkpoints"
    """PersistentVolumeClaim for checkpoints: Kubeflow keeps nothing of a pod that failed, a retry resumes from here."""
    gpu_stages: tuple[str, ...] = ("train_inverse", "train_segmentation")
    """Stages that ask for a GPU; `evaluate` uses one as well if it gets one."""


class Needs(NamedTuple):
    """What a stage asks of the cluster."""

    image: str
    cpu: str
    memory: str
    retries: int


NEEDS = {
    "ingest": Needs("small", cpu="4", memory="8Gi", retries=1),
    "synthesize": Needs("small", cpu="4", memory="8Gi", retries=1),
    "train_inverse": Needs("large", cpu="4", memory="16Gi", retries=3),
    "train_segmentation": Needs("large", cpu="8", memory="32Gi", retries=3),
    "evaluate": Needs("large", cpu="4", memory="16Gi", retries=1),
    "export": Needs("large", cpu="2", memory="8Gi", retries=1),
}
"""By stage. The trainings are retried more often, as they resume and may run on machines that are taken away."""


def _stage(name: str) -> dsl.ContainerSpec:
    """The container of a stage; `pipeline` puts the image of its site in."""
    return dsl.ContainerSpec(
        image=Site.small_image if NEEDS[name].image == "small" else Site.large_image,
        command=[
            "python",
            "-m",
            f"components.{name}",
            "--executor-input",
            dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
        ],
    )


@dsl.container_component
def ingest(params: str, checkpoints: str, raw: Input[Artifact], samples: Output[Dataset]) -> dsl.ContainerSpec:
    """A data set to samples: images, labels and boundary maps."""
    return _stage("ingest")


@dsl.container_component
def synthesize(params: str, samples: Input[Dataset], pairs: Output[Dataset]) -> dsl.ContainerSpec:
    """Samples to pairs of boundary tiles and the transform between them."""
    return _stage("synthesize")


@dsl.container_component
def train_inverse(
    params: str,
    checkpoints: str,
    pairs: Input[Dataset],
    inverse_net: Output[Model],
    metrics: Output[Metrics],
    curves: Output[Artifact],
    report: Output[HTML],
) -> dsl.ContainerSpec:
    """Pairs to the inverse network, which tells the transform between two boundary maps, and a report on it."""
    return _stage("train_inverse")


@dsl.container_component
def train_segmentation(
    params: str,
    checkpoints: str,
    samples: Input[Dataset],
    inverse_net: Input[Model],
    segmenter: Output[Model],
    metrics: Output[Metrics],
    curves: Output[Artifact],
) -> dsl.ContainerSpec:
    """Samples and the frozen inverse network to the segmentation network."""
    return _stage("train_segmentation")


@dsl.container_component
def evaluate(
    params: str,
    samples: Input[Dataset],
    segmenter: Input[Model],
    curves: Input[Artifact],
    metrics: Output[Metrics],
    gate: Output[Artifact],
    images: Output[Dataset],
    plots: Output[Artifact],
    report: Output[HTML],
    passed: dsl.OutputPath(bool),  # pyright: ignore[reportInvalidTypeForm] (how kfp spells an output parameter)
) -> dsl.ContainerSpec:
    """The network on held-out samples: metrics, the gate, counts of each image, plots and the report."""
    return _stage("evaluate")


@dsl.container_component
def export(
    params: str,
    samples: Input[Dataset],
    segmenter: Input[Model],
    gate: Input[Artifact],
    onnx: Output[Artifact],
    agreement: Output[Artifact],
    card: Output[Markdown],
) -> dsl.ContainerSpec:
    """The network without its boundary head as one ONNX file, compared with torch."""
    return _stage("export")


@dsl.container_component
def skip_export() -> dsl.ContainerSpec:
    """Say that nothing was exported, and where to read why."""
    words = "export skipped: the network did not pass the gate of evaluate; see gate.json and the report"
    return dsl.ContainerSpec(image=Site.small_image, command=["python", "-c", f"print({words!r})"])


def pipeline(site: Site) -> BaseComponent:
    """The whole graph for one cluster; its arguments are the data set's address and the six sections of settings."""

    @dsl.pipeline(name="inverseform", description="From images and label maps to an ONNX file without boundary head")
    def inverseform(
        raw: str,
        ingest_params: str,
        synthesize_params: str,
        train_inverse_params: str,
        train_segmentation_params: str,
        evaluate_params: str,
        export_params: str,
    ) -> None:
        # Imported once per address: other data needs another address, or the cache gives what came of the old.
        found = dsl.importer(artifact_uri=raw, artifact_class=Artifact).set_display_name("raw")
        ingested = ingest(params=ingest_params, checkpoints="/checkpoints/ingest", raw=found.output)
        samples = ingested.outputs["samples"]
        synthesized = synthesize(params=synthesize_params, samples=samples)
        inverse = train_inverse(
            params=train_inverse_params, checkpoints="/checkpoints/train_inverse", pairs=synthesized.outputs["pairs"]
        )
        trained = train_segmentation(
            params=train_segmentation_params,
            checkpoints="/checkpoints/train_segmentation",
            samples=samples,
            inverse_net=inverse.outputs["inverse_net"],
        )
        segmenter, curves = trained.outputs["segmenter"], trained.outputs["curves"]
        evaluated = evaluate(params=evaluate_params, samples=samples, segmenter=segmenter, curves=curves)
        # A condition without an Else is skipped in silence by kfp's local runner.
        with dsl.If(evaluated.outputs["passed"] == True, name="passed"):  # noqa: E712 (a condition, not a truth value)
            gate = evaluated.outputs["gate"]
            exported = export(params=export_params, samples=samples, segmenter=segmenter, gate=gate)
        with dsl.Else(name="not passed"):
            skip_export().set_container_image(site.small_image)
        # After the wiring, so that this reads as the graph alone.
        for task in (ingested, synthesized, inverse, trained, evaluated, exported):
            _place(task, site)

    return cast(BaseComponent, inverseform)


def _place(task: dsl.PipelineTask, site: Site) -> None:
    """Give a task its image, its share of a machine, retries and, for a training, its volumes."""
    # kfp writes the names of tasks with hyphens.
    stage = task.name.replace("-", "_")
    # Requests without limits: a stage may use what is idle, and is not killed for a peak of memory.
    needs = NEEDS[stage]
    task.set_container_image(site.small_image if needs.image == "small" else site.large_image)
    task.set_cpu_request(needs.cpu).set_memory_request(needs.memory)
    task.set_retry(num_retries=needs.retries, backoff_duration="60s", backoff_max_duration="600s")
    if stage in site.gpu_stages:
        task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)
    if stage == "ingest" or stage.startswith("train_"):
        kubernetes.mount_pvc(task, pvc_name=site.claim, mount_path="/checkpoints")
    if stage.startswith("train_"):
        # torch's processes hand tensors over in shared memory, of which a pod has 64 MB by default.
        kubernetes.empty_dir_mount(task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="8Gi")
