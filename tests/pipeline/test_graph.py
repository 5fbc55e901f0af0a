"""The graph is that of dvc.yaml, and its tasks are placed as the site says."""

import pytest
import yaml

from pipeline.graph import STAGES, Site
from pipeline.profile import load_profile
from tests.pipeline.compiled_graph import (
    CONTROL,
    PARTS,
    PROFILES,
    ROOT,
    SITE,
    compile_to,
    component,
    container,
    dags,
    dvc_edges,
    edges,
    groups_of,
    parameters,
    task_of,
    tasks,
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compile_to(tmp_path_factory.mktemp("graph"), Site(**SITE))


@pytest.fixture(scope="module")
def graph(compiled):
    return compiled[0]


@pytest.fixture(scope="module")
def stages() -> dict:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_the_tasks_are_the_stages_with_their_parts_and_what_belongs_to_the_engine(graph, stages):
    assert set(tasks(graph)) == {task_of(stage) for stage in stages} | set(PARTS) | CONTROL
    assert list(stages) == list(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_task_has_the_settings_that_dvc_watches(stage, graph, stages):
    assert parameters(graph, task_of(stage))["params"] == f"{stages[stage]['params'][0]}_params"
    assert stages[stage]["params"] == [stage]


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_come_from_where_they_come_from_in_dvc(stage, graph, stages):
    assert edges(graph, stage) == dvc_edges(stages, stage)


@pytest.mark.parametrize("stage", ["ingest", "synthesize"])
def test_shards_are_spread_over_pods_and_the_stage_waits_for_all(stage, graph):
    name = f"{stage}-shard"
    loop = groups_of(graph, name)[0]
    assert loop["parameterIterator"]["items"]["raw"] == "[0, 1, 2, 3]"
    assert loop["iteratorPolicy"]["parallelismLimit"] == 4
    given = parameters(graph, name)
    assert given["shard"] == loop["parameterIterator"]
    assert given["of"] == {"runtimeValue": {"constant": 4.0}}
    group, whole = tasks(graph)[stage]
    (waited,) = [n for n in whole["dependentTasks"] if dags(graph)[group]["tasks"][n] is loop]
    if stage == "synthesize":
        assert "synthesize-fit" in dags(graph)[group]["tasks"][waited]["dependentTasks"]


def test_with_one_pod_a_stage_makes_all_shards_itself(tmp_path):
    graph, _ = compile_to(tmp_path, load_profile(PROFILES["cpu"]))
    assert set(tasks(graph)) == {task_of(stage) for stage in STAGES} | CONTROL


def test_export_runs_if_the_gate_was_passed_and_says_so_otherwise(graph):
    groups = {task["componentRef"]["name"]: task for dag in dags(graph).values() for task in dag["tasks"].values()}
    export, skipped = (groups[tasks(graph)[name][0]] for name in ("export", "skip-export"))
    condition = export["triggerPolicy"]["condition"]
    assert condition == "inputs.parameter_values['pipelinechannel--evaluate-passed'] == true"
    assert skipped["triggerPolicy"]["condition"] == f"!({condition})"
    told = component(graph, "evaluate")["outputDefinitions"]["parameters"]
    assert {name: declared["parameterType"] for name, declared in told.items()} == {
        "passed": "BOOLEAN", "miou": "NUMBER_DOUBLE", "mba": "NUMBER_DOUBLE"
    }  # fmt: skip
    assert set(parameters(graph, "skip-export")) == {"miou", "mba"}
    assert "export skipped" in container(graph, "skip-export")["command"][-1]


def test_the_data_set_is_imported_once_for_each_address_and_revision(graph):
    given = parameters(graph, "importer")
    assert given == {"uri": "raw", "metadata": "revision"}
    importer = graph["deploymentSpec"]["executors"]["exec-importer"]["importer"]
    assert importer["metadata"] == {"revision": "{{$.inputs.parameters['metadata']}}"}
    assert not importer.get("reimport")


@pytest.mark.parametrize("task", ["ingest", "ingest-shard"])
def test_another_revision_of_the_data_set_is_no_hit_in_the_cache(task, graph):
    assert parameters(graph, task)["revision"] == "revision"


def test_all_runs_share_the_folder_of_checkpoints_or_the_cache_would_miss(graph):
    kept = [
        name for name in tasks(graph) if "checkpoints" in tasks(graph)[name][1].get("inputs", {}).get("parameters", {})
    ]
    assert len(kept) == 4 + len(PARTS) + 1
    assert all(parameters(graph, name)["checkpoints"] == "checkpoints" for name in kept)
    assert graph["root"]["inputDefinitions"]["parameters"]["checkpoints"]["defaultValue"] == "/checkpoints"


def test_the_sections_are_what_a_run_uses_unless_told_otherwise(graph):
    declared = graph["root"]["inputDefinitions"]["parameters"]
    assert set(declared) == {"raw", "revision", "checkpoints", *(f"{stage}_params" for stage in STAGES)}
    assert declared["export_params"] == {"parameterType": "STRING", "defaultValue": '{"seed": 1}'}
    assert declared["raw"] == {"parameterType": "STRING"}
    assert declared["revision"]["defaultValue"] == ""


def test_a_note_is_left_however_the_run_ends(graph):
    assert tasks(graph)["note"][0] == "root"
    task = graph["root"]["dag"]["tasks"]["note"]
    assert task["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"
    (handled,) = task["dependentTasks"]
    assert task["inputs"]["parameters"]["status"] == {"taskFinalStatus": {"producerTask": handled}}
    assert set(graph["root"]["dag"]["tasks"]) == {"note", handled}
    assert not task["cachingOptions"].get("enableCache")
    assert parameters(graph, "note")["claim"] == {"runtimeValue": {"constant": "disk"}}
    assert container(graph, "note")["command"] == ["python", "-m", "components.note", "--executor-input", "{{$}}"]


def test_the_trainings_have_a_gpu_and_shared_memory_and_who_keeps_checkpoints_the_volume(compiled):
    graph, platform = compiled
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == {f"exec-{task_of(stage)}" for stage in (*STAGES[:4], *PARTS)}
    for name, held in mounts.items():
        (claim,) = held["pvcMount"]
        assert claim["pvcNameParameter"]["runtimeValue"]["constant"] == "disk"
        assert claim["mountPath"] == "/checkpoints"
        assert ("emptyDirMounts" in held) == name.startswith("exec-train")
    for stage in ("train_inverse", "train_segmentation"):
        accelerator = container(graph, task_of(stage))["resources"]["accelerator"]
        assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
        (memory,) = mounts[f"exec-{task_of(stage)}"]["emptyDirMounts"]
        assert (memory["mountPath"], memory["medium"], memory["sizeLimit"]) == ("/dev/shm", "Memory", "8Gi")
    assert "accelerator" not in container(graph, "evaluate")["resources"]


def test_every_task_asks_for_its_share_and_is_tried_again_for_as_long_as_a_training_may_take(graph):
    for name in set(tasks(graph)) - {"importer"}:
        share = container(graph, name)["resources"]
        assert share["resourceCpuRequest"] and share["resourceMemoryRequest"][-2:] in ("Gi", "Mi")
        policy = tasks(graph)[name][1]["retryPolicy"]
        assert policy["maxRetryCount"] >= 2 and policy["backoffDuration"] == "60s" and policy["backoffFactor"] == 2
        # Argo counts it from the beginning of the first try.
        assert policy["backoffMaxDuration"] == f"{30 * 24 * 3600}s"
    assert tasks(graph)["train-segmentation"][1]["retryPolicy"]["maxRetryCount"] == 4


def test_many_retries_are_spaced_evenly(tmp_path):
    graph, _ = compile_to(tmp_path, load_profile(PROFILES["spot"]))
    policy = tasks(graph)["train-segmentation"][1]["retryPolicy"]
    assert (policy["maxRetryCount"], policy["backoffFactor"]) == (20, 1)


def test_several_gpus_are_a_process_each_and_one_graph_does_not_change_the_next(tmp_path):
    gpus, platform = compile_to(tmp_path, load_profile(PROFILES["gpus"]))
    assert container(gpus, "train-segmentation")["command"] == [
        "python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "8",
        "-m", "components.train_segmentation", "--executor-input", "{{$}}",
    ]  # fmt: skip
    assert container(gpus, "train-segmentation")["resources"]["accelerator"]["resourceCount"] == "8"
    held = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train-segmentation"]
    assert held["nodeSelector"]["labels"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert held["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    one, _ = compile_to(tmp_path, load_profile(PROFILES["gpu"]))
    assert container(one, "train-segmentation")["command"][:3] == ["python", "-m", "components.train_segmentation"]


def test_what_all_pods_of_a_site_have(tmp_path):
    site = {
        "node_selector": {"pool": "spot"},
        "tolerations": [{"key": "spot", "value": "true", "effect": "NoSchedule"}],
        "secrets": [{"name": "bucket", "env": {"key": "AWS_KEY"}}, {"name": "ca", "mount_path": "/ca"}],
        "volumes": [{"claim": "camvid", "mount_path": "/camvid"}],
        "image_pull_secrets": ["registry"],
    }
    graph, platform = compile_to(tmp_path, Site.model_validate(site))
    mounts = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(mounts) == {f"exec-{name}" for name in set(tasks(graph)) - {"importer"}}
    for held in mounts.values():
        assert held["nodeSelector"]["labels"] == {"pool": "spot"}
        assert held["tolerations"] == [{"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}]
        (env,), (files,) = held["secretAsEnv"], held["secretAsVolume"]
        assert (env["secretName"], env["keyToEnv"]) == ("bucket", [{"secretKey": "key", "envVar": "AWS_KEY"}])
        assert (files["secretName"], files["mountPath"]) == ("ca", "/ca")
        assert "/camvid" in [claim["mountPath"] for claim in held["pvcMount"]]
        assert held["imagePullSecret"][0]["secretName"] == "registry"


def test_evaluate_has_a_gpu_where_the_site_says_so(tmp_path):
    none = {stage: {"gpus": 0} for stage in ("train_inverse", "train_segmentation")}
    graph, _ = compile_to(tmp_path, Site.model_validate({"stages": {**none, "evaluate": {"gpus": 1}}}))
    wanting = [stage for stage in STAGES if "accelerator" in container(graph, task_of(stage))["resources"]]
    assert wanting == ["evaluate"]
