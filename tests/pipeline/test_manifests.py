"""The manifests are what Kubernetes takes: held against the schemas of its API, strictly."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from pipeline.graph import CHECKPOINTS
from pipeline.site import Site
from pipeline.train_job import DATA

MANIFESTS = Path(__file__).resolve().parents[2] / "pipeline" / "manifests"
DOCUMENTS = [
    (f"{path.name} {document['kind']} {document['metadata']['name']}", document)
    for path in sorted(MANIFESTS.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]
# The oldest minor version that Kubeflow Pipelines 2.17 names, and the newest that the package has.
VERSIONS = ["1.32", kubernetes_validate.latest_version()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("document", [document for _, document in DOCUMENTS], ids=[name for name, _ in DOCUMENTS])
def test_a_manifest_is_what_kubernetes_takes(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def test_a_field_that_kubernetes_has_not_would_be_seen():
    claim = {**DOCUMENTS[0][1], "spec": {**DOCUMENTS[0][1]["spec"], "size": "1Gi"}}
    with pytest.raises(kubernetes_validate.ValidationError, match="size"):
        kubernetes_validate.validate(claim, VERSIONS[-1], strict=True)


def test_the_claims_are_those_that_the_graph_and_the_training_mount():
    claims = {d["metadata"]["name"] for _, d in DOCUMENTS if d["kind"] == "PersistentVolumeClaim"}
    assert claims == {Site().claim, "inverseform-data"}
    (job,) = (d["spec"]["template"]["spec"] for _, d in DOCUMENTS if d["kind"] == "Job")
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in job["volumes"]} == claims
    (container,) = job["containers"]
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [CHECKPOINTS, DATA]
    assert container["image"] == Site().small_image
    # The user of the images.
    assert container["command"] == ["chown", "10001:10001", CHECKPOINTS, DATA]
