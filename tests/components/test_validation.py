import json
import os
import subprocess
import sys

import pytest

from components.judging import judge
from components.validation import check_split, validate
from inverseform.data.sample_store import SampleStore
from inverseform.evaluation.figures import estimates
from inverseform.networks import Card, HrnetParams
from inverseform.networks.backbones import TimmHrnetParams
from inverseform.settings import InputError
from inverseform.training.launch import PLAIN, launch
from tests.components.validation_processes import MEAN, PARAMS, STD, network, scores
from tests.drawn import ROOT, sample_store


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "store"
    sample_store(folder, train=1, val=5, height=40, width=48)
    return folder


def test_the_scores_are_those_of_evaluate(samples):
    store = SampleStore.open(samples)
    backbone = TimmHrnetParams(architecture="hrnet_w18_small_v2", pretrained=False)
    params = HrnetParams(name="hrnet", backbone=backbone, boundary_head=True, boundary_feedback=False)
    card = Card(network=params, classes=store.info.classes, colours=store.info.colours, mean=MEAN, std=STD,
                inverse_net=None, params="")  # fmt: skip
    bare = network().without_boundary_head()
    found = estimates(judge(bare, card, store, split="val", overlays=0, inference=PARAMS.inference).images)
    expected = {f"val_{name}": found[name].value for name in ("miou", "mba")}
    assert scores(samples) == pytest.approx(expected, rel=1e-12) and 0 < expected["val_mba"] < 1


def test_two_processes_find_what_one_finds(samples, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = ROOT / "tests" / "components" / "validation_processes.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, script, samples, tmp_path], env=environment, capture_output=True, text=True,
                          timeout=200)  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    alone = scores(samples)
    assert first == second and first["val_miou"] == alone["val_miou"]
    # A sum of the images' scores: its order differs.
    assert first["val_mba"] == pytest.approx(alone["val_mba"], rel=1e-12)


@pytest.mark.parametrize("metric", ["miou", "mba"])
def test_a_metric_without_a_value_is_refused(tmp_path, metric):
    store = sample_store(tmp_path / "samples", train=1, val=0)
    params = PARAMS.model_copy(update={"metric": metric})
    with pytest.raises(InputError, match=rf"validation\.metric is {metric}, which has no value on the val samples"):
        validate(network(), store, params, mean=MEAN, std=STD, machine=launch(PLAIN))


def test_a_validation_needs_samples_and_none_needs_none(tmp_path):
    store = sample_store(tmp_path / "samples", train=1, val=0)
    check_split(PARAMS.model_copy(update={"every": None}), store)
    with pytest.raises(InputError, match=r"every is 1 and there are no val samples from drawn; .*set it to null"):
        check_split(PARAMS, store)
