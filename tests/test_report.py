import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.metrics.segmentation import Confusion
from inverseform.overlay import Drawn, panels
from inverseform.report import Contents, render

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)> & co"
COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def contents(*, name="road", passed=True):
    """A small evaluation of two classes that occur and one that does not."""
    image = torch.randint(0, 256, (3, 30, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.zeros(30, 40, dtype=torch.uint8)
    labels[:, 20:] = 1
    predicted = labels.roll(1, dims=1)
    confusion, boundary = Confusion(3), BoundaryAccuracy()
    confusion.update(predicted, labels)
    mba = boundary.update(predicted, labels)
    checks = [{"metric": "miou", "value": 0.9, "threshold": 0.5, "passed": True}]
    checks += [{"metric": "mba", "value": None, "threshold": 0.5, "reason": name, "passed": False}] * (not passed)
    return Contents(
        title=f"{name}, split val",
        facts={"Data set": name, name: "value"},
        params={name: name},
        classes=(name, "tree", "absent"),
        colours=COLOURS,
        counts=confusion.counts,
        boundary=boundary.scores(),
        gate={"passed": passed, "checks": checks},
        curves={name: [(0.0, 2.0), (1.0, 1.0)]},
        drawn=[Drawn(name, mba, 0.95, panels(image, labels, predicted, colours=COLOURS)), Drawn(f"{name} 2", None, None,
               panels(image, labels, predicted, colours=COLOURS))],
    )  # fmt: skip


class Reader(HTMLParser):
    """Collects what a browser would see: tags with their attributes, and text."""

    VOID = ("meta", "img")

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_well_formed():
    reader = Reader(render(contents()))
    assert reader.open == []


def test_the_page_asks_for_nothing_from_elsewhere():
    page = render(contents())
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    assert not re.search(r"@import|url\(", page)
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    for tag, attributes in reader.tags:
        assert "href" not in attributes
        assert tag != "img" or attributes["src"].startswith("data:image/")


def test_every_string_from_outside_is_escaped():
    page = render(contents(name=HOSTILE, passed=False))
    reader = Reader(page)
    assert "<script" not in page
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert {tag for tag, _ in reader.tags} == {tag for tag, _ in Reader(render(contents(passed=False))).tags}
    # It is still told, as text, wherever a plain name would be.
    assert "".join(reader.text).count("onerror=alert(1)> & co") == "".join(
        Reader(render(contents(passed=False))).text
    ).count("road")


def test_the_same_contents_give_the_same_bytes():
    assert render(contents()) == render(contents())


def test_pictures_are_inside_and_whole():
    reader = Reader(render(contents()))
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert len(pictures) == 8
    for attributes in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition("base64,")[2])))
        picture.load()
        assert picture.size == (40, 30)
        assert attributes["alt"]


def test_scores_stand_on_the_page_with_what_they_mean():
    shown = contents()
    text = " ".join(Reader(render(shown)).text)
    # One column of each class is taken for the other: 19 of the 21 that are of a class or were said to be.
    assert f"{100 * 19 / 21:.1f} % Mean IoU" in text
    assert f"{100 * shown.boundary.mba:.1f} % Mean boundary accuracy Of the pixels close to a true boundary" in text
    assert "95.0 % Pixel accuracy" in text
    for distance in (1, 2, 3, 5):
        assert f"within {distance} px" in text
    assert "1 of the classes occur in neither" in text


@pytest.mark.parametrize(("passed", "verdict"), [(True, "The gate is passed:"), (False, "The gate is not passed:")])
def test_the_verdict_of_the_gate_is_told(passed, verdict):
    assert verdict in " ".join(Reader(render(contents(passed=passed))).text)


def test_an_undefined_figure_is_called_undefined_and_never_nan():
    flat = BoundaryAccuracy()
    flat.update(torch.zeros(9, 9, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8))
    page = render(replace(contents(), boundary=flat.scores(), counts=torch.zeros(3, 3, dtype=torch.int64)))
    text = " ".join(Reader(page).text)
    assert "undefined Mean boundary accuracy" in text
    assert "1 images have no boundary and are left out" in text
    assert "nan" not in text.lower()


def test_a_term_that_was_0_at_every_step_is_named_and_not_drawn():
    page = render(replace(contents(), curves={"total": [(0.0, 2.0), (1.0, 1.0)], "dead & gone": [(0.0, 0.0)]}))
    assert "0 at every step: dead &amp; gone." in page and page.count("<figcaption") == render(contents()).count(
        "<figcaption"
    )
    assert "0 at every step" not in render(contents())


def test_without_samples_and_curves_there_still_is_a_page():
    page = render(replace(contents(), drawn=[], curves={}))
    assert "<img" not in page
    assert "No curve was recorded" in page
