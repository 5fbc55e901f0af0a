import io

import numpy as np
import torch
from PIL import Image

from inverseform.overlay import RIGHT, WRONG, WRONG_INSIDE, draw, error, jpeg, middle, paint, panels, png, strip, worst
from inverseform.sample import Sample

COLOURS = [(255, 0, 0), (0, 0, 255)]


def halves():
    """A grey image whose right half is of class 1."""
    labels = torch.zeros(20, 40, dtype=torch.uint8)
    labels[:, 20:] = 1
    return torch.full((3, 20, 40), 128, dtype=torch.uint8), labels


def test_labels_take_the_colours_of_their_classes():
    picture = paint(torch.tensor([[0, 1]], dtype=torch.uint8), colours=COLOURS)
    assert picture.tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_ignored_pixels_are_hatched_in_grey():
    picture = paint(torch.full((8, 8), 255, dtype=torch.uint8), colours=COLOURS)
    assert (picture == picture[..., :1]).all()
    assert len(np.unique(picture)) == 2


def test_a_perfect_prediction_shows_no_error():
    image, labels = halves()
    found = {tuple(colour) for colour in error(image, labels, labels).reshape(-1, 3).tolist()}
    assert RIGHT in found
    assert not found & {WRONG, WRONG_INSIDE}


def test_errors_are_told_apart_by_their_distance_from_the_boundary():
    image, labels = halves()
    predicted = labels.clone()
    predicted[5, 21] = 0
    predicted[5, 35] = 0
    picture = error(image, labels, predicted)
    assert tuple(picture[5, 21].tolist()) == WRONG
    assert tuple(picture[5, 35].tolist()) == WRONG_INSIDE
    assert tuple(picture[6, 21].tolist()) == RIGHT
    # Without an error and away from the boundary the image shows through.
    assert len(set(picture[6, 35].tolist())) == 1


def test_an_ignored_pixel_is_neither_right_nor_wrong():
    image, labels = halves()
    labels[:, 18:22] = 255
    found = {tuple(colour) for colour in error(image, labels, labels * 0)[:, 18:22].reshape(-1, 3).tolist()}
    assert not found & {RIGHT, WRONG, WRONG_INSIDE}


def test_large_samples_are_drawn_smaller_and_keep_their_shape():
    image, labels = halves()
    small = panels(image, labels, labels, colours=COLOURS, longest=10)
    assert [panel.shape for panel in small] == [(5, 10, 3)] * 4
    # Classes never blend: no colour between two classes' stands for a third.
    assert {tuple(colour) for colour in small.truth.reshape(-1, 3).tolist()} == set(COLOURS)


def test_a_strip_holds_the_four_panels():
    image, labels = halves()
    four = panels(image, labels, labels, colours=COLOURS)
    picture = np.asarray(strip(four))
    assert picture.shape == (20, 4 * 40 + 3 * 6, 3)
    for number, panel in enumerate(four):
        np.testing.assert_array_equal(picture[:, 46 * number : 46 * number + 40], panel)


def test_png_is_exact_and_both_formats_are_deterministic():
    image, labels = halves()
    picture = panels(image, labels, labels, colours=COLOURS).truth
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(picture)))), picture)
    assert png(picture) == png(picture.copy())
    assert jpeg(picture) == jpeg(picture.copy())


def test_drawing_changes_nothing_it_is_given():
    image, labels = halves()
    before = image.clone(), labels.clone()
    panels(image, labels, 1 - labels, colours=COLOURS)
    assert torch.equal(image, before[0])
    assert torch.equal(labels, before[1])


SCORES, NAMES = [0.5, None, 0.25, 1.0, 0.25], "abcde"


def test_the_worst_come_first_by_name_where_they_are_equal_and_those_without_a_boundary_last():
    assert worst(SCORES, NAMES, most=9) == [2, 4, 0, 3, 1]
    assert worst(SCORES, NAMES, most=3) == [2, 4, 0]
    assert worst(SCORES, NAMES, most=0) == []


def test_the_middle_is_about_the_median_and_what_is_shown_already_is_not_shown_again():
    scores = [place / 10 for place in (4, 0, 3, 1, 2)]
    assert middle(scores, NAMES, most=1, beside=[]) == [4]
    assert middle(scores, NAMES, most=3, beside=[]) == [3, 4, 2]
    assert middle(scores, NAMES, most=1, beside=[4]) == [3]
    assert middle(scores, NAMES, most=9, beside=[1, 3]) == [4, 2, 0]
    assert middle(SCORES, NAMES, most=9, beside=[]) == [2, 4, 0, 3]
    assert middle([None, None], "ab", most=1, beside=[]) == []


def test_accuracy_is_over_the_known_pixels():
    image, labels = halves()
    labels[:, :10] = 255
    nothing = torch.zeros(1, 20, 40)
    drawn = draw(Sample("a", image, labels, nothing, nothing), labels * 0, mba=0.5, colours=COLOURS)
    assert (drawn.name, drawn.mba, drawn.accuracy) == ("a", 0.5, 1 / 3)
    unknown = Sample("a", image, torch.full_like(labels, 255), nothing, nothing)
    assert draw(unknown, labels * 0, mba=None, colours=COLOURS).accuracy is None
