import pytest
import torch

from inverseform.evaluation.measures import DISTANCES, Columns, measure
from inverseform.metrics import calibration
from inverseform.metrics.boundary import BoundaryAccuracy, count, disc
from inverseform.metrics.boundary_f import MOST_CLASSES
from inverseform.metrics.segmentation import Confusion
from inverseform.settings import InputError
from tests.evaluation.drawn import CLASSES, scene


def test_each_column_has_a_name_and_a_place():
    columns = Columns(CLASSES)
    assert len(set(columns.names)) == len(columns.names)
    assert columns.names[columns.groups["labelled"]] == ("labelled road", "labelled tree, large", "labelled absent")
    covered = [index for place in columns.groups.values() for index in range(len(columns.names))[place]]
    assert covered == list(range(len(columns.names)))


def test_a_row_is_what_the_metrics_count():
    predicted, probabilities, labels = scene(3, ignored=True)
    columns, confusion, accuracy = Columns(CLASSES), Confusion(3), BoundaryAccuracy()
    found = measure(predicted, probabilities, labels, columns)
    confusion.update(predicted, labels)
    part = {name: found.row[place] for name, place in columns.groups.items()}
    assert torch.equal(found.confusion, confusion.counts)
    assert part["intersection"].tolist() == confusion.counts.diagonal().tolist()
    assert part["labelled"].tolist() == confusion.counts.sum(1).tolist()
    assert part["predicted"].tolist() == confusion.counts.sum(0).tolist()
    near = count(predicted, labels, windows=list(map(disc, DISTANCES)))
    assert torch.stack([part["right_within"], part["known_within"]], dim=1).tolist() == near.tolist()
    assert part["mba"].tolist() == [found.mba, 1.0] == [accuracy.update(predicted, labels), 1.0]


def test_bins_hold_the_known_pixels_by_the_confidence_in_them():
    predicted, probabilities, labels = scene(3, ignored=True)
    columns = Columns(CLASSES)
    row = measure(predicted, probabilities, labels, columns).row
    pixels, confidence, right = (row[columns.groups[f"bin_{what}"]] for what in ("pixels", "confidence", "right"))
    known = labels != 255
    assert pixels.sum() == known.sum()
    assert right.sum() == (predicted == labels)[known].sum()
    assert confidence.sum() == pytest.approx(probabilities.amax(0)[known].sum().item(), abs=1e-3)


def test_without_a_boundary_there_is_no_boundary_accuracy_and_none_is_counted():
    flat, columns = torch.zeros(9, 9, dtype=torch.uint8), Columns(CLASSES)
    found = measure(flat, torch.full((3, 9, 9), 1 / 3), flat, columns)
    assert found.mba is None
    assert found.row[columns.groups["mba"]].tolist() == [0.0, 0.0]
    assert found.row[columns.groups["known_within"]].sum() == 0


def test_of_more_classes_than_the_f_score_can_tell_it_is_left_out():
    many = Columns(tuple(map(str, range(MOST_CLASSES + 1))))
    assert many.tolerances == ()
    flat = torch.zeros(9, 9, dtype=torch.uint8)
    row = measure(flat, torch.full((len(many.classes), 9, 9), 1 / len(many.classes)), flat, many).row
    assert len(row) == len(many.names)


def test_a_network_that_gives_nan_is_told_where_nobody_has_looked_before(monkeypatch):
    predicted, probabilities, labels = scene(3)
    probabilities[0, 4, 4:] = torch.nan
    with pytest.raises(InputError, match=r"probabilities hold nan.*it has diverged"):
        measure(predicted, probabilities, labels, Columns(CLASSES))
    # As on a GPU, where that first look would cost a wait of its own.
    monkeypatch.setattr(calibration, "_check", lambda confidence: None)
    with pytest.raises(InputError, match="probabilities hold nan, as of a network whose training has diverged"):
        measure(predicted, probabilities, labels, Columns(CLASSES))
