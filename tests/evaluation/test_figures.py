import numpy as np
import pytest
import torch

from inverseform.evaluation.figures import (
    RESAMPLES,
    Estimate,
    by_image,
    differences,
    estimates,
    figures,
    names,
    resampled,
)
from inverseform.evaluation.measures import DISTANCES
from inverseform.metrics import bootstrap
from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.metrics.boundary_f import BoundaryF
from inverseform.metrics.boundary_iou import BoundaryIou
from inverseform.metrics.calibration import Calibration
from inverseform.metrics.segmentation import Confusion
from tests.evaluation.drawn import CLASSES, scene, table

SCENES = [scene(seed, wrong=0.02 * seed, ignored=seed == 2) for seed in range(12)]


def test_figures_are_those_of_the_metrics_over_the_same_images():
    confusion, near = Confusion(3), BoundaryAccuracy()
    rims, contours, sure = BoundaryIou(3), BoundaryF(3, tolerances=(3,)), Calibration()
    for predicted, probabilities, labels in SCENES:
        for metric in (confusion, near, rims, contours):
            metric.update(predicted, labels)
        sure.update(probabilities[None], labels[None])
    found = {name: estimate.value for name, estimate in estimates(table(SCENES)).items()}
    assert list(found) == list(names(table(SCENES).columns))
    regions = confusion.scores()
    wanted = {
        "miou": regions.miou, "pixel_accuracy": regions.pixel_accuracy, "mba": near.scores().mba,
        "boundary_iou": rims.scores().mean.value, "calibration_error": sure.error().value,
        "boundary_f_3_px": contours.scores().pooled[0].value,
        **{f"accuracy_within_{d}_px": near.scores().within[at] for at, d in enumerate((1, 2, 3, 5))},
        **{f"iou {name}": value for name, value in zip(CLASSES, regions.iou, strict=True)},
        **{f"boundary_iou {name}": each.value for name, each in zip(CLASSES, rims.scores().iou, strict=True)},
    }  # fmt: skip
    for name, value in wanted.items():
        assert found[name] == (value if value is None else pytest.approx(value, abs=1e-9)), name
    assert found["iou absent"] is None
    assert {f"accuracy_within_{d}_px" for d in DISTANCES} <= set(found)


def test_intervals_are_those_of_the_bootstrap_over_images():
    images = table(SCENES)
    found = estimates(images)
    tables = []
    for predicted, _, labels in SCENES:
        confusion = Confusion(3)
        confusion.update(predicted, labels)
        tables.append(confusion.counts)
    twin = bootstrap.interval(torch.stack(tables), bootstrap.miou)
    assert found["miou"] == pytest.approx((twin.value, twin.low, twin.high), abs=1e-12)
    mba = bootstrap.of_scores(by_image(images, "mba"))
    assert found["mba"] == pytest.approx((mba.value, mba.low, mba.high), abs=1e-12)


def test_an_interval_covers_the_figure_of_all_images_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr("inverseform.evaluation.figures.RESAMPLES", 300)
    generator, covered = np.random.default_rng(0), 0
    many = table([scene(seed, wrong=0.3 * seed / 80) for seed in range(80)])
    truth = figures(many.counts.sum(0), many.columns)[names(many.columns).index("pixel_accuracy")].item()
    for _ in range(60):
        chosen = torch.from_numpy(generator.choice(80, 25))
        drawn = figures(resampled(many.counts[chosen]), many.columns)
        low, high = np.quantile(drawn[:, names(many.columns).index("pixel_accuracy")], (0.025, 0.975))
        covered += low <= truth <= high
    # 25 images make it a little too narrow; at 93 % fewer than 50 of 60 have a probability of 1 %.
    assert covered >= 50


def test_memory_is_bounded_and_the_draws_are_those_of_one_go(monkeypatch):
    counts = table(SCENES).counts
    whole = resampled(counts)
    monkeypatch.setattr("inverseform.evaluation.figures._AT_ONCE", 12 * 300)
    torch.testing.assert_close(resampled(counts), whole, rtol=1e-14, atol=0.0)
    assert len(whole) == RESAMPLES


def test_of_one_image_there_is_a_figure_and_no_interval():
    found = estimates(table(SCENES[:1]))
    assert found["miou"].value is not None
    assert all(estimate[1:] == (None, None) for estimate in found.values())


def test_a_class_that_is_nowhere_has_neither_figure_nor_interval():
    assert estimates(table(SCENES))["iou absent"] == Estimate(None, None, None)


def test_a_network_does_not_differ_from_itself():
    found = differences(table(SCENES), table(SCENES))
    assert found["miou"].change == (0.0, 0.0, 0.0)
    assert found["iou absent"].change == (None, None, None)


def test_pairing_sees_a_gain_that_separate_intervals_do_not():
    """Every image gains a little; images differ much more than that."""
    better = [
        (predicted.where((torch.arange(40) < 39) | (labels == 255), labels), sure, labels)
        for predicted, sure, labels in SCENES
    ]
    now, earlier = table(better), table(SCENES)
    change = differences(now, earlier)["pixel_accuracy"]
    apart = estimates(now)["pixel_accuracy"], estimates(earlier)["pixel_accuracy"]
    assert change.change.value == pytest.approx(change.now - change.earlier) and change.change.value > 0
    assert change.change.low > 0
    assert apart[0].low < apart[1].high


def test_differences_are_of_the_same_images_drawn_for_both():
    now, earlier = table(SCENES), table([scene(seed, wrong=0.1) for seed in range(12)])
    found = differences(now, earlier)["mba"].change
    pairs = np.array(by_image(now, "mba")) - np.array(by_image(earlier, "mba"))
    twin = bootstrap.of_scores(pairs.tolist())
    assert found == pytest.approx((twin.value, twin.low, twin.high), abs=1e-12)
