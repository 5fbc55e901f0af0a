"""What a profile may say, and how what it may not is told."""

import re
from pathlib import Path

import pytest

from pipeline import InputError
from pipeline.profile import load_profile
from pipeline.site import STAGES, Site

ROOT = Path(__file__).resolve().parents[2]
PROFILES = sorted((ROOT / "pipeline" / "profiles").glob("*.yaml"))


def profile(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path, text, **changes):
    with pytest.raises(InputError) as caught:
        load_profile(profile(tmp_path, text), **changes)
    return str(caught.value)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_profiles_that_come_with_the_project_are_profiles(path):
    site = load_profile(path)
    assert tuple(site.stages) == STAGES
    assert path.read_text().startswith("# ")


def test_the_four_kinds_of_cluster_have_a_profile_each():
    gpus = {path.stem: [needs.gpus for needs in load_profile(path).stages.values()] for path in PROFILES}
    assert gpus == {"cpu": [0] * 6, "gpu": [0, 0, 1, 1, 1, 0], "gpus": [0, 0, 2, 8, 1, 0], "spot": [0, 0, 1, 1, 1, 0]}


def test_what_a_profile_does_not_name_has_its_default(tmp_path):
    site = load_profile(profile(tmp_path, "stages: {train_inverse: {gpus: 3}}"))
    assert site.needs("train_inverse") == Site().needs("train_inverse").model_copy(update={"gpus": 3})
    assert site == Site(stages=site.stages)


def test_a_flag_goes_before_the_profile(tmp_path):
    path = profile(tmp_path, "claim: theirs\nsmall_image: a:1.0.0")
    site = load_profile(path, claim="mine", small_image=None, large_image="b:2.0.0")
    assert (site.claim, site.small_image, site.large_image) == ("mine", "a:1.0.0", "b:2.0.0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clam: x", "clam is not a setting; did you mean claim?"),
        ("stages: {evaluate: {gpu: 1}}", "stages.evaluate.gpu is not a setting; did you mean gpus?"),
        ("stages: {train: {gpus: 1}}", "stages.train is not a stage; did you mean train_inverse?"),
        ("stages: {evaluate: {gpus: two}}", "stages.evaluate.gpus: Input should be a valid integer (it is 'two')"),
        ("stages: {evaluate: {gpus: 2}}", "stages.evaluate.gpus is 2, and evaluate uses at most 1; only train_inverse"),
        ("stages: {ingest: {gpus: 1}}", "stages.ingest.gpus is 1, and ingest uses at most 0"),
        (
            "stages: {evaluate: {memory: 32GB}}",
            "stages.evaluate.memory: not as Kubernetes takes it; write it like 512Mi or 16Gi (it is '32GB')",
        ),
        ("ingest: {pods: 0}", "ingest.pods: Input should be greater than or equal to 1 (it is 0)"),
        ("ingest: {pod: 2}", "ingest.pod is not a setting; did you mean pods?"),
        ("tolerations: [{key: a, efect: NoSchedule}]", "tolerations.0.efect is not a setting; did you mean effect?"),
        ("accelerator: {tolerations: [{ky: a}]}", "accelerator.tolerations.0.ky is not a setting; did you mean key?"),
        ("secrets: [{name: a}]", "the secret a needs either env or mount_path, and not both"),
        ("secrets: [{name: a, env: {k: V}, mount_path: /a}]", "the secret a needs either env or mount_path"),
        (
            "volumes: [{claim: a, mount_path: data}]",
            "volumes.0.mount_path: not as Kubernetes takes it; write it like /camvid (it is 'data')",
        ),
        ("stages: {export: {memory: 1.5Gi}}", "stages.export.memory: not as Kubernetes takes it"),
        ("stages: {export: {cpu: 4Gi}}", "stages.export.cpu: not as Kubernetes takes it; write it like 500m or 4"),
        ("stages: {train_inverse: {retries: 30000000000}}", "stages.train_inverse.retries: Input should be less than"),
        ("ingest: {pods: 5000000000}", "ingest.pods: Input should be less than or equal to 1000 (it is 5000000000)"),
        ("node_selector: {a b: c}", "node_selector.a b: not as Kubernetes takes it; write it like nvidia.com/gpu.prod"),
        (
            "accelerator: {resource: gpu}",
            "accelerator.resource: not as Kubernetes takes it; write it like nvidia.com/gpu",
        ),
        ("secrets: [{name: a, env: {k: A B}}]", "secrets.0.env.k: not as Kubernetes takes it; write it like AWS_ACC"),
        ("tolerations: [{key: a, operator: Exists, value: b}]", "the toleration of a has a value, which Exists takes"),
        ("small_image: a b:1.0.0", "'a b:1.0.0' is no name of an image; write it like quay.io/me/small:0.1.0"),
        ("volumes: [{claim: a, mount_path: /checkpoints}]", "mount_path /checkpoints is there twice, or is none of"),
        ("volumes: [{claim: a, mount_path: /a}, {claim: b, mount_path: /a}]", "mount_path /a is there twice"),
        ("claim: My_Claim", "claim: not as Kubernetes takes it; write it like inverseform-checkpoints"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_value(tmp_path, text, message):
    found = refusal(tmp_path, text)
    assert found.startswith(f"{tmp_path}/mine.yaml is not a profile:\n- ") and message in found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not YAML"),
        ("claim: a\nclaim: b", "claim is there twice"),
        ("- a", "holds no fields"),
        ("", "no fields"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("small_image", "a/b", "--small-image a/b: the image a/b has neither a digest nor a tag of its own"),
        ("claim", "My_Claim", "--claim My_Claim: not as Kubernetes takes it; write it like inverseform-checkpoints"),
    ],
)
def test_a_wrong_flag_is_not_put_down_to_the_profile(tmp_path, flag, value, message):
    assert refusal(tmp_path, "claim: c", **{flag: value}).startswith(message)


def test_what_a_profile_says_of_each_field_is_true_of_what_it_names():
    """A comment of a profile names a manifest or a command: both are there."""
    for path in PROFILES:
        for named in re.findall(r"pipeline/[\w/]+\.yaml", path.read_text()):
            assert (ROOT / named).is_file(), f"{path}: {named}"
