import json
import shutil

import numpy as np
import pytest
from PIL import Image

from inverseform.data import MapillaryParams, open_dataset
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures.ingested import check, ingested
from tests.data.miniatures.mapillary import COLOURS, NAMES, draw


def params(**changes):
    return MapillaryParams(**{"name": "mapillary", "labels": "labels", "test": True, **changes})


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.mark.parametrize("later", [False, True], ids=["v1.2", "v1.2 beside v2.0"])
@pytest.mark.parametrize("kind", ["labels", "instances"])
def test_labels_arrive_in_the_store_as_drawn(raw, tmp_path, later, kind):
    drawn = draw(raw, later=later)
    store = ingested(params(labels=kind), raw, tmp_path / "samples")
    check(store, {"train": drawn["training"], "val": drawn["validation"], "test": drawn["testing"]})
    assert store.info.classes == tuple(NAMES[:65]) and store.info.colours == tuple(map(tuple, COLOURS[:65]))


def test_palette_files_are_read_by_their_indices(raw):
    draw(raw)
    with Image.open(next((raw / "training" / "labels").iterdir())) as picture:
        assert picture.mode == "P"
    assert open_dataset(params(), raw).splits["train"][0].read().labels.max() == 255


def test_without_test_the_split_is_empty_and_its_folder_need_not_be_there(raw):
    draw(raw)
    shutil.rmtree(raw / "testing")
    dataset = open_dataset(params(test=False), raw)
    assert list(dataset.splits["test"]) == [] and dataset.expected == {"train": 18000, "val": 2000}


def test_classes_count_the_scored_labels_wherever_the_others_stand(raw):
    draw(raw)
    config = json.loads((raw / "config.json").read_text())
    config["labels"][1]["evaluate"] = False
    (raw / "config.json").write_text(json.dumps(config))
    dataset = open_dataset(params(), raw)
    assert dataset.classes == ("Bird", *NAMES[2:65])
    source = dataset.splits["train"][0]
    ids = np.array(Image.open(source.labels)).astype(int)
    assert (source.read().labels == np.where((ids == 1) | (ids == 65), 255, ids - (ids > 1))).all()


def test_all_that_is_missing_is_told_at_once(raw):
    draw(raw)
    (raw / "training" / "labels" / "a-1_Xy9.png").unlink()
    (raw / "validation" / "images" / "b-0_Xy9.jpg").unlink()
    shutil.rmtree(raw / "testing" / "images")
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(), raw)
    told = [problem.replace(f"{raw}/", "") for problem in caught.value.problems]
    assert told == [
        "training/images/a-1_Xy9.jpg: has no label map in training/labels",
        "validation/labels/b-0_Xy9.png: is a label map of no image",
        "testing/images: there is no such folder; it must hold *.jpg or *.jpeg",
    ]


def test_a_config_that_is_missing_or_of_another_version_is_refused(raw):
    draw(raw)
    (raw / "config.json").rename(raw / "config_v2.0.json")
    with pytest.raises(LayoutError, match=r"config\.json: is missing, and so is config_v1\.2\.json"):
        open_dataset(params(), raw)
    shutil.rmtree(raw)
    draw(raw, labels=60)
    with pytest.raises(InputError, match=r"config\.json: names 60 labels and v1\.2 has 66"):
        open_dataset(params(), raw)


@pytest.mark.parametrize(
    ("text", "told"), [("{", "the file is wrong"), ('{"labels": [{"color": [1, 2]}]}', "labels.0.readable is wrong")]
)
def test_a_config_that_cannot_be_read_is_refused(raw, text, told):
    draw(raw)
    (raw / "config.json").write_text(text)
    with pytest.raises(InputError, match=rf"config\.json: {told}"):
        open_dataset(params(), raw)


def test_an_id_beyond_the_config_is_told(raw):
    draw(raw)
    ids = np.full((32, 40), 3, np.uint8)
    ids[2, 9] = 66
    Image.fromarray(ids).save(raw / "training" / "labels" / "a-0_Xy9.png")
    with pytest.raises(InputError, match=r"the id 66 is at row 2, column 9 \(1 pixels .*ids are 0 to 65"):
        open_dataset(params(), raw).splits["train"][0].read()
