"""A small evaluation, and the page as a browser sees it."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import torch

from inverseform.evaluation.comparison import compare
from inverseform.evaluation.figures import estimates
from inverseform.evaluation.measures import Columns
from inverseform.metrics.segmentation import Confusion
from inverseform.overlay import Drawn, panels
from inverseform.report.page import Contents
from tests.evaluation.drawn import scene, table

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> & co"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def contents(*, name="road", passed=True, against=False):
    """An evaluation of two classes that occur and one that does not, alone or against another."""
    scenes = [scene(seed) for seed in range(4)]
    images, confusion = table(scenes), Confusion(3)
    for predicted, _, labels in scenes:
        confusion.update(predicted, labels)
    classes = (name, "tree, large", "absent")
    images = renamed(images, classes)
    earlier = renamed(table([scene(seed, wrong=0.2) for seed in range(4)]), classes)
    checks = [{"metric": "miou", "value": 0.9, "threshold": 0.5, "passed": True}]
    checks += [{"metric": "mba", "value": None, "threshold": 0.5, "reason": name, "passed": False}] * (not passed)
    sums, groups = images.counts.sum(0), images.columns.groups
    return Contents(
        title=f"{name}, split val", facts={"Data set": name, name: "value"}, params={name: name}, classes=classes,
        colours=COLOURS, counts=confusion.counts,
        bins=torch.stack([sums[groups[f"bin_{what}"]] for what in ("pixels", "confidence", "right")]),
        figures=estimates(images), images=4, without_boundary=0, gate={"passed": passed, "checks": checks},
        curves={name: [(0.0, 2.0), (1.0, 1.0)]}, worst=[drawn(name, 0.25), drawn(f"{name} 2", None)],
        median=[drawn(f"{name} 3", 0.5)], comparison=compare(images, earlier, path=Path(name)) if against else None,
    )  # fmt: skip


def renamed(images, classes):
    """The same table, as if the classes had other names."""
    return replace(images, columns=Columns(classes))


def drawn(name, mba):
    """A sample to look at."""
    image = torch.randint(0, 256, (3, 30, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    predicted, _, labels = scene(0)
    return Drawn(name, mba, 0.95, panels(image, labels, predicted, colours=COLOURS))


class Reader(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and text."""

    VOID = ("meta", "img", "input", "br")

    def __init__(self, page):
        super().__init__()
        self.tags, self.pieces, self.open = [], [], []
        self.feed(page)

    @property
    def text(self):
        """All that is written, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.pieces.append(data)
