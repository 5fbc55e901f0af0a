import shutil

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from inverseform.data import open_dataset
from inverseform.data.folder import FolderParams
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures import folder as miniature
from tests.data.miniatures.ingested import ingested
from tests.data.miniatures.read_back import check_labels

SETTINGS = {
    "name": "folder",
    "classes": ("sky", "road", "car"),
    "colours": ((0, 0, 255), (128, 64, 128), (200, 0, 0)),
    "ignore_index": 11,
    "label_format": "ids",
}
IDS = np.array([[0, 1, 2, 11], [1, 1, 2, 2], [0, 0, 0, 11]], dtype=np.uint8)
TRUE = np.where(IDS == 11, 255, IDS)


def params(**changes) -> FolderParams:
    return FolderParams(**{**SETTINGS, **changes})


@pytest.fixture
def raw(tmp_path):
    """A miniature: two pairs in every split, one JPEG and one PNG image."""
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
        for stem, suffix in (("b", ".jpg"), ("a", ".png")):
            photo = Image.fromarray(np.full((*IDS.shape, 3), 90, dtype=np.uint8))
            photo.save(tmp_path / split / "images" / f"{stem}{suffix}")
            Image.fromarray(IDS).save(tmp_path / split / "labels" / f"{stem}.png")
    return tmp_path


def read_all(raw, settings=None):
    dataset = open_dataset(settings or params(), raw)
    return [source.read() for sources in dataset.splits.values() for source in sources]


def label(raw):
    return raw / "train" / "labels" / "a.png"


def test_images_come_as_they_are_and_labels_as_ids_with_255_for_unknown(raw):
    for reading in read_all(raw):
        assert (reading.labels == TRUE).all()
        assert reading.labels.dtype == np.uint8
        assert (reading.image == 90).all()
    first = open_dataset(params(), raw).splits["train"][0]
    assert first.name == "a"
    assert first.read().encoded == (raw / "train" / "images" / "a.png").read_bytes()


def test_hidden_files_do_not_count(raw):
    (raw / "train" / "images" / ".DS_Store").write_bytes(b"x")
    assert len(read_all(raw)) == 6


def test_capital_suffixes_count(raw):
    shutil.move(raw / "val" / "images" / "b.jpg", raw / "val" / "images" / "b.JPG")
    assert len(read_all(raw)) == 6


def test_colours_are_looked_up(raw):
    table = np.zeros((12, 3), dtype=np.uint8)
    table[:3] = SETTINGS["colours"]
    table[11] = (0, 0, 0)
    for path in raw.glob("*/labels/*.png"):
        Image.fromarray(table[IDS]).save(path)
    coloured = params(label_format="colours", ignore_index=(0, 0, 0))
    assert all((reading.labels == TRUE).all() for reading in read_all(raw, coloured))
    strange = table[IDS]
    strange[1, 2:] = (1, 2, 3)
    Image.fromarray(strange).save(label(raw))
    with pytest.raises(InputError, match=r"a\.png: the colour \(1, 2, 3\) is at row 1, column 2 \(2 pixels.*colours"):
        read_all(raw, coloured)


@pytest.mark.parametrize("ignore", [None, 12])
def test_a_value_outside_the_classes_is_named_and_counted(raw, ignore):
    with pytest.raises(
        InputError, match=r"a\.png: the value 11 is at row 0, column 3 \(2 pixels have it\).*3 classes have ids 0 to 2"
    ):
        read_all(raw, params(ignore_index=ignore))


def test_jpeg_labels_are_refused_with_the_reason(raw):
    label(raw).unlink()
    Image.fromarray(IDS).save(label(raw).with_suffix(".jpg"))
    with pytest.raises(InputError, match=r"a\.jpg: labels must be PNG; JPEG blends neighbouring ids"):
        read_all(raw)


def test_an_image_and_labels_of_different_sizes_are_refused(raw):
    Image.fromarray(IDS[:2]).save(label(raw))
    with pytest.raises(InputError, match=r"a\.png: is 4x2 and a\.png is 4x3 \(width x height\)"):
        read_all(raw)


@pytest.mark.parametrize("kind", ["images", "labels"])
def test_a_truncated_file_is_refused_by_name(raw, kind):
    path = raw / "val" / kind / "a.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=rf"val/{kind}/a\.png: cannot be decoded"):
        read_all(raw)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("labels/a.png", r"images/a\.png: has no labels in .*add a\.png there"),
        ("images/a.png", r"labels/a\.png: has no image in .*add a\.png or a\.jpg"),
    ],
)
def test_a_file_without_its_counterpart_is_refused(raw, lost, message):
    (raw / "test" / lost).unlink()
    with pytest.raises(InputError, match=message):
        read_all(raw)


def test_an_empty_or_missing_split_is_refused(raw):
    for path in (raw / "val" / "images").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"val/images: is empty; each of train, val, test needs"):
        read_all(raw)
    shutil.rmtree(raw / "val")
    with pytest.raises(InputError, match=r"val/images: does not exist; each of train, val, test needs"):
        read_all(raw)


def test_files_of_other_kinds_and_two_of_one_stem_are_refused(raw):
    (raw / "train" / "images" / "notes.tif").write_bytes(b"x")
    with pytest.raises(InputError, match=r"notes\.tif: is not one of \.png, \.jpg, \.jpeg"):
        read_all(raw)
    shutil.move(raw / "train" / "images" / "notes.tif", raw / "train" / "images" / "a.jpg")
    with pytest.raises(InputError, match=r"a\.png: has the same stem as a\.jpg"):
        read_all(raw)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colours": ((0, 0, 0),)}, "colours has 1 entries for 3 classes"),
        ({"classes": ("sky", "sky", "car")}, "classes has sky twice"),
        ({"ignore_index": (0, 0, 0)}, "label_format ids is an id from 0 to 255"),
        ({"ignore_index": 3, "label_format": "colours"}, "label_format colours is an RGB colour"),
        ({"ignore_index": (200, 0, 0), "label_format": "colours"}, "also the colour of a class"),
        ({"colours": ((0, 0, 0),) * 3, "ignore_index": None, "label_format": "colours"}, "colours has 2 twice"),
        ({"ignore_index": 256}, "less than or equal to 255"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        params(**changes)


@pytest.fixture
def predicted(raw):
    """A miniature with predictions in train and val, none in test."""
    for split in ("train", "val"):
        (raw / split / "predictions").mkdir()
        for stem in ("a", "b"):
            Image.fromarray(GUESS).save(raw / split / "predictions" / f"{stem}.png")
    return raw


GUESS = np.arange(IDS.size, dtype=np.uint8).reshape(IDS.shape) * 20


def test_predictions_come_as_they_are_where_a_split_has_them(predicted):
    readings = read_all(predicted)
    assert all((reading.prediction == GUESS).all() for reading in readings[:4])
    assert all(reading.prediction is None for reading in readings[4:])


def test_all_images_of_a_split_have_a_prediction_or_none_has(predicted):
    folder = predicted / "val" / "predictions"
    (folder / "a.png").unlink()
    with pytest.raises(
        InputError, match=r"images/a\.png: has no prediction in .*val/predictions; add a\.png there, or"
    ):
        read_all(predicted)
    (folder / "b.png").unlink()
    with pytest.raises(InputError, match=r"images/a\.png: has no prediction"):
        read_all(predicted)
    folder.rmdir()
    assert read_all(predicted)[2].prediction is None


@pytest.mark.parametrize(
    ("name", "message"),
    [("c.png", "c.png: has no image in .*add c.png or c.jpg"), ("a.jpg", "a.jpg: is not one of .png; convert it")],
)
def test_a_prediction_of_no_image_or_as_jpeg_is_refused(predicted, name, message):
    folder = predicted / "train" / "predictions"
    (folder / "a.png").unlink()
    Image.fromarray(GUESS).save(folder / name)
    with pytest.raises(InputError, match=message):
        read_all(predicted)


def test_a_prediction_of_another_size_or_kind_is_refused(predicted):
    path = predicted / "train" / "predictions" / "a.png"
    Image.fromarray(GUESS[:2]).save(path)
    with pytest.raises(InputError, match=r"predictions/a\.png: is 4x2 and a\.png is 4x3 \(width x height\)"):
        read_all(predicted)
    for strange in (Image.fromarray(GUESS.astype(np.uint16)), Image.fromarray(GUESS).convert("RGB")):
        strange.save(path)
        with pytest.raises(InputError, match=r"predictions/a\.png: has pixels of type .*grey of 8 bits.*convert it"):
            read_all(predicted)


def test_all_that_is_wrong_with_the_layout_is_told_at_once(raw):
    (raw / "train" / "labels" / "a.png").unlink()
    (raw / "val" / "images" / "a.png").unlink()
    (raw / "test" / "depht").mkdir()
    with pytest.raises(LayoutError, match=r"and 2 more such: .*--check") as caught:
        read_all(raw)
    told = [problem.split(": ")[1] for problem in caught.value.problems]
    assert [words[:14] for words in told] == ["has no labels ", "has no image i", "is none of the"]


@pytest.fixture
def everything(tmp_path):
    return tmp_path / "raw", miniature.draw(tmp_path / "raw")


def test_targets_of_other_tasks_come_as_they_were_drawn(everything, tmp_path):
    raw, drawn = everything
    dataset = open_dataset(params(), raw)
    assert dataset.tasks == ("depth", "normals", "edges", "saliency", "human_parts", "hha")
    store = ingested(params(), raw, tmp_path / "samples", operator="sobel")
    assert store.info.tasks == dataset.tasks
    for (split, stem), truth in drawn.items():
        sample = store.sample(split, store.names(split).index(stem), tasks=dataset.tasks)
        check_labels(sample, truth["labels"], 3)
        assert set(sample.targets) == set(truth) - {"labels"}
        for task, target in sample.targets.items():
            wanted = truth[task].astype(np.float64)
            unknown = np.isnan(wanted) if task in ("depth", "normals") else wanted == 255
            unknown &= task != "hha"
            assert (target.valid[0].numpy() == ~unknown.any(axis=0)).all()
            # 8 bits turn a normal by less than half a degree: 0.004 in a number, and as much for the length.
            allowed = {"depth": 1e-6, "normals": 0.012}.get(task, 0)
            assert np.abs(target.values.numpy() - wanted)[~unknown].max() <= allowed
            if task == "normals":
                length = target.values.norm(dim=0)[target.valid[0] > 0]
                assert (length - 1).abs().max() < 2e-3


def test_a_target_of_another_size_or_missing_is_refused(everything):
    raw, _ = everything
    path = raw / "train" / "hha" / "a.png"
    Image.open(path).resize((4, 3)).save(path)
    with pytest.raises(InputError, match=r"hha/a\.png: is 4x3 and a\.png is 16x12"):
        read_all(raw)
    path.unlink()
    with pytest.raises(InputError, match=r"images/a\.png: has no hha in .*add a\.png there, or remove the folder: all"):
        read_all(raw)


def test_a_prediction_of_jpeg_is_refused_though_its_name_ends_with_png(predicted):
    Image.fromarray(GUESS).save(predicted / "val" / "predictions" / "a.png", "JPEG")
    with pytest.raises(InputError, match=r"predictions/a\.png: is a JPEG file"):
        [source.read() for source in open_dataset(params(), predicted).splits["val"]]
