import numpy as np
import pytest

from inverseform.data.canvas import (
    CLASSES,
    Canvas,
    at,
    blob,
    coast,
    corners,
    perspective,
    rotation,
    spline,
)


def random(seed=0):
    return np.random.default_rng(seed)


def canvas(height=40, width=60, seed=0):
    return Canvas(height, width, random(seed))


def area(points):
    """Of a polygon, by the shoelace formula."""
    x, y = points.T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_a_canvas_begins_as_one_class():
    begun = [np.unique(canvas(seed=seed).labels) for seed in range(20)]
    assert all(len(found) == 1 and found[0] < CLASSES for found in begun)
    assert len({int(found[0]) for found in begun}) > 5


def test_what_is_painted_later_lies_on_top():
    some = canvas()
    square = np.array([[10.0, 10], [29, 10], [29, 29], [10, 29]])
    some.fill(square, 50)
    some.fill(square / 2 + 10, 51)
    assert (some.labels == 50).any() and (some.labels[16:24, 16:24] == 51).all()
    some.fill(square, 52)
    assert not np.isin(some.labels, (50, 51)).any()


def test_a_polygon_its_mask_and_its_paint_cover_the_same_pixels():
    filled, painted = canvas(90, 90), canvas(90, 90)
    outline = blob(random(3), 20, wobble=0.3, decay=1.5) + at(45.0, 45.0)
    filled.fill(outline, 77)
    painted.paint(painted.mask(outline), 77)
    assert np.array_equal(filled.labels, painted.labels)
    assert (filled.labels == 77).sum() == pytest.approx(area(outline), rel=0.1)


@pytest.mark.parametrize("width", [1, 3, 7])
def test_a_stroke_is_as_wide_as_it_was_asked_for(width):
    some = canvas()
    some.stroke(np.array([[5.0, 20], [55, 20]]), width, 77)
    assert (some.labels[:, 30] == 77).sum() == width
    level = canvas()
    level.stroke(np.array([[5.0, 20], [55, 20]]), 0.1, 77)
    assert (level.labels[:, 30] == 77).sum() == 1


def test_put_replaces_everything():
    some, labels = canvas(), random(1).integers(0, 9, (40, 60)).astype(np.uint8)
    some.put(labels)
    assert np.array_equal(some.labels, labels)


def test_shaking_moves_pixels_about_as_far_as_it_was_asked_to():
    some = canvas(80, 80)
    columns = np.broadcast_to(np.arange(80, dtype=np.uint8), (80, 80)).copy()
    some.put(columns)
    some.shake(0.0, 10)
    assert np.array_equal(some.labels, columns)
    some.shake(2.0, 10)
    moved = some.labels.astype(float) - columns
    assert 1.2 < moved.std() < 3 and abs(moved.mean()) < 1


def test_counts_chances_and_lengths_stay_within_what_was_said():
    some = canvas()
    assert {some.count(2, 4) for _ in range(100)} == {2, 3, 4}
    assert not any(some.chance(0.0) for _ in range(50)) and all(some.chance(1.0) for _ in range(50))
    lengths = np.array([some.length(1, 100) for _ in range(2000)])
    assert lengths.min() >= 1 and lengths.max() <= 100
    # Uniform in its logarithm: as many under ten as over it.
    assert (lengths < 10).mean() == pytest.approx(0.5, abs=0.05)
    places = np.concatenate([some.place() for _ in range(200)])
    assert (places >= 0).all() and (places < (60, 40)).all() and places.max() > 55


@pytest.mark.parametrize(("period", "octaves"), [(8, 1), (8, 3), (30, 1)])
def test_noise_has_unit_size_and_is_smooth_over_its_period(period, octaves):
    noise = canvas(200, 240).noise(period, octaves)
    assert noise.shape == (200, 240) and 0.5 < noise.std() < 1.5
    steps = np.abs(np.diff(noise, axis=1)).mean()
    assert steps < 4 * 2**octaves / period
    assert np.abs(np.diff(canvas(200, 240).noise(2 * period, octaves), axis=1)).mean() < 0.75 * steps


def test_more_octaves_leave_the_size_of_noise_as_it_is():
    plain, rough = (canvas(200, 240).noise(16, octaves, roughness=1.0).std() for octaves in (1, 4))
    assert rough == pytest.approx(plain, rel=0.3)


def test_the_grid_is_x_and_y_of_every_pixel():
    grid = canvas().grid
    assert grid.shape == (40, 60, 2) and grid[7, 11].tolist() == [11, 7]


@pytest.mark.parametrize("radius", [3, 20, 300])
def test_a_blob_without_wobble_is_a_circle_and_wobble_departs_from_it(radius):
    circle = blob(random(), radius, wobble=0.0, decay=1.0)
    assert np.hypot(*circle.T) == pytest.approx(radius)
    ragged = np.stack([np.hypot(*blob(random(s), radius, wobble=0.4, decay=1.0).T) for s in range(60)])
    assert (ragged > 0).all() and np.log(ragged / radius).std() == pytest.approx(0.4, rel=0.15)


def test_a_flat_blob_is_so_much_lower_than_wide_until_it_is_turned():
    flat = blob(random(), 50, wobble=0.0, decay=1.0, flat=0.4)
    assert np.ptp(flat, axis=0) == pytest.approx((100, 40), rel=0.01)
    turned = blob(random(), 50, wobble=0.0, decay=1.0, flat=0.4, turn=np.pi / 2)
    assert np.ptp(turned, axis=0) == pytest.approx((40, 100), rel=0.01)


def test_a_faster_falling_series_is_smoother():
    smooth, ragged = (blob(random(5), 60, wobble=0.3, decay=decay) for decay in (2.5, 0.7))
    rough = [np.abs(np.diff(np.hypot(*outline.T))).mean() for outline in (smooth, ragged)]
    assert rough[0] < 0.5 * rough[1]


def test_corners_are_a_rectangle_or_one_with_a_part_cut_out():
    found = [corners(random(seed), 20, 10) for seed in range(40)]
    assert {len(points) for points in found} == {4, 6}
    for points in found:
        assert np.ptp(points, axis=0).tolist() == [20, 10]
        assert area(points) == 200 if len(points) == 4 else area(points) < 200
    turned = corners(random(1), 20, 10, turn=0.7)
    assert area(turned) == pytest.approx(area(corners(random(1), 20, 10)))


def test_a_coast_runs_from_start_to_end_and_wavers_as_asked():
    start, end = at(10.0, 5.0), at(90.0, 65.0)
    straight = coast(random(), start, end, wobble=0.0, decay=1.0)
    assert straight[0] == pytest.approx(start[0]) and straight[-1] == pytest.approx(end[0])
    normal = np.array([-0.6, 0.8])
    assert (straight - start) @ normal == pytest.approx(0, abs=1e-9)
    departures = [((coast(random(s), start, end, wobble=0.1, decay=1.0) - start) @ normal) for s in range(40)]
    assert np.std(np.concatenate(departures)) == pytest.approx(0.1 * 100, rel=0.3)


def test_a_spline_goes_through_its_points():
    points = random(2).uniform(0, 50, (5, 2))
    curve = spline(points, steps=9)
    # Each stretch of nine begins at a point and ends at the next.
    assert curve[::9][:4] == pytest.approx(points[:4]) and curve[8::9][:4] == pytest.approx(points[1:])


def test_turns_keep_lengths_and_a_quarter_takes_x_to_y():
    points = random(3).normal(size=(9, 2))
    assert np.hypot(*(points @ rotation(0.8)).T) == pytest.approx(np.hypot(*points.T))
    assert (at(1.0, 0.0) @ rotation(np.pi / 2))[0] == pytest.approx([0, 1])
    assert rotation(0.3) @ rotation(0.5) == pytest.approx(rotation(0.8))


def test_perspective_is_affine_without_a_last_row_and_keeps_lines_straight_with_one():
    matrix = np.array([[2.0, 0.5, 3], [0.1, 1.5, -1], [0, 0, 1]])
    points = np.array([[0.0, 0], [0.25, 0.25], [0.5, 0.5]])
    assert perspective(points, matrix) == pytest.approx(points @ matrix[:2, :2].T + matrix[:2, 2])
    matrix[2] = (0.3, -0.2, 1)
    a, b, c = perspective(points, matrix)
    assert np.cross(np.append(b - a, 0), np.append(c - a, 0))[2] == pytest.approx(0)
    # The middle of a line is no longer in its middle.
    assert np.hypot(*(b - a)) != pytest.approx(np.hypot(*(c - b)), rel=0.01)
