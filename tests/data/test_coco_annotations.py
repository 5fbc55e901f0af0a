import json
import re
import subprocess
import sys

import numpy as np
import pytest

from inverseform.data.coco_annotations import Annotation, Index, load, run_lengths
from inverseform.settings import InputError
from tests.data.miniatures import coco as miniature
from tests.drawn import ROOT


def drawn(segmentation):
    return Annotation(7, 1, False, segmentation)


def of(**lists):
    """A document of one image, in which some lists are others."""
    plain = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [], "categories": []}
    return json.dumps({**plain, **lists})


def region(top, bottom, left, right, height=20, width=30):
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_polygons_are_filled_between_their_corners_and_may_be_several():
    form = [[4.0, 2.0, 9.0, 2.0, 9.0, 7.0, 4.0, 7.0], [20, 10, 30, 10, 30, 20, 20, 20]]
    got = run_lengths(drawn(form), 20, 30, source="x")
    assert (got.mask() == (region(2, 7, 4, 9) | region(10, 20, 20, 30))).all() and got.area == 25 + 100


def test_a_slanted_polygon_covers_the_pixels_whose_centre_it_has():
    """By a slow rule for a triangle, up to the pixels that its sides run through."""
    got = run_lengths(drawn([[2.0, 1.0, 28.0, 1.0, 2.0, 19.0]]), 20, 30, source="x").mask()
    rows, columns = np.indices(got.shape) + 0.5
    depth = np.minimum.reduce([columns - 2, rows - 1, (1 - (columns - 2) / 26 - (rows - 1) / 18) * 14.8])
    assert got[depth > 0.8].all() and not got[depth < -0.8].any()


@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
@pytest.mark.parametrize("size", [(20, 30), (1, 1), (333, 257)])
def test_what_pycocotools_compresses_comes_back(size, share):
    truth = np.random.default_rng(size[0]).random(size) < share
    # Long runs, too, which take several characters.
    truth[:, size[1] // 3 :] = share > 0.1
    form = miniature.compressed(truth.astype(np.uint8))
    got = run_lengths(drawn(form), *size, source="x")
    assert (got.mask() == truth).all() and got.area == truth.sum()
    if form["counts"][:-1]:
        with pytest.raises(InputError, match="annotation 7 cannot be read"):
            run_lengths(drawn({**form, "counts": form["counts"][:-1]}), *size, source="x")


@pytest.mark.parametrize("form", [[], [[1, 1, 2, 2]], [[1.0, 1, 2]]])
def test_what_has_no_inside_covers_nothing(form):
    got = run_lengths(drawn(form), 20, 30, source="x")
    assert got.area == 0 and not got.mask().any()


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"size": [20, 31], "counts": [620]}, "it is 31x20 and the image 30x20"),
        ({"size": [20, 30], "counts": [3, 5]}, "its 2 runs add up to 8 and not to 20 x 30"),
        ({"size": [20, 30], "counts": [3, -5, 602]}, "its 3 runs add up to 600"),
        ({"size": [20, 30], "counts": []}, "its 0 runs"),
        ({"size": [20, 30], "counts": ""}, "cut short"),
        ({"size": [20, 30], "counts": "zzzz~~~~"}, "characters that are none of theirs"),
        ({"size": [20, 30], "counts": "o" * 9 + "0"}, "more than 40 bits"),
        ({"size": [20, 30]}, "counts"),
        (None, "not subscriptable"),
        ([["a"] * 6], "could not convert|must be real|list"),
        ([[[1, 1], [9, 1], [9, 9]]], "a polygon is one list of numbers x, y, x, y"),
        ([[1.0, 1.0], [9.0, 1.0], [9.0, 9.0]], "a polygon is one list of numbers"),
        ([[1, 1, 9, 1, 9, 9, 4]], "a polygon is one list of numbers"),
        ([[1, 1, 9, 1, 9, float("nan")]], "points far outside of 30x20 pixels, or nan"),
        ([[0, 0, 301, 0, 9, 9]], "points far outside of 30x20 pixels"),
    ],
)
def test_segmentations_that_cannot_be_read_are_refused_with_their_number(form, message):
    with pytest.raises(InputError, match=rf"x: the segmentation of annotation 7 cannot be read \(.*({message})"):
        run_lengths(drawn(form), 20, 30, source="x")


def test_the_index_has_what_belongs_to_each_image(tmp_path):
    miniature.draw(tmp_path)
    problems = []
    index = Index.read(tmp_path / "annotations" / "instances_train2017.json", problems)
    assert not problems
    assert index.categories == miniature.CATEGORIES and list(index.categories) == [1, 3, 18, 90]
    assert index.names == {9: "000000000009.jpg", 25: "000000000025.jpg"} and set(index.drawn) == {9}
    found = load(index.drawn[9], source="x")
    assert [each.category for each in found] == [1, 18, 1, 3]
    assert [each.crowd for each in found] == [True, False, False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing"),
        ("{", "is not JSON"),
        ("[]", "lacks one of the lists images, annotations, categories"),
        ('{"images": [], "annotations": []}', "lacks one of the lists"),
        ('{"images": [{"id": 3}], "annotations": [], "categories": []}', r"images\[0\] lacks one of id, file_name"),
        (
            '{"images": [], "annotations": [{"image_id": 4}], "categories": []}',
            "of the image 4, which it does not name",
        ),
        ("[" * 100_000, "is not JSON"),
        (of(images=[{"id": 1, "file_name": 3}]), r"images\[0\] lacks one of id, file_name, or has one of another type"),
        (of(images=[{"id": [1], "file_name": "a.jpg"}]), r"images\[0\] lacks one of .*another type"),
        (of(categories=[{"id": "1", "name": "car"}]), r"categories\[0\] lacks one of id, name, or has one of another"),
        (of(annotations=[{"image_id": {}}]), r"annotations\[0\] lacks one of image_id, or has one of another type"),
        (of(images=[{"id": 1, "file_name": "../a.jpg"}]), r"images\[0\] has the file_name '\.\./a\.jpg', which leads"),
        (of(images=[{"id": 1, "file_name": "/a.jpg"}]), r"images\[0\] has the file_name '/a\.jpg', which leads out"),
        (
            of(annotations=[{"image_id": 1, "file_name": "a/../../b.png"}]),
            r"annotations\[0\] has the file_name 'a/\.\./\.\./b\.png'",
        ),
        (of(annotations=[{"image_id": 1, "file_name": 3}]), r"annotations\[0\] has the file_name 3"),
        (of(annotations=[{"image_id": 1, "segments_info": [1]}]), "a segments_info that is no list of segments"),
        (of(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]), "images has the id 1 twice"),
        (of(images=[{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}]), "images has the file_name 'a' twice"),
        (
            of(categories=[{"id": 1, "name": "car"}, {"id": 1, "name": "dog"}]),
            "categories has the id 1 twice; take one",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path, text, message):
    path, problems = tmp_path / "a.json", []
    if text is not None:
        path.write_text(text)
    Index.read(path, problems)
    [problem] = problems
    assert problem.startswith(f"{path}: ")
    assert re.search(message, problem)


def test_an_annotation_without_a_category_is_refused():
    with pytest.raises(InputError, match=r"x: its annotation \{'id': 3\} lacks a category_id"):
        load(json.dumps([{"id": 3}]).encode(), source="x")


def test_points_far_outside_are_refused_before_they_end_the_process():
    """In a process of its own: pycocotools would ask for all memory there is, or write where none is."""
    program = """
from inverseform.data.coco_annotations import Annotation, run_lengths
try:
    run_lengths(Annotation(7, 1, False, [[0, 0, 1e9, 0, 1e9, 1e9, 0, 1e9]]), 20, 30, source="x")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and "x: the segmentation of annotation 7 cannot be read (a polygon has" in done.stdout


def test_points_a_little_outside_are_cut_off_as_coco_itself_has_them():
    got = run_lengths(drawn([[-3.0, -2.0, 40.0, -2.0, 40.0, 5.0, -3.0, 5.0]]), 20, 30, source="x")
    assert (got.mask() == region(0, 5, 0, 30)).all()


def test_images_that_an_annotation_names_wrongly_are_told_whatever_their_ids_are(tmp_path):
    path, problems = tmp_path / "a.json", []
    path.write_text(of(annotations=[{"image_id": "x"}, {"image_id": 4}]))
    Index.read(path, problems)
    assert [problem.partition("image ")[2][:2] for problem in problems] == ["4,", "x,"]
