"""The graph: the six stages, joined as dvc.yaml joins them, with the shards of the first two spread over pods.

`tests/pipeline/test_graph.py` holds this file and dvc.yaml together, after loops and the tasks that control them are
left out.
"""

from typing import cast

from kfp import dsl, kubernetes
from kfp.dsl import Artifact
from kfp.dsl.base_component import BaseComponent

from pipeline import stages
from pipeline.site import CHECKPOINTS, STAGES, TRAININGS, Accelerator, Needs, Site

__all__ = ["CHECKPOINTS", "STAGES", "Site", "pipeline"]


def pipeline(site: Site) -> BaseComponent:
    """The whole graph for one cluster; its arguments are the data set's address and the six sections of settings.

    `revision` says which state of the data set is at the address: with another one, nothing that was made of the last
    comes from the cache. `checkpoints` is the same for every run: a stage has a place in it for each work it is asked
    to do, so that runs do not meet there unless they do the same; name a folder below to keep one apart even so.
    """

    @dsl.pipeline(name="inverseform", description="From images and label maps to an ONNX file without boundary head")
    def inverseform(
        raw: str,
        ingest_params: str,
        synthesize_params: str,
        train_inverse_params: str,
        train_segmentation_params: str,
        evaluate_params: str,
        export_params: str,
        revision: str = "",
        checkpoints: str = CHECKPOINTS,
    ) -> None:
        noted = stages.note(checkpoints=checkpoints, claim=site.claim)
        _place(noted, site, Needs(cpu="100m", memory="512Mi"))
        # What it says changes with the run, of which the cache knows nothing.
        noted.set_caching_options(False)
        with dsl.ExitHandler(noted, name="stages"):
            # Imported once per address and revision.
            found = dsl.importer(artifact_uri=raw, artifact_class=Artifact, metadata={"revision": revision})
            raw_data = found.set_display_name("raw").output
            given = {"params": ingest_params, "checkpoints": checkpoints, "revision": revision, "raw": raw_data}
            ingested = stages.ingest(**given)
            if site.ingest.pods > 1:
                with _each(site.ingest.pods, site.ingest.at_once) as number:
                    shard = stages.ingest_shard(**given, shard=number, of=site.ingest.pods)
                    _place_stage(shard, site, "ingest")
                ingested.after(shard)
            samples = ingested.outputs["samples"]
            given = {"params": synthesize_params, "checkpoints": checkpoints, "samples": samples}
            synthesized = stages.synthesize(**given)
            if site.synthesize.pods > 1:
                fitted = stages.synthesize_fit(**given)
                _place_stage(fitted, site, "synthesize")
                with _each(site.synthesize.pods, site.synthesize.at_once) as number:
                    shard = stages.synthesize_shard(**given, shard=number, of=site.synthesize.pods).after(fitted)
                    _place_stage(shard, site, "synthesize")
                synthesized.after(shard)
            inverse = stages.train_inverse(
                params=train_inverse_params, checkpoints=checkpoints, pairs=synthesized.outputs["pairs"]
            )
            trained = stages.train_segmentation(
                params=train_segmentation_params,
                checkpoints=checkpoints,
                samples=samples,
                inverse_net=inverse.outputs["inverse_net"],
            )
            segmenter, curves = trained.outputs["segmenter"], trained.outputs["curves"]
            evaluated = stages.evaluate(params=evaluate_params, samples=samples, segmenter=segmenter, curves=curves)
            # A condition without an Else is skipped in silence by kfp's local runner.
            with dsl.If(evaluated.outputs["passed"] == True, name="passed"):  # noqa: E712 (a condition, not a truth value)
                gate = evaluated.outputs["gate"]
                exported = stages.export(params=export_params, samples=samples, segmenter=segmenter, gate=gate)
            with dsl.Else(name="not passed"):
                # The figures stand among the inputs of the task, where one looks for why.
                skipped = stages.skip_export(miou=evaluated.outputs["miou"], mba=evaluated.outputs["mba"])
                _place(skipped, site, Needs(cpu="100m", memory="64Mi"))
        # After the wiring, so that this reads as the graph alone.
        for task in (ingested, synthesized, inverse, trained, evaluated, exported):
            # kfp writes the names of tasks with hyphens.
            _place_stage(task, site, task.name.replace("-", "_"))

    return cast(BaseComponent, inverseform)


def _each(pods: int, at_once: int) -> dsl.ParallelFor:
    """A loop over the parts of a stage's shards.

    Some backends do not try a task of a loop again, whatever is asked for. A part that fails ends the run there, and
    what it had made stays: the next run goes on from it, and a stage makes all shards that it does not find.
    """
    return dsl.ParallelFor(list(range(pods)), parallelism=min(pods, at_once))


def _place_stage(task: dsl.PipelineTask, site: Site, stage: str) -> None:
    """Give a stage, or a part of it, its share of a machine and, where it keeps checkpoints, their volume."""
    needs = site.needs(stage)
    _place(task, site, needs, image=None if stage in STAGES[:2] else site.large_image)
    if stage in (*STAGES[:2], *TRAININGS):
        kubernetes.mount_pvc(task, pvc_name=site.claim, mount_path=CHECKPOINTS)
    if needs.shared_memory:
        kubernetes.empty_dir_mount(
            task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit=needs.shared_memory
        )
    if needs.gpus > 1 and (container := task.container_spec):
        # A process for each GPU; kfp sets the image of a task, but has no function for its command.
        torchrun = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(needs.gpus)]
        container.command = [*torchrun, *(container.command or [])[1:]]


def _place(task: dsl.PipelineTask, site: Site, needs: Needs, *, image: str | None = None) -> None:
    """Give a task its image, the small one by default, its share of a machine, retries, and what the site has."""
    task.set_container_image(image or site.small_image)
    task.set_cpu_request(needs.cpu).set_memory_request(needs.memory)
    # Kubeflow hands the last of these to Argo, where it ends all retries so long after the first try began: with less
    # than a training may take, one that fails late would not be tried again. No wait has an upper limit there, so that
    # many retries are spaced evenly, where a few wait twice as long each time.
    factor = 2 if needs.retries <= 5 else 1
    task.set_retry(needs.retries, backoff_duration="60s", backoff_factor=factor, backoff_max_duration="30d")
    accelerator = site.accelerator if needs.gpus else Accelerator()
    if needs.gpus:
        task.set_accelerator_type(accelerator.resource).set_accelerator_limit(needs.gpus)
    for key, value in (site.node_selector | accelerator.node_selector).items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in (*site.tolerations, *accelerator.tolerations):
        kubernetes.add_toleration(task, **toleration.model_dump(exclude_none=True))
    for secret in site.secrets:
        if secret.mount_path:
            kubernetes.use_secret_as_volume(task, secret.name, secret.mount_path)
        else:
            kubernetes.use_secret_as_env(task, secret.name, secret.env)
    for volume in site.volumes:
        kubernetes.mount_pvc(task, pvc_name=volume.claim, mount_path=volume.mount_path)
    if site.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(site.image_pull_secrets))
