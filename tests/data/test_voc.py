import pytest

from inverseform.data import VocParams, open_dataset
from inverseform.data.label_settings import LabelSettings
from inverseform.data.layout import LayoutError
from inverseform.data.voc import CLASSES
from inverseform.data.voc_colours import voc_colours
from inverseform.settings import InputError
from tests.data.miniatures import voc as miniature
from tests.data.miniatures.ingested import ingested
from tests.data.miniatures.read_back import check_labels

SETTINGS = {
    "name": "voc", "folder": "VOCdevkit/VOC2012", "labels": "SegmentationClass", "train": "train", "val": "val",
    "test": "val", "palette": None,
}  # fmt: skip


def params(**changes):
    return VocParams(**{**SETTINGS, **changes})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "VOCdevkit" / "VOC2012"


def test_the_colours_are_those_of_the_devkit():
    assert list(voc_colours(256)) == miniature.palette()
    assert voc_colours(256)[255] == (224, 224, 192) and len(CLASSES) == 21


@pytest.mark.parametrize(("labels", "train"), [("SegmentationClass", "train"), ("SegmentationClassAug", "trainaug")])
def test_labels_come_as_they_were_drawn(tmp_path, folder, labels, train):
    truth = miniature.draw(folder, labels=labels)
    settings = params(labels=labels, train=train)
    store = ingested(settings, tmp_path, tmp_path / "samples", operator="sobel")
    assert store.info.classes == CLASSES
    for split, name in (("train", train), ("val", "val"), ("test", "val")):
        assert store.names(split) == list(miniature.LISTS[name])
        for index, image in enumerate(store.names(split)):
            check_labels(store.sample(split, index), truth[image], len(CLASSES))
    first = open_dataset(settings, tmp_path).splits["train"][0].read()
    assert first.encoded == (folder / "JPEGImages" / "2007_000032.jpg").read_bytes()


def test_published_counts_are_those_of_the_lists_of_a_year(tmp_path, folder):
    miniature.draw(folder)
    assert open_dataset(params(), tmp_path).expected == {"train": 1464, "val": 1449, "test": 1449}
    assert open_dataset(params(train="trainaug"), tmp_path).expected["train"] == 10582
    folder.rename(tmp_path / "mine")
    assert open_dataset(params(folder="mine"), tmp_path).expected == {}


def test_classes_and_colours_of_ones_own(tmp_path):
    colours = [(number, 7, 9) for number in range(256)]
    truth = miniature.draw(tmp_path, colours=colours)
    own = LabelSettings(
        label_format="colours", classes=tuple(f"c{n}" for n in range(21)), colours=tuple(colours[:21]),
        ignore_index=colours[255],
    )  # fmt: skip
    dataset = open_dataset(params(folder=".", palette=own), tmp_path)
    assert dataset.classes == own.classes and dataset.colours == own.colours
    for source in dataset.splits["train"]:
        assert (source.read().labels == truth[source.name]).all()


def test_a_label_of_no_class_is_refused_with_its_place(tmp_path, folder):
    miniature.draw(folder)
    few = LabelSettings(label_format="ids", classes=CLASSES[:20], colours=((0, 0, 0),) * 20, ignore_index=255)
    [first, *_] = open_dataset(params(palette=few), tmp_path).splits["train"]
    with pytest.raises(InputError, match=r"2007_000032\.png: the value 20 is at row 18, column 25 \(180 pixels"):
        first.read()


def test_lists_with_both_paths_on_a_line_name_the_same_images(tmp_path, folder):
    miniature.draw(folder, labels="SegmentationClassAug")
    path = folder / "ImageSets" / "Segmentation" / "train_aug.txt"
    lines = (f"/JPEGImages/{n}.jpg /SegmentationClassAug/{n}.png\n" for n in miniature.LISTS["trainaug"])
    path.write_text("\n".join(lines))
    dataset = open_dataset(params(train="train_aug", labels="SegmentationClassAug"), tmp_path)
    assert [source.name for source in dataset.splits["train"]] == list(miniature.LISTS["trainaug"])


def test_all_that_is_missing_is_told_at_once(tmp_path, folder):
    miniature.draw(folder)
    (folder / "JPEGImages" / "2007_000032.jpg").unlink()
    (folder / "SegmentationClass" / "2007_000033.png").unlink()
    lists = folder / "ImageSets" / "Segmentation"
    (lists / "empty.txt").write_text("\n")
    (lists / "val.txt").write_text("2007_000033\n2007_000033\n")
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(test="empty"), tmp_path)
    assert [problem.partition(": ")[2].split(" in ")[0][:45] for problem in caught.value.problems] == [
        "names 2007_000033 twice; take one out", "is empty; write a name of JPEGImages a line, ",
        "names 2007_000032, which has no image", "names 2007_000033, which has no label map",
    ]  # fmt: skip
    with pytest.raises(LayoutError, match="no such folder") as caught:
        open_dataset(params(folder="VOC2007"), tmp_path)
    assert len(caught.value.problems) == 4


def test_a_list_is_text_in_utf_8_with_or_without_its_mark(tmp_path, folder):
    miniature.draw(folder)
    path = folder / "ImageSets" / "Segmentation" / "val.txt"
    path.write_text("2007_000033\n", encoding="utf-8-sig")
    assert [source.name for source in open_dataset(params(), tmp_path).splits["val"]] == ["2007_000033"]
    path.write_bytes("Stra\u00dfe\n".encode("latin-1"))
    with pytest.raises(LayoutError, match=r"val\.txt: is no text in UTF-8 .*iconv -t UTF-8"):
        open_dataset(params(), tmp_path)
