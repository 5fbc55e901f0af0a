import re

import torch

from inverseform.exhibits import LOSSES, WAYS, Sensitivity
from inverseform.figure_two import all_boundaries, one_boundary
from inverseform.probes import probes

MOVES = [p for n, p in enumerate(probes(32)) if n == 0 or WAYS.get(p.move) == p.direction]


def answers(tiles=3, others=2):
    """Cross entropy is full at 2 pixels, the distances grow by 0.1 a step; a swap costs 4 times as much at most."""
    values = torch.zeros(tiles, len(MOVES), len(LOSSES))
    for column, probe in enumerate(MOVES[1:], start=1):
        step = [p.amount for p in MOVES if p.move == probe.move].index(probe.amount) + 1
        values[:, column, 0] = min(step, 2)
        values[:, column, 1:] = 0.1 * step
    values = values * torch.tensor([0.5, 1.0, 1.5])[:tiles, None, None]
    swapped = torch.tensor([2.0, 2.4, 0.3, 2.4]).expand(tiles, others, 4)
    moved = torch.zeros(len(MOVES), 32, 32)
    moved[:, 4:6] = 1
    return Sensitivity(MOVES, values, swapped, tiles // 2, moved, torch.ones(others, 32, 32))


def text(page):
    return re.sub(r"<[^>]*>", " ", page)


def lines(page):
    return re.findall(r'<polyline points="([^"]*)"', page)


def test_each_loss_is_one_at_its_largest_and_the_largest_is_told():
    page = one_boundary(answers())
    told = "cross entropy, balanced 2, InverseForm, Euclidean 2.4, InverseForm, geodesic 0.6, InverseForm, Lie 2.4"
    assert told in text(page)
    # Of the geodesic distance the largest is a shift of 6 pixels, of the Euclidean a swap.
    tops = [min(float(point.split(",")[1]) for point in line.split()) for line in lines(page)]
    assert tops[0] == 10.0 and tops[2] == 10.0 and tops[1] > 100


def test_there_are_four_moves_with_pictures_above_their_curves_and_the_swaps():
    page = one_boundary(answers())
    for heading in ("It slides", "It turns", "It grows", "It shears"):
        assert f"<b>{heading}</b></figcaption><div" in page
    assert len(lines(page)) == 4 * len(LOSSES)
    assert page.count("<img") == 4 * 5 + 2


def test_the_mean_has_bands_between_the_quartiles():
    page = all_boundaries(answers())
    assert page.count("<polygon") == 4 * len(LOSSES)
    assert "mean over 3 unseen tiles" in text(page)


def test_a_loss_that_has_said_all_early_is_told_from_one_that_goes_on():
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', all_boundaries(answers()))[: len(LOSSES)]
    cells = {name: re.findall(r"<td>([^<]*)</td>", row) for name, row in rows}
    # Dearest moves: 2 and 0.6 of the middle tile; a swap costs 2, 2.4 and 0.3; of three tiles one moves for less.
    assert cells["cross entropy, balanced"] == ["100.0 %", "1", "1", "33.3 %"]
    assert cells["InverseForm, Euclidean"] == ["50.0 %", "4", "4", "100.0 %"]
    assert cells["InverseForm, geodesic"] == ["50.0 %", "0.5", "0.5", "0.0 %"]


def test_the_raw_values_stand_in_the_table():
    page = all_boundaries(answers())
    assert '<th scope="row">shift 3</th><td>2</td><td>2<small>1.5 to 2.5</small></td><td>0.3</td>' in page
    assert page.count('<th scope="row">') == len(LOSSES) + len(MOVES) + 1


def test_a_tile_that_is_alone_is_swapped_for_none_and_nothing_is_nan():
    page = one_boundary(answers(1, 0)) + all_boundaries(answers(1, 0))
    assert "nan" not in page and "undefined" in page and "<circle" not in page and "It is swapped" not in page
