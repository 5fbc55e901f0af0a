import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.metrics.boundary_f import BoundaryF
from inverseform.metrics.boundary_iou import BoundaryIou
from inverseform.metrics.calibration import Calibration
from inverseform.metrics.depth import DepthErrors
from inverseform.metrics.edges import EdgeScores
from inverseform.metrics.human_parts import HumanParts
from inverseform.metrics.normals import NormalErrors
from inverseform.metrics.saliency import Saliency
from inverseform.metrics.score import Score, check_alike, mean, ratio
from inverseform.metrics.segmentation import Confusion
from inverseform.settings import InputError
from tests.drawn import ROOT
from tests.metrics import halves


def test_what_has_no_value_has_a_reason_and_what_has_one_has_none():
    assert ratio(1, 4, reason="empty") == Score(0.25, None)
    assert ratio(0, 4, reason="empty") == Score(0.0, None)
    assert ratio(0, 0, reason="empty") == Score(None, "empty")


def test_a_mean_is_that_of_the_defined_scores():
    assert mean([Score(0.5), Score(None, "no pixel"), Score(0.0)], reason="nothing") == Score(0.25, None)
    assert mean([Score(None, "no pixel")], reason="nothing") == Score(None, "nothing")
    assert mean([], reason="nothing") == Score(None, "nothing")


def test_a_mean_is_taken_of_what_can_be_read_once():
    assert mean((Score(value) for value in (1.0, 2.0)), reason="nothing").value == pytest.approx(1.5)


def test_maps_of_one_shape_pass_and_others_are_named_with_theirs():
    check_alike(predicted=(3, 4), labels=(3, 4))
    with pytest.raises(InputError, match=r"shapes differ: predicted \(3, 4\), labels \(1, 4\); all maps of an image"):
        check_alike(predicted=(3, 4), labels=(1, 4))
    with pytest.raises(InputError, match=r"predicted: its shape is \(0, 4\); an image has pixels: leave this one out"):
        check_alike(predicted=(0, 4), labels=(0, 4))


STRETCHED = """
import torch
from inverseform.metrics import boundary, boundary_f, boundary_iou, calibration, depth, edges, human_parts, normals
from inverseform.metrics import saliency, segmentation
ids, floats, yes = (lambda *s: torch.zeros(*s).byte()), torch.ones, (lambda *s: torch.ones(*s).bool())
cases = {
    "boundary": lambda: boundary.BoundaryAccuracy().update(ids(9, 9), ids(1, 9)),
    "boundary_f": lambda: boundary_f.BoundaryF(3).update(ids(9, 9), ids(1, 9)),
    "boundary_iou": lambda: boundary_iou.BoundaryIou(3).update(ids(9, 9), ids(1, 9)),
    "calibration": lambda: calibration.Calibration().update(floats(1, 2, 9, 9) / 2, ids(1, 1, 9)),
    "depth": lambda: depth.DepthErrors().update(floats(9, 9), floats(1, 9)),
    "depth valid": lambda: depth.DepthErrors().update(floats(9, 9), floats(9, 9), valid=yes(1, 9)),
    "edges": lambda: edges.EdgeScores().update(floats(9, 9), yes(2, 1, 9)),
    "edges valid": lambda: edges.EdgeScores().update(floats(9, 9), yes(2, 9, 9), valid=yes(1, 9)),
    "human_parts": lambda: human_parts.HumanParts().update(ids(9, 9), ids(1, 9)),
    "normals": lambda: normals.NormalErrors().update(floats(3, 9, 9), floats(3, 1, 9)),
    "normals valid": lambda: normals.NormalErrors().update(floats(3, 9, 9), floats(3, 9, 9), valid=yes(1, 9)),
    "saliency": lambda: saliency.Saliency().update(floats(9, 9), ids(1, 9)),
    "segmentation": lambda: segmentation.Confusion(3).update(ids(9, 9), ids(1, 9)),
    "edges of numbers": lambda: edges.EdgeScores().update(floats(9, 9), floats(2, 9, 9)),
    "ids of 64 bits": lambda: segmentation.Confusion(3).update(ids(9, 9), ids(9, 9).long() - 1),
}
for name, call in cases.items():
    try:
        print(name, "|", call())
    except ValueError as error:
        print(name, "|", error)
"""


def test_no_metric_stretches_one_map_over_another():
    """In a process of its own: in this one the types of all arguments are looked at before."""
    run = subprocess.run([sys.executable, "-c", STRETCHED], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    told = dict(line.split(" | ", 1) for line in run.stdout.splitlines())
    assert len(told) == 15
    numbers, ids = told.pop("edges of numbers"), told.pop("ids of 64 bits")
    assert "annotators are of torch.float32: they are true on an edge; pass annotators > 0" in numbers
    assert "labels are of torch.int64 and ids are of torch.uint8: labels.byte(), -1 or -100 made 255 before" in ids
    for name, message in told.items():
        assert "shapes differ: " in message or "give both one shape" in message, (name, message)


NO_PIXELS = {
    "boundary": lambda: BoundaryAccuracy().update(NOTHING, NOTHING),
    "boundary_f": lambda: BoundaryF(3).update(NOTHING, NOTHING),
    "boundary_iou": lambda: BoundaryIou(3).update(NOTHING, NOTHING),
    "depth": lambda: DepthErrors().update(NOTHING.float(), NOTHING.float()),
    "edges": lambda: EdgeScores().update(NOTHING.float(), NOTHING[None].bool()),
    "normals": lambda: NormalErrors().update(torch.zeros(3, 0, 5), torch.zeros(3, 0, 5)),
    "saliency": lambda: Saliency().update(NOTHING.float(), NOTHING),
}
NOTHING = torch.zeros(0, 5, dtype=torch.uint8)


@pytest.mark.parametrize("metric", NO_PIXELS)
def test_an_image_without_rows_is_refused_by_name(metric):
    with pytest.raises(InputError, match=r"(predicted|probability): its shape is \((3, )?0, 5\); an image has pixels"):
        NO_PIXELS[metric]()


def test_where_pixels_alone_are_counted_none_change_nothing():
    confusion, parts, calibration = Confusion(3), HumanParts(), Calibration()
    confusion.update(NOTHING, NOTHING)
    parts.update(NOTHING, NOTHING)
    calibration.update(torch.zeros(1, 3, 0, 5), NOTHING[None])
    assert confusion.scores().miou is None and (parts.images, parts.scores().miou) == (0, None)
    assert calibration.error() == (None, "no pixel is known")


def test_counts_that_two_processes_add_are_those_of_one(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         ROOT / "tests" / "metrics" / "halves.py", tmp_path], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole = halves.counted(halves.metrics(), range(halves.IMAGES))
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert set(found) == set(whole)
        for name, counts in whole.items():
            assert counts.count_nonzero() and found[name].dtype == counts.dtype
            torch.testing.assert_close(found[name], counts, rtol=1e-12, atol=1e-12)
