from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from inverseform.boundary import boundaries
from inverseform.data import scenes
from inverseform.data.canvas import CLASSES, Canvas
from inverseform.data.scenes import LAYERS, SCENES, draw
from inverseform.sample import IGNORE_INDEX


def drawn(seed, height=96, width=128):
    return draw(height, width, np.random.default_rng(seed))


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_every_kind_of_scene_draws_boundaries_at_any_size(scene):
    for height, width in ((96, 128), (64, 200), (200, 64)):
        found = 0
        for seed in range(4):
            canvas = Canvas(height, width, np.random.default_rng(seed))
            scene(canvas)
            assert canvas.labels.shape == (height, width) and canvas.labels.max() < CLASSES
            found += len(np.unique(canvas.labels)) > 1
        assert found >= 3


def test_a_scene_is_a_function_of_its_generator():
    assert np.array_equal(drawn(3), drawn(3))
    assert len({drawn(seed).tobytes() for seed in range(10)}) == 10


def test_some_of_the_scenes_have_a_little_that_nobody_knows_and_all_else_is_a_class():
    maps = [drawn(seed) for seed in range(40)]
    unknown = [(labels == IGNORE_INDEX).mean() for labels in maps]
    assert 0.05 < np.mean([share > 0 for share in unknown]) < 0.5
    # Patches and seams: never the larger part of a scene.
    assert max(unknown) < 0.5
    assert all(((labels < CLASSES) | (labels == IGNORE_INDEX)).all() for labels in maps)


def test_kinds_of_scenes_come_as_frequently_as_their_weights_say(monkeypatch):
    # Scenes that paint nothing but say that they were chosen.
    seen = []
    counted = {lambda canvas, kind=kind: seen.append(kind): weight for kind, weight in SCENES.items()}
    monkeypatch.setattr(scenes, "SCENES", counted)
    for seed in range(600):
        draw(32, 32, np.random.default_rng(seed))
    for kind, count in Counter(seen).items():
        assert count / 600 == pytest.approx(SCENES[kind] / sum(SCENES.values()), abs=0.07)
    assert set(seen) == set(SCENES)


def test_a_street_goes_from_small_things_far_off_to_large_ones_near():
    upper = lower = 0
    for seed in range(12):
        canvas = Canvas(128, 192, np.random.default_rng(seed))
        scenes.street(canvas)
        edges = np.diff(canvas.labels.astype(int), axis=1) != 0
        # The vanishing point is between 0.3 and 0.55 of the height: around it there is more to see than at the foot.
        upper, lower = upper + edges[38:90].mean(), lower + edges[100:].mean()
    assert upper > lower


def test_a_medley_is_of_several_layers(monkeypatch):
    seen = []
    monkeypatch.setattr(scenes, "LAYERS", [lambda canvas, n=n: seen.append(n) for n in range(len(LAYERS))])
    for seed in range(60):
        before = len(seen)
        scenes.medley(Canvas(8, 8, np.random.default_rng(seed)))
        assert 2 <= len(seen) - before <= 5 and len(set(seen[before:])) == len(seen) - before
    assert set(seen) == set(range(len(LAYERS)))


@pytest.fixture(scope="module")
def maps():
    """Boundary maps of a few dozen scenes, at the size that CamVid's are compared at."""
    labels = np.stack([drawn(seed, 384, 512) for seed in range(24)])
    return boundaries(torch.from_numpy(labels), num_classes=CLASSES)[0]


def test_tiles_are_occupied_as_diversely_as_those_of_street_scenes(maps):
    # Of CamVid's 128-pixel tiles, 5, 25, 50, 75 and 95% have at most .01, .04, .07, .10 and .15 boundary.
    low, middle, high = F.avg_pool2d(maps, 128).flatten().quantile(torch.tensor([0.1, 0.5, 0.9]))
    assert low < 0.02
    assert 0.045 < middle < 0.1
    assert 0.12 < high < 0.25


def test_boundaries_run_in_every_direction_and_more_of_them_upright_or_level(maps):
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    across, down = F.conv2d(F.avg_pool2d(maps, 5, stride=1), torch.stack([sobel, sobel.T])[:, None]).unbind(1)
    angle = torch.atan2(down, across)[torch.hypot(across, down) > 0.2] % torch.pi
    turns = torch.bincount((angle / torch.pi * 4).round().long() % 4, minlength=4).float()
    shares = turns / turns.sum()
    assert shares.min() > 0.1
    assert shares[::2].sum() > shares[1::2].sum()
