import pytest
from PIL import Image

from benchmarks.losses.figure import OURS, Line, draw
from benchmarks.losses.paired import Difference

LINES = [
    Line("the best", True, Difference(1.0, 0.5, 1.5, 5), Difference(0.2, -0.1, 0.5, 5)),
    Line("one seed", False, Difference(-0.5, None, None, 1), Difference(None, None, None, 0)),
]


def test_the_picture_names_every_loss_and_is_the_same_each_time(tmp_path):
    for name in ("one.svg", "two.svg"):
        draw(LINES, tmp_path / name, title="losses")
    text = (tmp_path / "one.svg").read_text()
    assert all(words in text for words in ("the best", "one seed", "mBA, points", "mIoU, points", "losses"))
    assert (tmp_path / "two.svg").read_text() == text


def test_without_an_interval_a_dot_is_hollow_and_without_a_difference_there_is_none(tmp_path):
    hollow, undefined = "fill: #ffffff; stroke: #1f77b4", Difference(None, None, None, 0)
    for mba, marks in ((LINES[1].mba, 1), (undefined, 0)):
        draw([LINES[0], LINES[1]._replace(mba=mba)], tmp_path / "figure.svg", title="losses")
        text = (tmp_path / "figure.svg").read_text()
        assert text.count(f'style="{hollow}') == marks
        # Two intervals of the other line, each with its dot.
        assert text.count("fill: #ff7f0e; stroke: #ff7f0e") >= 2


def test_a_png_is_small_and_has_the_colour_of_ours(tmp_path):
    draw(LINES, tmp_path / "figure.png", title="losses")
    picture = Image.open(tmp_path / "figure.png").convert("RGB")
    assert 600 < picture.width < 1200 and (tmp_path / "figure.png").stat().st_size < 100_000
    assert OURS == "tab:orange" and any(colour == (255, 127, 14) for _, colour in picture.getcolors(1 << 20))
    with pytest.raises(ValueError, match="is not supported"):
        draw(LINES, tmp_path / "figure.xyz", title="losses")
