import shutil

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from inverseform.data import CamvidParams, FolderParams, open_dataset
from inverseform.data.camvid import CLASSES, COLOURS, split_of
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures.camvid import FRAMES, LABELS, draw_original, draw_segnet
from tests.data.miniatures.ingested import check, ingested


def params(**changes):
    return CamvidParams(**{"name": "camvid", "layout": "segnet", "classes": 11, **changes})


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.mark.parametrize("layout", ["segnet", "folders"])
def test_ids_arrive_in_the_store_as_drawn(raw, tmp_path, layout):
    drawn = draw_segnet(raw, folders=layout == "folders")
    store = ingested(params(layout=layout), raw, tmp_path / "samples")
    check(store, drawn)
    assert store.info.classes == CLASSES and store.info.colours == COLOURS


@pytest.mark.parametrize("classes", [11, 32])
def test_colours_arrive_in_the_store_as_drawn(raw, tmp_path, classes):
    drawn = draw_original(raw)
    store = ingested(params(layout="original", classes=classes), raw, tmp_path / "samples")
    check(store, drawn[classes])
    if classes == 32:
        assert store.info.classes == tuple(label for *_, label, _ in LABELS if label != "Void")
        assert store.info.colours[:2] == ((64, 128, 64), (192, 0, 128)) and len(store.info.colours) == 31
    else:
        assert store.info.classes == CLASSES


def test_folders_are_what_the_reader_of_ones_own_folders_makes_of_them(raw):
    draw_segnet(raw, folders=True)
    own = FolderParams(name="folder", label_format="ids", classes=CLASSES, colours=COLOURS, ignore_index=11)
    ours, theirs = open_dataset(params(layout="folders"), raw), open_dataset(own, raw)
    assert (ours.classes, ours.colours) == (theirs.classes, theirs.colours)
    for split, sources in theirs.splits.items():
        for one, other in zip(ours.splits[split], sources, strict=True):
            mine, its = one.read(), other.read()
            assert one.name == other.name and mine.encoded == its.encoded and (mine.labels == its.labels).all()


def test_published_counts_are_known(raw):
    draw_segnet(raw)
    assert open_dataset(params(), raw).expected == {"train": 367, "val": 101, "test": 233}


@pytest.mark.parametrize(("split", "frame"), [(split, frame) for split, frames in FRAMES.items() for frame in frames])
def test_a_frame_of_the_original_is_in_the_split_of_the_literature(split, frame):
    assert split_of(frame) == split


@pytest.mark.parametrize("frame", ["0001TP", "0001TP_x", "aachen_000000", "0016E5_"])
def test_a_frame_of_another_name_is_refused(frame):
    with pytest.raises(InputError, match=f"{frame}: is not named as a frame of CamVid"):
        split_of(frame)


def test_all_that_is_missing_is_told_at_once(raw):
    draw_segnet(raw)
    (raw / "trainannot" / "0016E5_00390.png").unlink()
    shutil.rmtree(raw / "val")
    shutil.rmtree(raw / "valannot")
    (raw / "test" / "Seq05VD_f00000.png").unlink()
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(), raw)
    assert [problem.replace(f"{raw}/", "") for problem in caught.value.problems] == [
        "train/0016E5_00390.png: has no label map in trainannot",
        "val: there is no such folder; it must hold *.png or *.jpg or *.jpeg",
        "valannot: there is no such folder; it must hold *.png",
        "testannot/Seq05VD_f00000.png: is a label map of no image",
    ]


def test_an_id_of_no_class_is_told_with_its_place(raw):
    draw_segnet(raw)
    ids = np.full((36, 48), 11, np.uint8)
    ids[30, 40] = 12
    Image.fromarray(ids).save(raw / "valannot" / "0016E5_07959.png")
    with pytest.raises(
        InputError, match=r"the id 12 is at row 30, column 40 \(1 .*ids are 0 to 10, and 11 for unknown"
    ):
        open_dataset(params(), raw).splits["val"][0].read()


def test_a_colour_of_no_label_is_told_with_its_place(raw):
    draw_original(raw)
    path = raw / "LabeledApproved_full" / "0016E5_07959_L.png"
    colours = np.array(Image.open(path))
    colours[1, 2] = (64, 128, 65)
    Image.fromarray(colours).save(path)
    told = r"the colour \(64, 128, 65\) is at row 1, column 2 \(1 .*none of label_colors\.txt's"
    with pytest.raises(InputError, match=told):
        open_dataset(params(layout="original"), raw).splits["val"][0].read()


@pytest.mark.parametrize(
    ("line", "other", "told"),
    [
        ("64 192 0\tWall", "64 192 0\tWalls", "Wall, Walls is there and not of CamVid, or missing"),
        ("64 192 0\tWall", "64 192 Wall", r"line 32 is '64 192 Wall'"),
        ("64 192 0\tWall", "64 192 256\tWall", r"line 32 is '64 192 256"),
        ("64 192 0\tWall", "64 128 64\tWall", "gives two labels one colour"),
    ],
)
def test_another_table_of_colours_is_refused(raw, line, other, told):
    draw_original(raw)
    path = raw / "label_colors.txt"
    assert line in path.read_text()
    path.write_text(path.read_text().replace(line, other))
    with pytest.raises(InputError, match=rf"label_colors\.txt: {told}"):
        open_dataset(params(layout="original"), raw)
    path.unlink()
    with pytest.raises(LayoutError, match=r"label_colors\.txt: is missing"):
        open_dataset(params(layout="original"), raw)


def test_32_classes_are_the_originals_alone():
    with pytest.raises(ValidationError, match="classes is 32 and the layout segnet has 11"):
        params(classes=32)


def test_a_table_of_colours_is_text_in_utf_8_with_or_without_its_mark(raw):
    draw_original(raw)
    path = raw / "label_colors.txt"
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert len(open_dataset(params(layout="original", classes=32), raw).classes) == 31
    path.write_text(text.replace("Wall", "Stra\u00dfe"), encoding="latin-1")
    with pytest.raises(InputError, match=r"label_colors\.txt: is no text in UTF-8 .*copy it again"):
        open_dataset(params(layout="original"), raw)
