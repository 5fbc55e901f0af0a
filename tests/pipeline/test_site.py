"""What a cluster may be like."""

import pytest
from pydantic import ValidationError

from pipeline.site import NEEDS, STAGES, Site


def test_every_stage_has_its_needs_in_the_order_of_the_stages():
    assert tuple(NEEDS) == STAGES == tuple(Site().stages)


@pytest.mark.parametrize(
    "image",
    ["a/b:1.0.0", "host:5000/a/b:dev", f"a/b@sha256:{'0' * 64}", f"host:5000/a/b:1@sha256:{'a' * 64}", "a/b:9f3c2d1"],
)
def test_an_image_with_a_digest_or_a_tag_is_taken(image):
    assert Site(small_image=image).small_image == image


@pytest.mark.parametrize("image", ["a/b", "a/b:latest", "host:5000/a/b"])
def test_an_image_that_changes_under_its_name_is_refused(image):
    with pytest.raises(ValidationError, match=f"the image {image} has neither .* write .*@sha256:... or a tag"):
        Site(large_image=image)


@pytest.mark.parametrize("image", ["a/b@sha256:12", "a b:1", "a/b:1\n", "A/B:1.0.0", ":1.0.0", "a/b:$(id)", "a//b;c:1"])
def test_what_is_no_name_of_an_image_is_refused(image):
    with pytest.raises(ValidationError, match=r"is no name of an image; write it like quay\.io/me/small:0\.1\.0"):
        Site(large_image=image)


@pytest.mark.parametrize("path", ["/", "/a/", "a", "/a b", "/a:ro", "//a"])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(ValidationError, match="not as Kubernetes takes it; write it like /camvid"):
        Site.model_validate({"volumes": [{"claim": "a", "mount_path": path}]})


def test_a_site_does_not_change_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        Site().claim = "other"
