"""The container components of the graph: one a stage, its parts for several pods, and the note at the end.

Every component runs `python -m components.<stage>` and hands it the executor input, one JSON with all that Kubeflow
knows about the task; `components.stage` reads paths, folders, numbers and settings from it by one rule. A function
that is named for a stage is that stage: its module, section of params.yaml and stage of dvc.yaml have the same name.

Settings travel as one string of JSON a stage. Kubeflow would turn the whole numbers of a dict into floats, and its
cache then takes note of the stage's own settings only, as DVC's does.
"""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output

from pipeline.site import Site

SITE = Site()


def _stage(name: str, part: str | None = None) -> dsl.ContainerSpec:
    """The container of a stage, or of a part of it; `pipeline` puts the image of its site in."""
    word = [f"--{part}"] if part else []
    small = name in ("ingest", "synthesize", "note")
    return dsl.ContainerSpec(
        image=SITE.small_image if small else SITE.large_image,
        command=[
            "python",
            "-m",
            f"components.{name}",
            *word,
            "--executor-input",
            dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER,
        ],
    )


@dsl.container_component
def ingest(
    params: str, checkpoints: str, revision: str, raw: Input[Artifact], samples: Output[Dataset]
) -> dsl.ContainerSpec:
    """A data set to samples: images, labels and boundary maps."""
    # The stage does not read the revision: it is there for the cache, and names the place of the checkpoints.
    return _stage("ingest")


@dsl.container_component
def ingest_shard(
    params: str, checkpoints: str, revision: str, shard: int, of: int, raw: Input[Artifact]
) -> dsl.ContainerSpec:
    """Each `of`-th shard of samples, into the checkpoints, where `ingest` finds it."""
    return _stage("ingest", "shard")


@dsl.container_component
def synthesize(params: str, checkpoints: str, samples: Input[Dataset], pairs: Output[Dataset]) -> dsl.ContainerSpec:
    """Samples to pairs of boundary tiles and the transform between them."""
    return _stage("synthesize")


@dsl.container_component
def synthesize_fit(params: str, checkpoints: str, samples: Input[Dataset]) -> dsl.ContainerSpec:
    """The localiser that all shards draw transforms from, into the checkpoints; nothing where they are random."""
    return _stage("synthesize", "fit")


@dsl.container_component
def synthesize_shard(params: str, checkpoints: str, shard: int, of: int, samples: Input[Dataset]) -> dsl.ContainerSpec:
    """Each `of`-th shard of pairs, into the checkpoints, where `synthesize` finds it."""
    return _stage("synthesize", "shard")


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
    confusion: Output[ClassificationMetrics],
    gate: Output[Artifact],
    images: Output[Dataset],
    plots: Output[Artifact],
    report: Output[HTML],
    passed: dsl.OutputPath(bool),  # pyright: ignore[reportInvalidTypeForm] (how kfp spells an output parameter)
    miou: dsl.OutputPath(float),  # pyright: ignore[reportInvalidTypeForm]
    mba: dsl.OutputPath(float),  # pyright: ignore[reportInvalidTypeForm]
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
def skip_export(miou: float, mba: float) -> dsl.ContainerSpec:
    """Say that nothing was exported, and where to read why."""
    words = "export skipped: the network did not pass the gate of evaluate; see gate.json and the report"
    return dsl.ContainerSpec(image=SITE.small_image, command=["python", "-c", f"print({words!r})"])


@dsl.container_component
def note(
    checkpoints: str, claim: str, status: dsl.PipelineTaskFinalStatus, note: Output[Markdown]
) -> dsl.ContainerSpec:
    """How the run ended, what failed, and where the checkpoints of what did not finish lie."""
    return _stage("note")
