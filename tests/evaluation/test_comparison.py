from dataclasses import replace

import pytest

from inverseform.evaluation.comparison import MOST_CHANGED, compare
from inverseform.evaluation.figures import by_image
from inverseform.settings import InputError
from tests.evaluation.drawn import scene, table


def test_images_are_named_by_how_much_they_changed(tmp_path):
    earlier = table([scene(seed, wrong=0.1) for seed in range(20)])
    now = table([scene(seed, wrong=0.02 * seed) for seed in range(20)])
    found = compare(now, earlier, path=tmp_path)
    gains, losses = ([each.now - each.earlier for each in some] for some in (found.better, found.worse))
    assert len(gains) == len(losses) == MOST_CHANGED
    assert gains == sorted(gains, reverse=True) and min(gains) > 0
    assert losses == sorted(losses) and max(losses) < 0
    scores = {
        name: (a, b) for name, a, b in zip(now.names, by_image(now, "mba"), by_image(earlier, "mba"), strict=True)
    }
    assert all(scores[each.name] == (each.now, each.earlier) for each in (*found.better, *found.worse))
    others = [a - b for name, (a, b) in scores.items() if name not in {each.name for each in found.better}]
    assert max(others) <= min(gains)
    assert found.images == 20


def test_an_image_is_on_one_side_alone(tmp_path):
    scenes = [scene(seed) for seed in range(3)]
    found = compare(table(scenes), table(scenes), path=tmp_path)
    assert found.better == found.worse == []
    found = compare(table([scene(0, wrong=0.0), *scenes[1:]]), table(scenes), path=tmp_path)
    assert [each.name for each in found.better] == ["image 0"]
    assert found.worse == []


def test_other_labels_are_refused(tmp_path):
    images = table([scene(0)])
    with pytest.raises(InputError, match="other labels"):
        compare(images, replace(images, labels=("0" * 16,)), path=tmp_path)
