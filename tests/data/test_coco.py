import json
import sys

import numpy as np
import pytest
from PIL import Image

from inverseform.data import CocoParams, open_dataset
from inverseform.data.coco import CocoSplit
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures import coco as miniature
from tests.data.miniatures.ingested import ingested
from tests.data.miniatures.read_back import check_labels

NAMES = tuple(miniature.CATEGORIES.values())


def split(year="train2017", kind="instances"):
    panoptic = f"annotations/panoptic_{year}" if kind == "panoptic" else None
    return CocoSplit(images=year, annotations=f"annotations/{kind}_{year}.json", panoptic=panoptic)


def params(kind="instances", **changes):
    train, val = split(kind=kind), split("val2017", kind)
    plain = {"categories": None, "rest": "background", "crowd": "class"}
    return CocoParams(**{"name": "coco", "train": train, "val": val, "test": val, **plain, **changes})


@pytest.fixture
def truth(tmp_path):
    return miniature.draw(tmp_path)


def labels(truth, number, *, classes, rest):
    """What was drawn, as class ids."""
    ids = np.full(truth[number].shape, rest, np.uint8)
    for category, name in miniature.CATEGORIES.items():
        if name in classes:
            ids[truth[number] == category] = classes.index(name)
    return ids


@pytest.mark.parametrize("kind", ["instances", "panoptic"])
def test_labels_come_as_they_were_drawn(tmp_path, truth, kind):
    miniature.draw_panoptic(tmp_path, truth)
    settings = params(kind, rest="background" if kind == "instances" else "unknown")
    classes = ("background", *NAMES) if kind == "instances" else NAMES
    store = ingested(settings, tmp_path, tmp_path / "samples", operator="sobel")
    assert store.info.classes == classes
    for name, year in (("train", "train2017"), ("val", "val2017"), ("test", "val2017")):
        assert store.names(name) == [f"{number:012d}" for number in miniature.SPLITS[year]]
        for index, number in enumerate(miniature.SPLITS[year]):
            wanted = labels(truth, number, classes=classes, rest=0 if kind == "instances" else 255)
            check_labels(store.sample(name, index), wanted, len(classes))
    first = open_dataset(settings, tmp_path).splits["train"][0]
    assert first.read().encoded == (tmp_path / "train2017" / "000000000009.jpg").read_bytes()


def test_chosen_categories_are_classes_in_their_order_and_the_rest_hides_what_it_covers(tmp_path, truth):
    for rest, first in (("background", ("background",)), ("unknown", ())):
        dataset = open_dataset(params(categories=("dog", "car"), rest=rest), tmp_path)
        assert dataset.classes == (*first, "dog", "car")
        wanted = labels(truth, 9, classes=dataset.classes, rest=0 if first else 255)
        # The person in front of the car is no car.
        assert (dataset.splits["train"][0].read().labels == wanted).all()
    assert (wanted == 255).any() and (wanted == 0).any() and (wanted == 1).any()


def test_crowds_are_of_their_class_or_unknown_and_below_all_objects(tmp_path, truth):
    reading = open_dataset(params(crowd="unknown"), tmp_path).splits["train"][0].read()
    _, top, bottom, left, right = miniature.CROWD
    wanted = labels(truth, 9, classes=("background", *NAMES), rest=0)
    region = np.zeros(wanted.shape, bool)
    region[top:bottom, left:right] = True
    # Of the region, what the person and the car do not cover; they are of those classes in the truth, too.
    other = wanted.copy()
    for box in sorted(miniature.BOXES[9], key=lambda box: -(box[2] - box[1]) * (box[4] - box[3])):
        region[box[1] : box[2], box[3] : box[4]] = False
    other[region] = 255
    assert region.any() and (reading.labels == other).all()


def test_the_compressed_form_is_painted_alike(tmp_path, truth):
    path = tmp_path / "annotations" / "instances_train2017.json"
    document = json.loads(path.read_text())
    before = [source.read().labels for source in open_dataset(params(), tmp_path).splits["train"]]
    for each in document["annotations"]:
        _, top, bottom, left, right = next(
            (box for box in miniature.BOXES[9] if box[0] == each["category_id"] and not each["iscrowd"]),
            miniature.CROWD,
        )
        region = np.zeros((miniature.HEIGHT, miniature.WIDTH), np.uint8)
        region[top:bottom, left:right] = 1
        each["segmentation"] = miniature.compressed(region)
    path.write_text(json.dumps(document))
    after = [source.read().labels for source in open_dataset(params(), tmp_path).splits["train"]]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_published_counts_go_by_the_names_of_the_files(tmp_path, truth):
    assert open_dataset(params(), tmp_path).expected == {"train": 118287, "val": 5000, "test": 5000}
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.rename(tmp_path / "mine.json")
    own = CocoSplit(images="val2017", annotations="mine.json", panoptic=None)
    assert open_dataset(params(val=own, test=own), tmp_path).expected == {"train": 118287}


def test_all_missing_files_are_told_at_once_and_each_once(tmp_path, truth):
    miniature.draw_panoptic(tmp_path, truth)
    (tmp_path / "train2017" / "000000000025.jpg").unlink()
    (tmp_path / "annotations" / "panoptic_val2017" / "000000000139.png").unlink()
    with pytest.raises(LayoutError) as caught:
        open_dataset(params("panoptic", rest="unknown"), tmp_path)
    assert [problem.split(": is missing")[0].removeprefix(f"{tmp_path}/") for problem in caught.value.problems] == [
        "train2017/000000000025.jpg", "annotations/panoptic_val2017/000000000139.png",
    ]  # fmt: skip


def test_splits_of_other_categories_and_categories_that_are_not_there_are_told(tmp_path, truth):
    path = tmp_path / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    document["categories"][0]["name"] = "cat"
    path.write_text(json.dumps(document))
    with pytest.raises(LayoutError, match="has other categories than") as caught:
        open_dataset(params(categories=("car", "lorry")), tmp_path)
    assert any("has no category lorry; it has person, car, dog, toothbrush" in line for line in caught.value.problems)
    with pytest.raises(LayoutError, match="has other categories") as caught:
        open_dataset(params(categories=("car",), rest="unknown"), tmp_path)
    assert "would give 1 classes of 1 names" in caught.value.problems[1]


def test_a_segment_that_the_json_does_not_have_and_a_picture_of_another_size_are_refused(tmp_path, truth):
    miniature.draw_panoptic(tmp_path, truth)
    picture = tmp_path / "annotations" / "panoptic_train2017" / "000000000009.png"
    source = open_dataset(params("panoptic", rest="unknown"), tmp_path).splits["train"][0]
    pixels = np.array(Image.open(picture))
    pixels[0, 0] = (5, 1, 0)
    Image.fromarray(pixels).save(picture)
    with pytest.raises(InputError, match=r"has the segment 261, of which the JSON says nothing \(1 such\)"):
        source.read()
    Image.fromarray(pixels[1:, 1:]).save(picture)
    with pytest.raises(InputError, match=r"000000000009\.png: is 31x23 and 000000000009\.jpg is 32x24"):
        source.read()


def test_an_annotation_of_a_category_that_is_not_named_is_refused(tmp_path, truth):
    path = tmp_path / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["category_id"] = 5
    path.write_text(json.dumps(document))
    [source] = open_dataset(params(), tmp_path).splits["val"]
    with pytest.raises(InputError, match=r"139\.jpg: the annotation 139000 is of the category 5, which its JSON does"):
        source.read()


def test_a_library_that_is_not_installed_is_told_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(InputError, match=r"not installed .*pip install 'inverseform\[coco\]'"):
        open_dataset(params(), tmp_path)


def test_an_image_of_another_size_than_its_json_says_is_refused(tmp_path, truth):
    [source] = open_dataset(params(), tmp_path).splits["val"]
    Image.new("RGB", (64, 48)).save(tmp_path / "val2017" / "000000000139.jpg")
    with pytest.raises(InputError, match=r"139\.jpg: is 64x48 and its JSON says 32x24 \(width x height\)"):
        source.read()


def test_a_panoptic_picture_of_jpeg_is_refused_though_its_name_ends_with_png(tmp_path, truth):
    miniature.draw_panoptic(tmp_path, truth)
    Image.new("RGB", (32, 24)).save(tmp_path / "annotations" / "panoptic_train2017" / "000000000009.png", "JPEG")
    with pytest.raises(InputError, match=r"000000000009\.png: is a JPEG file"):
        open_dataset(params("panoptic", rest="unknown"), tmp_path).splits["train"][0].read()


def test_a_segment_that_the_json_has_twice_is_refused(tmp_path, truth):
    miniature.draw_panoptic(tmp_path, truth)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    document = json.loads(path.read_text())
    segments = document["annotations"][0]["segments_info"]
    # The one that is looked up would be the last, silently.
    segments.append({**segments[0], "category_id": 3})
    path.write_text(json.dumps(document))
    [source] = open_dataset(params("panoptic", rest="unknown"), tmp_path).splits["val"]
    with pytest.raises(InputError, match=rf"139\.png: the JSON has its segment {segments[0]['id']} twice"):
        source.read()


def test_two_lists_of_segments_for_one_image_are_told(tmp_path, truth):
    miniature.draw_panoptic(tmp_path, truth)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    document = json.loads(path.read_text())
    document["annotations"] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(LayoutError, match=r"panoptic_val2017\.json: has 2 lists of segments for the image 139"):
        open_dataset(params("panoptic", rest="unknown"), tmp_path)
