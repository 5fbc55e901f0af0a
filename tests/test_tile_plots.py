import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from inverseform.tile_plots import (
    FALL,
    PREDICTED,
    RISE,
    TARGET,
    Curve,
    curves,
    histogram,
    legend,
    overlaid,
    picture,
    signed,
    strip,
)

HOSTILE = "<script>\"'&"


def curve(values=(0.0, 0.5, 1.0), apart=0.8, **more):
    return Curve("a loss", (1, 2, 3), "4 4", list(zip((0.0, 1.0, 4.0), values, strict=True)), apart, **more)


def places(page):
    """Points of the lines of a chart."""
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline points="([^"]*)"', page)
    ]


def test_two_maps_are_two_inks_on_white_paper():
    target, predicted = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    pixels = overlaid(target, predicted)
    both = [round(a * b / 255) for a, b in zip(TARGET, PREDICTED, strict=True)]
    assert np.abs(pixels[0, 0].astype(int) - both).max() <= 1
    assert tuple(pixels[0, 1]) == TARGET and tuple(pixels[1, 0]) == PREDICTED and tuple(pixels[1, 1]) == (255,) * 3


def test_a_fainter_map_is_a_paler_ink():
    values = torch.linspace(0, 1, 5).expand(5, 5)
    shades = overlaid(torch.zeros(5, 5), values)[0, :, 2].astype(int)
    assert (np.diff(shades) < 0).all()


def test_what_should_rise_is_red_and_what_should_fall_is_blue():
    force, target = torch.zeros(20, 20), torch.zeros(20, 20)
    force[:4], force[-4:], target[10] = 2.0, -2.0, 1.0
    pixels = signed(force, target)
    assert tuple(pixels[0, 0]) == RISE and tuple(pixels[-1, 0]) == FALL and tuple(pixels[7, 0]) == (255,) * 3
    assert 150 < pixels[10, 0].max() < 230 and np.ptp(pixels[10, 0]) == 0


def test_a_field_of_zeros_is_paper():
    assert (signed(torch.zeros(8, 8), torch.zeros(8, 8)) == 255).all()


def test_a_picture_holds_its_pixels_and_escapes_its_name():
    pixels = np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8)
    page = picture(pixels, name=HOSTILE, caption="<b>1</b>")
    data = re.search(r"base64,([^\"]+)", page).group(1)
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == pixels).all()
    assert "<script" not in page and "<b>1</b>" in page


def test_a_strip_has_a_column_for_each_picture():
    assert "--n:3" in strip(["a", "b", "c"]) and "wide" not in strip(["a"]) and "wide" in strip(["a"], wide=True)


def test_more_is_farther_right_and_dearer_is_higher():
    page = curves([curve()], name=HOSTILE, unit=HOSTILE, top=1.0)
    [[first, middle, last]] = places(page)
    assert first[0] < middle[0] < last[0] and first[1] > middle[1] > last[1]
    assert middle[0] - first[0] == pytest.approx((last[0] - first[0]) / 4, abs=0.1)
    assert middle[1] - last[1] == pytest.approx((first[1] - last[1]) / 2, abs=0.1)
    assert "<script" not in page


def test_what_stands_apart_is_on_the_same_scale_and_right_of_the_curve():
    page = curves([curve(apart=0.5)], name="", unit="", top=1.0)
    x, y = map(float, re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', page).groups())
    [points] = places(page)
    assert x > points[-1][0] and y == pytest.approx(points[1][1], abs=0.1)


def test_a_band_goes_round_its_curve():
    band = [(0.0, 0.1), (0.4, 0.6), (0.9, 1.1)]
    page = curves([curve(band=band, spread=(0.7, 0.9))], name="", unit="", top=1.1)
    ys = [float(point.split(",")[1]) for point in re.search(r'<polygon points="([^"]*)"', page).group(1).split()]
    [points] = places(page)
    assert len(ys) == 6 and all(up <= y <= down for (_, y), down, up in zip(points, ys[:3], ys[:2:-1], strict=True))


def test_what_is_not_finite_is_left_out():
    page = curves([curve((0.0, float("nan"), 1.0), apart=float("nan"))], name="", unit="", top=1.0)
    assert "nan" not in page and len(places(page)[0]) == 2 and "<circle" not in page


def test_a_histogram_is_tallest_where_the_values_are():
    values = torch.cat([torch.full((30,), 0.5), torch.full((10,), -0.5), torch.zeros(20)])
    page = histogram(values, name=HOSTILE, unit="half tiles")
    heights = [float(h) for h in re.findall(r"v-([\d.]+)h", page)]
    assert heights == pytest.approx([80 / 3, 160 / 3, 80], abs=0.01)
    assert "mean 0.167" in page and "<script" not in page and "half tiles" in page


def test_a_histogram_of_what_never_varies_is_one_bar():
    page = histogram(torch.zeros(5), name="tilt", unit="")
    assert page.count("h6.83") == 1 and "spread 0.000" in page


def test_the_legend_shows_each_curve_as_it_is_drawn():
    page = legend([curve(), curve()._replace(label=HOSTILE, dash="")])
    assert page.count("<li>") == 2 and 'stroke-dasharray="4 4"' in page and "a loss" in page and "<script" not in page
