import numpy as np
import pytest
import torch

from components.contact_sheet import COLUMNS, WIDTH, Cell, contact_sheet
from inverseform.boundary import boundaries

COLOURS = ((200, 0, 0), (0, 0, 200))


def cell(height=120, width=160, *, edge=True):
    """Class 0 on the left, 1 on the right, void at the bottom, on a black photograph."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 1
    labels[height // 2 :] = 255
    boundary = boundaries(torch.from_numpy(labels)[None], num_classes=2)[0][0]
    shown = (boundary[0] > 0).numpy() & edge
    return Cell("train  x", np.zeros((height, width, 3), np.uint8), labels, shown)


def pixels(cells, classes=("left", "right")):
    return np.asarray(contact_sheet(cells, classes, COLOURS)).astype(int)


def test_each_sample_is_a_photograph_and_the_same_with_the_colours_of_its_labels():
    sheet = pixels([cell()])
    # The photograph, to the left, is the only black; the labels beside it are 0.6 of their colours.
    assert (sheet[60, 20] == 0).all()
    row = sheet[60, WIDTH + 12 : 2 * WIDTH]
    assert (row[10] == (120, 0, 0)).all() and (row[-10] == (0, 0, 120)).all()
    bottom = sheet[200, WIDTH + 12 : 2 * WIDTH]
    assert (np.ptp(bottom, axis=1) == 0).all() and len(np.unique(bottom)) == 2


@pytest.mark.parametrize("factor", [1, 3, 13])
def test_boundaries_are_white_lines_at_any_size_of_the_image(factor):
    shown, hidden = (pixels([cell(120 * factor, 160 * factor, edge=edge)]) for edge in (True, False))
    row = (shown[60] != hidden[60]).any(axis=1)
    middle = WIDTH + 12 + WIDTH // 2
    assert row.any() and abs(np.flatnonzero(row) - middle).max() <= 4
    assert (shown[60][row] == 255).all()


def test_the_sheet_grows_by_rows_and_shows_all_classes():
    one, full, more = (pixels([cell()] * count).shape for count in (1, COLUMNS, COLUMNS + 1))
    assert one == full and more[1] == full[1] and more[0] > full[0] + 200
    many = contact_sheet([cell()], [f"class {n}" for n in range(60)], [(n, 5 * n % 256, 77) for n in range(60)])
    found = np.asarray(many).reshape(-1, 3)
    assert all((found == (n, 5 * n % 256, 77)).all(axis=1).any() for n in range(60))


def test_a_long_name_stays_in_its_place_and_no_sample_is_a_legend_alone():
    long = cell()._replace(title="a" * 300)
    sheet = pixels([long])
    assert (sheet[:22, 2 * WIDTH + 16 :] == 255).all() and (sheet[:22, : 2 * WIDTH] < 128).any()
    assert pixels([]).shape[0] < 60
