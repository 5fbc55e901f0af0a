import io
import pickle
import struct
import sys

import datasets
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from inverseform.data import HuggingfaceParams, open_dataset
from inverseform.data.dataset import ORIENTATION
from inverseform.data.layout import LayoutError
from inverseform.settings import InputError
from tests.data.miniatures import huggingface as miniature
from tests.data.miniatures.ingested import ingested
from tests.data.miniatures.read_back import check_labels

SETTINGS = {
    "name": "huggingface", "where": "folder", "dataset": "drawn", "configuration": None, "revision": None,
    "train": "train", "val": "validation", "test": "validation", "image": "pixel_values", "labels": "label",
    "label_format": "ids", "first_id": 1, "ignore_index": 0, "classes": ("a", "b", "c"),
    "colours": ((9, 0, 0), (0, 9, 0), (0, 0, 9)),
}  # fmt: skip
ARRAYS = datasets.List(datasets.List(datasets.Value("int32")))


def params(**changes):
    return HuggingfaceParams(**{**SETTINGS, **changes})


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    """Caches of the test's own, and no bars."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "arrow"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture
def _no_network(monkeypatch):
    """Whatever would open a connection fails."""

    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


def wanted(split):
    return [np.where(truth == 0, 255, truth - 1).astype(np.uint8) for truth in miniature.truths()[split]]


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("form", ["disk", "files", "cache"])
def test_labels_come_as_they_were_drawn_and_nothing_is_asked_of_the_network(tmp_path, form):
    settings = params()
    if form == "disk":
        miniature.write_disk(tmp_path / "drawn")
    elif form == "files":
        miniature.write_files(tmp_path / "drawn")
    else:
        miniature.write_cache(tmp_path / "hub", "someone/drawn")
        settings = params(where="cache", dataset="someone/drawn")
    store = ingested(settings, tmp_path, tmp_path / "samples", operator="sobel")
    for split, theirs in (("train", "train"), ("val", "validation"), ("test", "validation")):
        assert store.size(split) == miniature.SIZES[theirs]
        for index, truth in enumerate(wanted(theirs)):
            check_labels(store.sample(split, index), truth, 3)
    dataset = open_dataset(settings, tmp_path)
    if form != "disk":
        assert dataset.expected == {"train": 4, "val": 2, "test": 2}
    # A JPEG and a PNG are kept to the byte; a WebP without loss is the same pixels.
    readings = [source.read() for source in dataset.splits["train"]]
    rows = miniature.dataset()["train"].cast_column("pixel_values", datasets.Image(decode=False))
    assert [reading.encoded == row["pixel_values"]["bytes"] for reading, row in zip(readings, rows, strict=True)] == [
        True, True, False, True,
    ]  # fmt: skip
    assert (readings[2].image == miniature.photo(2)).all()


def test_parts_of_splits_of_files_are_splits(tmp_path):
    miniature.write_files(tmp_path / "drawn")
    dataset = open_dataset(params(train="train[:75%]", val="train[75%:]"), tmp_path)
    assert {split: len(sources) for split, sources in dataset.splits.items()} == {"train": 3, "val": 1, "test": 2}
    assert dataset.expected == {"test": 2}
    assert (dataset.splits["val"][0].read().labels == wanted("train")[3]).all()


def test_label_maps_may_be_arrays(tmp_path):
    miniature.dataset(ARRAYS).save_to_disk(tmp_path / "drawn")
    for source, truth in zip(open_dataset(params(), tmp_path).splits["train"], wanted("train"), strict=True):
        assert (source.read().labels == truth).all()


def test_a_source_goes_to_another_process(tmp_path):
    miniature.write_disk(tmp_path / "drawn")
    source = open_dataset(params(), tmp_path).splits["train"][2]
    sent = pickle.loads(pickle.dumps(source))
    assert sent.name == "000002" and (sent.read().labels == wanted("train")[2]).all()


def test_a_column_that_is_missing_or_holds_no_pictures_is_told(tmp_path):
    miniature.write_disk(tmp_path / "drawn")
    with pytest.raises(LayoutError) as caught:
        open_dataset(params(image="photo", labels="id"), tmp_path)
    told = [problem.partition(": ")[2] for problem in caught.value.problems]
    assert told[0] == "train has no column photo; it has pixel_values, label, id"
    assert told[1].startswith("the column id of train is Value('int32'); name one of pictures") and len(told) == 4


def test_a_wrong_row_is_told_by_its_number(tmp_path):
    miniature.write_disk(tmp_path / "drawn")
    source = open_dataset(params(first_id=2, ignore_index=0), tmp_path).splits["train"][1]
    with pytest.raises(InputError, match=r"drawn: train, row 1, label: the value 1 is at row \d+, column \d+"):
        source.read()
    rows = miniature.dataset()
    truncated = rows["train"].cast_column("pixel_values", datasets.Image(decode=False)).to_list()
    truncated[0]["pixel_values"]["bytes"] = truncated[0]["pixel_values"]["bytes"][:99]
    truncated[1]["pixel_values"] = None
    rows["train"] = datasets.Dataset.from_list(truncated, features=rows["train"].features)
    rows.save_to_disk(tmp_path / "other")
    sources = open_dataset(params(dataset="other"), tmp_path).splits["train"]
    with pytest.raises(InputError, match="other: train, row 0, pixel_values: cannot be decoded"):
        sources[0].read()
    with pytest.raises(InputError, match="other: train, row 1, pixel_values: is empty; take the row out"):
        sources[1].read()


def test_the_code_of_a_data_set_is_never_run(tmp_path):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "drawn.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(LayoutError, match="drawn: cannot be opened"):
        open_dataset(params(), tmp_path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ValidationError, match="Extra inputs"):
        params(trust_remote_code=True)


def test_a_library_that_is_not_installed_is_told_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"not installed .*pip install 'inverseform\[huggingface\]'"):
        open_dataset(params(), tmp_path)


def reading_of(folder, **cells):
    """The first row of a data set with these cells in it."""
    rows = miniature.dataset(None if isinstance(cells.get("label", {}), dict) else ARRAYS)
    bare = rows["train"].cast_column("pixel_values", datasets.Image(decode=False))
    bare = (
        bare
        if isinstance(bare.features["label"], datasets.List)
        else bare.cast_column("label", datasets.Image(decode=False))
    )
    table = bare.to_list()
    table[0] |= cells
    rows["train"] = datasets.Dataset.from_list(table, features=rows["train"].features)
    rows.save_to_disk(folder / "drawn")
    return open_dataset(params(), folder).splits["train"][0].read()


def stored(picture, format, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    return {"bytes": file.getvalue(), "path": None}


def test_images_that_become_png_lose_neither_their_turn_nor_their_depth_unseen(tmp_path):
    photo = Image.fromarray(miniature.photo(0))
    assert (reading_of(tmp_path / "a", pixel_values=stored(photo, "TIFF")).image == miniature.photo(0)).all()
    for form, options in (("TIFF", {"tiffinfo": {ORIENTATION: 3}}), ("WEBP", {"exif": turned(3)})):
        with pytest.raises(InputError, match="row 0, pixel_values: has the EXIF orientation 3"):
            reading_of(tmp_path / form, pixel_values=stored(photo, form, **options))
    deep = Image.fromarray(np.full((12, 16), 300, np.uint16))
    with pytest.raises(InputError, match=r"row 0, pixel_values: has more than 8 bits a channel; images need 8"):
        reading_of(tmp_path / "b", pixel_values=stored(deep, "TIFF"))


def turned(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def test_what_is_no_picture_and_what_would_fill_the_memory_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot be decoded as PNG, JPEG, WEBP.*\(begins like none of them\); take"):
        reading_of(tmp_path / "a", pixel_values={"bytes": b"<html>404</html>", "path": None})
    data = bytearray(stored(Image.fromarray(miniature.photo(0)), "BMP")["bytes"])
    data[18:26] = struct.pack("<ii", 30_000, 30_000)
    with pytest.raises(InputError, match=r"cannot be decoded as PNG, .*decompression bomb"):
        reading_of(tmp_path / "b", pixel_values={"bytes": bytes(data), "path": None})


def test_an_array_of_rows_of_different_lengths_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"row 0, label: is of the shape \(2,\) and object; a label map has two axes"):
        reading_of(tmp_path, label=[[1, 2, 3], [1, 2]])
