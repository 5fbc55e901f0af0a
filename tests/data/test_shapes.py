import numpy as np
import pytest

from inverseform.data import shapes
from inverseform.data.canvas import CLASSES, Canvas, at
from inverseform.data.scenes import LAYERS

EVERY = [*LAYERS, shapes.specks]


def painted(layer, seed, height=96, width=128):
    canvas = Canvas(height, width, np.random.default_rng(seed))
    layer(canvas)
    return canvas.labels


@pytest.mark.parametrize("layer", EVERY, ids=lambda layer: layer.__name__)
def test_every_layer_draws_boundaries_at_any_size(layer):
    for height, width in ((96, 128), (64, 200), (200, 64)):
        labels = [painted(layer, seed, height, width) for seed in range(5)]
        assert all(some.shape == (height, width) and some.max() < CLASSES for some in labels)
        assert sum(len(np.unique(some)) > 1 for some in labels) >= 4


@pytest.mark.parametrize("layer", EVERY, ids=lambda layer: layer.__name__)
def test_a_layer_is_a_function_of_its_generator(layer):
    assert np.array_equal(painted(layer, 1), painted(layer, 1))
    assert len({painted(layer, seed).tobytes() for seed in range(4)}) > 1


def test_every_public_layer_is_used():
    named = {name for name, value in vars(shapes).items() if getattr(value, "__module__", "") == shapes.__name__}
    # A crown is what crowns are made of, and a street plants them by itself.
    assert named - {"crown"} == {layer.__name__ for layer in EVERY}


def test_a_crown_stands_where_it_was_put_and_is_about_as_large():
    for seed in range(5):
        canvas = Canvas(200, 200, np.random.default_rng(seed))
        shapes.crown(canvas, at(100.0, 100.0), 30, 77)
        rows, columns = (canvas.labels == 77).nonzero()
        assert abs(rows.mean() - 100) < 30 and abs(columns.mean() - 100) < 30
        assert 10 < np.hypot(rows - rows.mean(), columns - columns.mean()).max() < 100


def test_every_pixel_of_the_cells_is_of_the_nearest_site():
    height, width = 20, 30
    random, twin = np.random.default_rng(4), np.random.default_rng(4)
    canvas = Canvas(height, width, random)
    shapes.cells(canvas)
    same = Canvas(height, width, twin)
    sites = twin.uniform(0, (width, height), (round(same.length(5, 60)), 2))
    y, x = np.indices((height, width))
    nearest = np.hypot(x[..., None] - sites[:, 0], y[..., None] - sites[:, 1]).argmin(-1)
    classes = np.array([same.klass() for _ in sites])
    assert np.array_equal(canvas.labels, classes[nearest])


def roughness(layer):
    """Share of pixels at a boundary, over a few canvases."""
    maps = [painted(layer, seed) for seed in range(12)]
    return np.mean([(np.diff(some.astype(int), axis=1) != 0).mean() for some in maps])


def test_layers_differ_from_a_few_long_borders_to_fine_texture():
    assert roughness(shapes.coasts) < roughness(shapes.blobs)
    assert roughness(shapes.coasts) < roughness(shapes.cells)
    assert roughness(shapes.specks) < roughness(shapes.glyphs)
