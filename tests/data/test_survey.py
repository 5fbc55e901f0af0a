import threading
from collections import Counter

import numpy as np
import pytest

from inverseform.boundary import BoundaryParams
from inverseform.data.dataset import Dataset, Reading, encode_png
from inverseform.data.survey import spread, survey
from inverseform.settings import InputError

BOUNDARY = BoundaryParams(operator="sobel", radius=1)


class Drawn:
    """A source of random labels of the first two classes, with some void."""

    def __init__(self, seed, *, size=(12, 16), depth=False, damaged=False, void=False, name=None):
        self.seed, self.size, self.depth, self.damaged, self.void = seed, size, depth, damaged, void
        self.name = name or f"{seed:03d}"

    def read(self):
        if self.damaged:
            raise InputError(f"{self.name}.png: cannot be decoded")
        random = np.random.default_rng(self.seed)
        labels = random.choice(np.array([0, 0, 1, 255], np.uint8), self.size)
        labels = np.full_like(labels, 255) if self.void else labels
        image = random.integers(0, 256, (*self.size, 3), np.uint8)
        targets = {"depth": np.full((1, *self.size), 2.0, np.float32)} if self.depth else {}
        return Reading(encode_png(image), image, labels, None, targets)


def dataset(splits, **more):
    return Dataset("drawn", ("a", "b", "c"), ((0, 0, 0), (9, 9, 9), (99, 0, 0)), splits, **more)


def look(splits, *, workers=2, **more):
    return survey(dataset(splits, **more), BOUNDARY, workers=workers)


def test_all_pixels_are_counted_by_class_and_split():
    sources = {"train": [Drawn(n, size=(12, 16 + n)) for n in range(7)], "val": [Drawn(50)]}
    found = look(sources, workers=3)
    for split, some in sources.items():
        pixels, images = Counter(), Counter()
        for source in some:
            labels = source.read().labels
            pixels.update(labels.ravel().tolist())
            images.update(set(labels.ravel().tolist()))
        each = found.splits[split]
        assert each.count == len(some)
        assert {n: int(v) for n, v in enumerate(each.pixels) if v} == pixels
        assert {n: int(v) for n, v in enumerate(each.images) if v} == images
        assert each.void == pytest.approx(pixels[255] / pixels.total())
        assert each.sizes == Counter(source.size for source in some)
    assert found.problems == []
    assert found.remarks == ["train: classes that never occur: c", "val: classes that never occur: c"]


def test_all_damaged_files_are_told_and_the_rest_is_counted():
    found = look({"train": [Drawn(n, damaged=n % 3 == 1) for n in range(10)]})
    assert found.problems == [f"{n:03d}.png: cannot be decoded" for n in (1, 4, 7)]
    assert found.splits["train"].damaged == 3 and found.splits["train"].sizes.total() == 7


def test_counts_other_than_those_published_and_names_of_two_are_problems():
    found = look(
        {"train": [Drawn(1, name="x"), Drawn(2, name="x")], "val": [Drawn(3)]}, expected={"train": 5, "val": 1}
    )
    advice = "copy the data set again, or, where that is meant, run ingest all the same: it takes them"
    assert found.problems == [
        "train: two images are called x; rename one",
        f"train: has 2 images and 5 are published; {advice}",
    ]


def test_images_of_two_splits_of_void_alone_and_without_a_target_are_remarked():
    found = look(
        {"train": [Drawn(1, depth=True), Drawn(2, void=True)], "test": [Drawn(1, name="other"), Drawn(3)]},
        tasks=("depth",),
    )
    assert found.remarks == [
        "test: images that are also in train, byte for byte: 1",
        "train: classes that never occur: c",
        "train: images with no label but void: 1",
        "train: images without depth: 1",
        "test: classes that never occur: c",
        "test: images without depth: 2",
    ]
    assert found.splits["train"].tasks["depth"] == (1, 1.0, 2.0, 2.0) and found.splits["test"].tasks == {}


def test_the_cost_grows_with_the_data_set_and_is_none_of_one_that_is_all_damaged():
    # Bytes of the samples: PNG of noise, which does not shrink.
    few, many = (look({"train": [Drawn(n, size=(40, 40)) for n in range(count)]}) for count in (30, 300))
    assert few.estimate.measured == many.estimate.measured == 24
    assert many.estimate.bytes == pytest.approx(10 * few.estimate.bytes, rel=0.02)
    assert few.estimate.bytes > 30 * 40 * 40 * 3 and few.estimate.seconds > 0
    assert look({"train": [Drawn(1, damaged=True)]}).estimate is None


def test_samples_are_spread_evenly_over_all_splits():
    whole = dataset({"train": [Drawn(n) for n in range(90)], "val": [Drawn(n) for n in range(30)]})
    chosen = spread(whole, 12)
    assert [split for split, _ in chosen] == ["train"] * 9 + ["val"] * 3
    assert [source.seed for _, source in chosen] == [*range(5, 90, 10), 5, 15, 25]
    assert len(spread(whole, 1000)) == 120 and spread(dataset({"train": []}), 12) == []


class Alive:
    """How many readings there are at once."""

    now = most = 0
    lock = threading.Lock()


class Counted(np.ndarray):
    def __del__(self):
        if getattr(self, "counts", False):
            with Alive.lock:
                Alive.now -= 1


class Counting(Drawn):
    def read(self):
        reading = super().read()
        image = reading.image.view(Counted)
        image.counts = True
        with Alive.lock:
            Alive.now += 1
            Alive.most = max(Alive.most, Alive.now)
        return reading._replace(image=image)


def test_no_more_images_are_held_than_there_are_workers():
    look({"train": [Counting(n) for n in range(900)]}, workers=2)
    assert Alive.now == 0 and 1 <= Alive.most <= 3


def test_a_name_that_is_not_in_utf_8_is_told_as_ingest_would_tell_it():
    # As Python has the name of a file whose bytes are not UTF-8.
    name = b"stra\xdfe".decode("utf-8", "surrogateescape")
    found = look({"train": [Drawn(1, name=name), Drawn(2)]})
    assert found.problems == ["train: 'stra\\udcdfe': the name is not in UTF-8, as samples' names are; rename the file"]
    assert found.splits["train"].count == 2
