import re
from dataclasses import replace

import pytest

from inverseform.inverse_report import gather, render
from inverseform.metrics.gate import InverseGateParams, checks
from tests.drawn import pair_stores, small_net
from tests.report.drawn import HOSTILE, Reader

GATE = InverseGateParams(
    r2=0.5, r2_degraded=0.3, identity_ratio=0.3, spearman=0.6, points_back=0.95, points_back_degraded=0.85,
    normal_error_pixels=1.0,
)  # fmt: skip
FIGURES = {
    "r2": 0.75, "r2_degraded": 0.5, "identity_ratio": 0.1, "points_back": 0.992, "points_back_degraded": 0.96,
    "normal_error_pixels": 0.31, **{f"spearman_{move}": 0.9 for move in ("shift", "scale", "rotation", "shear")},
    "r2_each": [0.9, 0.8, 0.7, 0.6, -3.0, None], "r2_degraded_each": [0.5] * 6,
}  # fmt: skip


def contents(stores, **changes):
    figures = FIGURES | changes
    return gather(
        small_net(tile=32).eval(), stores, lambda pairs: pairs.warped.float(), figures=figures,
        checks=checks(figures, GATE, degrees_of_freedom=6), params={"init": "random"},
        curves={"total": [(1.0, 2.0), (2.0, 1.0)]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return pair_stores(tmp_path_factory.mktemp("inverse_report") / "pairs", tile=32)


@pytest.fixture(scope="module")
def made(stores):
    return contents(stores)


def test_the_page_is_well_formed_and_asks_for_nothing_from_elsewhere(made):
    page = render(made)
    reader = Reader(page)
    assert reader.open == []
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert not re.search(r"https?:|@import|url\(|href", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    assert all(attributes["src"].startswith("data:image/") for tag, attributes in reader.tags if tag == "img")


def test_the_same_network_and_pairs_give_the_same_bytes(made, stores):
    assert render(made) == render(contents(stores))


def test_every_section_is_there(made):
    text = Reader(render(made)).text
    for heading in (
        "The gate", "One boundary, moved", "All boundaries, moved", "Pairs, aligned", "Where the gradient pushes",
        "What it explains", "The transforms of the pairs", "What was run",
    ):  # fmt: skip
        assert heading in text
    assert "dense at tile 32" in text and "24 train, 24 val" in text


def test_the_gate_is_told_with_each_figure_and_threshold(made, stores):
    text = Reader(render(made)).text
    assert "The gate is passed:" in text and "missed" not in text.partition("The gate is passed")[2].split("Pairs")[0]
    missed = Reader(render(contents(stores, points_back=0.94, r2=None))).text
    assert "The gate is not passed:" in missed and "0.940, missed" in missed and "undefined, missed" in missed
    assert "at least 0.95" in missed and "at most 0.3" in missed


def test_a_figure_below_zero_or_without_a_value_has_no_bar_and_is_told(made):
    page = render(made)
    assert "width:-" not in page and "-300.0 %" in page and "undefined" in page
    assert "nan" not in Reader(page).text.lower()


def test_every_number_of_theta_has_its_histogram_and_its_share(made):
    page = render(made)
    for name in ("width", "slant of columns", "shift right", "slant of rows", "height", "shift down"):
        assert page.count(f"<b>{name}</b>, mean") == page.count(f'<span class="name">{name}</span>') == 1
    assert made.offsets.shape == (24, 6)


def test_every_string_from_outside_is_escaped(made):
    hostile = replace(
        made, title=HOSTILE, facts={HOSTILE: HOSTILE}, params={HOSTILE: HOSTILE}, curves={HOSTILE: [(0.0, 1.0)]}
    )
    page = render(hostile)
    assert "<script" not in page and "alert" in page
    assert {tag for tag, _ in Reader(page).tags} == {tag for tag, _ in Reader(render(made)).tags}
