import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline import InputError
from pipeline.site import NEEDS, STAGES, Site, load_profile

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


def test_every_stage_has_its_needs_in_the_order_of_the_stages():
    assert tuple(NEEDS) == STAGES == tuple(Site().stages)


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
        ("stages: {evaluate: {memory: 32GB}}", "stages.evaluate.memory: String should match pattern"),
        ("ingest: {pods: 0}", "ingest.pods: Input should be greater than or equal to 1 (it is 0)"),
        ("ingest: {pod: 2}", "ingest.pod is not a setting; did you mean pods?"),
        ("tolerations: [{key: a, efect: NoSchedule}]", "tolerations.0.efect is not a setting; did you mean effect?"),
        ("accelerator: {tolerations: [{ky: a}]}", "accelerator.tolerations.0.ky is not a setting; did you mean key?"),
        ("secrets: [{name: a}]", "the secret a needs either env or mount_path, and not both"),
        ("secrets: [{name: a, env: {k: V}, mount_path: /a}]", "the secret a needs either env or mount_path"),
        ("volumes: [{claim: a, mount_path: data}]", "volumes.0.mount_path: String should match pattern '^/'"),
        ("claim: My_Claim", "claim: String should match pattern"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_value(tmp_path, text, message):
    found = refusal(tmp_path, text)
    assert found.startswith(f"{tmp_path}/mine.yaml is not a profile:\n- ") and message in found


@pytest.mark.parametrize(("text", "message"), [("[", "is not YAML"), ("- a", "holds no fields"), ("", "no fields")])
def test_another_file_is_refused(tmp_path, text, message):
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "image",
    ["a/b:1.0.0", "host:5000/a/b:dev", f"a/b@sha256:{'0' * 64}", f"host:5000/a/b:1@sha256:{'a' * 64}", "a/b:9f3c2d1"],
)
def test_an_image_with_a_digest_or_a_tag_is_taken(image):
    assert Site(small_image=image).small_image == image


@pytest.mark.parametrize("image", ["a/b", "a/b:latest", "host:5000/a/b", "a/b@sha256:12"])
def test_an_image_that_changes_under_its_name_is_refused(tmp_path, image):
    message = refusal(tmp_path, "claim: c", large_image=image)
    assert (
        f"the image {image} has neither a digest nor a tag of its own" in message and "@sha256:... or a tag" in message
    )


def test_a_site_does_not_change_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Site().claim = "other"


def test_what_a_profile_says_of_each_field_is_true_of_what_it_names():
    """A comment of a profile names a manifest or a command: both are there."""
    for path in PROFILES:
        for named in re.findall(r"pipeline/[\w/]+\.yaml", path.read_text()):
            assert (ROOT / named).is_file(), f"{path}: {named}"
