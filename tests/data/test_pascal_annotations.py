import json

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
from skimage.morphology import thin

from inverseform.data.pascal_annotations import (
    PARTS,
    WITH_NORMALS,
    edges,
    human_parts,
    images_of_people,
    label_map,
)
from inverseform.settings import InputError
from tests.data.miniatures import pascal_context as miniature

SCENE = miniature.scene(0)
SIZE = SCENE.labels.shape


def test_pascal_parts_24_names_make_six_parts():
    assert len(PARTS) == 24 and set(PARTS.values()) == {1, 2, 3, 4, 5, 6}
    assert (PARTS["hair"], PARTS["neck"], PARTS["luarm"], PARTS["rhand"], PARTS["ruleg"], PARTS["lfoot"]) == (
        1, 2, 3, 4, 5, 6,
    )  # fmt: skip


def test_normals_hold_for_classes_of_the_459_and_not_for_the_unknown_one():
    assert len(WITH_NORMALS) == len(set(WITH_NORMALS)) == 170
    assert 0 < min(WITH_NORMALS) and max(WITH_NORMALS) <= 459 and 431 not in WITH_NORMALS
    assert {miniature.IDS["person"], miniature.IDS["dog"], miniature.IDS["wall"]} < set(WITH_NORMALS)
    assert miniature.IDS["sky"] not in WITH_NORMALS


def test_edges_are_the_thinned_laplacian_of_the_ids():
    ids = np.kron(np.random.default_rng(0).integers(1, 460, (5, 6)), np.ones((9, 8), int)).astype(np.uint16)
    laplacian = scipy.ndimage.laplace(ids.astype(float), mode="mirror")
    assert (edges(ids)[0] == thin(np.abs(laplacian) > 0)).all()
    assert not edges(np.full((20, 20), 7, dtype=np.uint16)).any()


def test_edges_are_lines_of_one_pixel_on_the_borders():
    ids = np.ones((20, 30), dtype=np.uint16)
    ids[:, 15:] = 2
    found = edges(ids)[0]
    # Thinning takes the ends of a line at the frame.
    assert (found[1:-1].sum(axis=1) == 1).all() and set(np.flatnonzero(found.any(axis=0))) <= {14, 15}


def test_ids_that_cancel_have_no_edge_as_published():
    ids = np.array([[1, 2, 3]] * 3, dtype=np.uint16)
    ids = np.kron(ids, np.ones((6, 1), int))
    # Between 1 and 3 a column of 2 has as much less on its left as more on its right.
    assert not edges(ids)[0][:, 1].any()


def test_parts_of_people_are_painted_in_their_order(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, miniature.annotation(SCENE))
    assert (human_parts(path, SIZE)[0] == SCENE.parts).all() and SCENE.parts.max() == 6


def test_an_image_without_people_has_no_parts(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, miniature.annotation(miniature.scene(1)))
    assert human_parts(path, miniature.scene(1).labels.shape) is None


@pytest.mark.parametrize("people", [1, 2])
def test_people_without_parts_are_no_target(tmp_path, people):
    rows = np.empty((1, people), dtype=miniature.OBJECT)
    rows[0] = [("person", 15.0, np.ones((4, 4), np.uint8), np.zeros((0, 0)))] * people
    scipy.io.savemat(tmp_path / "a.mat", {"anno": {"imname": "a", "objects": rows}})
    assert human_parts(tmp_path / "a.mat", (4, 4)) is None


def test_strange_annotations_are_told_by_file(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, miniature.annotation(SCENE))
    with pytest.raises(InputError, match=r"a\.mat: is 64x48 and its image is 9x9"):
        human_parts(path, (9, 9))
    person = ("person", 15.0, np.ones((4, 4)), miniature._parts([("wing", np.ones((4, 4)))]))
    rows = np.empty((1, 1), dtype=miniature.OBJECT)
    rows[0] = [person]
    scipy.io.savemat(path, {"anno": {"imname": "a", "objects": rows}})
    with pytest.raises(InputError, match=r"a\.mat: has a part 'wing'; those of a person are hair, "):
        human_parts(path, (4, 4))
    for strange in ({"imname": "a"}, 3.0, "text", {"objects": np.ones((2, 3))}, {"objects": 3.0}):
        scipy.io.savemat(path, {"anno": strange})
        with pytest.raises(InputError, match=r"a\.mat: is no annotation of PASCAL-Part"):
            human_parts(path, (4, 4))


def test_a_label_map_is_a_matrix_of_ids_of_the_size_of_its_image(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"LabelMap": SCENE.context})
    assert (label_map(path, SIZE) == SCENE.context).all()
    with pytest.raises(InputError, match=r"a\.mat: is 64x48 and its image is 48x64"):
        label_map(path, (64, 48))
    scipy.io.savemat(path, {"LabelMap": np.ones(SIZE) / 3})
    with pytest.raises(InputError, match=r"a\.mat: its LabelMap is no matrix of whole numbers"):
        label_map(path, SIZE)


def test_the_list_of_parts_tells_who_shows_people(tmp_path):
    path = tmp_path / "train.txt"
    assert images_of_people(path, ["a"]) is None
    path.write_text(json.dumps({"a": [15, 12], "b": [-1], "c": []}))
    assert images_of_people(path, ["a", "b", "c"]) == {"a"}
    with pytest.raises(InputError, match=r"train\.txt: lacks d, and 2 of the images listed in all; delete it"):
        images_of_people(path, ["a", "d", "e"])
    for strange in ("[1]", '{"a": 15}', '{"a": [15'):
        path.write_text(strange)
        with pytest.raises(InputError, match=r"train\.txt: .*delete it"):
            images_of_people(path, ["a"])


def saved(path, parts, class_index=15.0):
    rows = np.empty((1, 1), dtype=miniature.OBJECT)
    rows[0] = [("person", class_index, np.ones((4, 4), np.uint8), parts)]
    scipy.io.savemat(path, {"anno": {"imname": "a", "objects": rows}})
    return path


def test_a_mask_of_one_pixel_is_one_and_one_of_three_axes_is_none(tmp_path):
    one = saved(tmp_path / "a.mat", miniature._parts([("hair", np.ones((1, 1)))]))
    assert human_parts(one, (1, 1)).tolist() == [[[1]]]
    deep = saved(tmp_path / "b.mat", miniature._parts([("hair", np.ones((4, 4, 2)))]))
    with pytest.raises(InputError, match=r"b\.mat: a mask of a part has the shape \(4, 4, 2\); it must have two axes"):
        human_parts(deep, (4, 4))


def test_a_class_and_a_name_that_are_arrays_are_none_of_a_person(tmp_path):
    parts = miniature._parts([("hair", np.ones((4, 4)))])
    assert human_parts(saved(tmp_path / "a.mat", parts, np.array([15.0, 12.0])), (4, 4)) is None
    with pytest.raises(InputError, match=r"(?s)b\.mat: has a part array\(\[1, 2\].*those of a person are hair"):
        human_parts(saved(tmp_path / "b.mat", miniature._parts([(np.array([1, 2]), np.ones((4, 4)))])), (4, 4))


def test_the_list_of_parts_may_begin_with_the_mark_of_windows(tmp_path):
    (tmp_path / "train.txt").write_text('{"a": [15], "b": []}', encoding="utf-8-sig")
    assert images_of_people(tmp_path / "train.txt", ["a", "b"]) == {"a"}
