import pickle
import shutil

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from inverseform.data import CityscapesParams, open_dataset
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures.cityscapes import BLACK, draw, images, labels
from tests.data.miniatures.ingested import check, ingested

USUAL = {"name": "cityscapes", "train": ("fine/train",), "val": ("fine/val",), "test": ("test",)}
TRAIN = ["aachen_000000_000019", "aachen_000001_000019", "bad-honnef_000000_000019"]
VAL, TEST = ["lindau_000000_000019", "lindau_000001_000019"], ["berlin_000000_000019", "berlin_000001_000019"]
EXTRA = ["augsburg_000000_000019", "troisdorf_000000_000019"]


def params(**changes):
    return CityscapesParams(**{**USUAL, **changes})


@pytest.fixture(params=[False, True], ids=["official", "nested"])
def nested(request):
    return request.param


@pytest.fixture
def drawn(tmp_path, nested):
    return draw(tmp_path / "raw", nested=nested)


@pytest.fixture
def raw(drawn, tmp_path):
    return tmp_path / "raw"


def names(dataset):
    return {split: [source.name for source in sources] for split, sources in dataset.splits.items()}


def test_fine_labels_arrive_in_the_store_as_drawn_and_those_of_test_are_unknown(raw, drawn, tmp_path):
    store = ingested(params(), raw, tmp_path / "samples")
    fine = drawn["gtFine"]
    unknown = np.full((48, 96), 255)
    check(store, {"train": {n: fine[n] for n in TRAIN}, "val": {n: fine[n] for n in VAL},
                  "test": dict.fromkeys(TEST, unknown)})  # fmt: skip
    assert store.info.classes[:3] == ("road", "sidewalk", "building") and len(store.info.classes) == 19
    assert store.info.colours[0] == (128, 64, 128) and store.info.colours[-1] == (119, 11, 32)


def test_images_keep_their_bytes(raw, nested):
    source = open_dataset(params(), raw).splits["train"][0]
    path = images(raw, "train", nested) / "aachen" / f"{source.name}_leftImg8bit.png"
    reading = source.read()
    assert reading.encoded == path.read_bytes() and (reading.image == np.array(Image.open(path))).all()


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"train": ("fine/train", "fine/val")}, [("gtFine", n) for n in TRAIN + VAL]),
        ({"train": ("coarse/train",)}, [("gtCoarse", n) for n in TRAIN]),
        ({"train": ("coarse/train_extra",)}, [("gtCoarse", n) for n in EXTRA]),
        ({"train": ("fine/train", "auto/train_extra")}, [("gtFine", n) for n in TRAIN] + [("auto", n) for n in EXTRA]),
        ({"train": ("coarse/val", "coarse/train")}, [("gtCoarse", n) for n in VAL + TRAIN]),
    ],
)
def test_the_splits_are_made_of_what_the_settings_say(raw, drawn, changes, kinds):
    sources = open_dataset(params(**changes), raw).splits["train"]
    assert [source.name for source in sources] == [name for _, name in kinds]
    for source, (annotation, name) in zip(sources, kinds, strict=True):
        assert (source.read().labels == drawn[annotation][name]).all()


def test_published_counts_are_known_of_each_split(raw):
    dataset = open_dataset(params(train=("fine/train", "fine/val", "auto/train_extra")), raw)
    assert dataset.expected == {"train": 2975 + 500 + 19997, "val": 500, "test": 1525}
    assert BLACK not in names(dataset)["train"]


def test_the_archives_that_are_not_asked_for_need_not_be_there(raw, nested):
    shutil.rmtree(images(raw, "test", nested))
    shutil.rmtree(labels(raw, "gtCoarse", "train", nested))
    assert names(open_dataset(params(test=()), raw)) == {"train": TRAIN, "val": VAL, "test": []}
    with pytest.raises(LayoutError, match=r"test: there is no such folder, nor .*; unpack it there"):
        open_dataset(params(), raw)


def test_all_that_is_missing_is_told_at_once(raw, nested):
    fine = labels(raw, "gtFine", "train", nested)
    (fine / "aachen" / "aachen_000001_000019_gtFine_labelIds.png").unlink()
    shutil.rmtree(fine / "bad-honnef")
    (images(raw, "val", nested) / "lindau" / "lindau_000000_000019_leftImg8bit.png").unlink()
    shutil.rmtree(images(raw, "test", nested) / "berlin")
    (labels(raw, "gtFine", "val", nested) / "munster").mkdir()
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(), raw)
    told = "\n".join(caught.value.problems)
    for part in (
        "aachen_000001_000019_leftImg8bit.png: has no label map in ", "bad-honnef: there is no such folder",
        "lindau_000000_000019_gtFine_labelIds.png: is a label map of no image", "test: has no folder of a city",
        "munster: has no images in ",
    ):  # fmt: skip
        assert part in told
    assert len(caught.value.problems) == 5


def test_an_id_that_is_none_of_cityscapes_is_told_with_its_place(raw, nested):
    path = labels(raw, "gtFine", "train", nested) / "aachen" / "aachen_000000_000019_gtFine_labelIds.png"
    ids = np.full((48, 96), 7, np.uint8)
    ids[3, 5:8] = 34
    Image.fromarray(ids).save(path)
    with pytest.raises(
        InputError, match=r"the id 34 is at row 3, column 5 \(3 pixels .* labelIds are 0 to 33, and 255"
    ):
        open_dataset(params(), raw).splits["train"][0].read()


def test_a_source_can_be_sent_to_another_process(raw):
    source = open_dataset(params(), raw).splits["train"][0]
    assert (pickle.loads(pickle.dumps(source)).read().labels == source.read().labels).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": ("fine/train", "coarse/train")}, "has the images of train twice"),
        ({"train": ("auto/train_extra", "coarse/train_extra")}, "has the images of train_extra twice"),
        ({"train": ()}, "at least 1 item"),
        ({"train": ("test",)}, "fine/train"),
        ({"val": ("fine/test",)}, "fine/train"),
    ],
)
def test_parts_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        params(**changes)
