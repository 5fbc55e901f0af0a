import copy
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from safetensors import safe_open
from safetensors.torch import load_file
from torch.testing._internal.distributed.fake_pg import FakeStore

from inverseform.boundary_aware import BoundaryAwareLoss
from inverseform.loss import InverseFormLoss
from inverseform.process_group import Held, ratio, summed
from inverseform.segmentation_loss import CrossEntropyParams, SegmentationLoss, cross_entropy
from inverseform.settings import InputError
from tests.drawn import CLASSES, ROOT, scene, small_net
from tests.shares import CASES, answers


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What two processes of a group wrote, each about its own share of a batch."""
    folder = tmp_path_factory.mktemp("shares")
    files = [folder / f"{rank}.safetensors" for rank in range(2)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.shares", str(rank), str(folder / "meeting"), str(file)],
            cwd=ROOT,
        )
        for rank, file in enumerate(files)
    ]
    try:
        assert [run.wait(timeout=120) for run in runs] == [0, 0]
    finally:
        for run in runs:
            run.kill()
            run.wait()
    return files


@pytest.fixture(scope="module")
def shares(files):
    return [load_file(file) for file in files]


def together(shares, case, kind):
    """What data-parallel training makes of it: the mean of the losses, and of the gradients."""
    told = [{key: share[f"{case}:{kind}:{key}"] for key in ("loss", "logits", "edges")} for share in shares]
    return {
        "loss": torch.stack([each["loss"] for each in told]).mean(),
        # Each process has a gradient for its own share alone, and 0 for the other's.
        **{key: torch.cat([each[key] for each in told]) / len(told) for key in ("logits", "edges")},
    }


def distance(found, expected):
    """Largest difference, relative to the largest value."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


@pytest.mark.parametrize("case", CASES)
def test_the_mean_over_the_processes_is_the_loss_of_the_batch_and_its_gradient(shares, case):
    whole, found = answers(case, slice(None), None), together(shares, case, "shared")
    assert whole["loss"] > 0 and (whole["logits"].any() or whole["edges"].any())
    for key, expected in whole.items():
        assert distance(found[key], expected) < 1e-6, key


@pytest.mark.parametrize("case", CASES)
def test_without_the_group_it_is_the_mean_of_other_means(shares, case):
    whole, found = answers(case, slice(None), None), together(shares, case, "alone")
    # Losses of chance predictions are alike everywhere; the weight of a pixel in the mean is not.
    assert max(distance(found[key], expected) for key, expected in whole.items() if expected.any()) > 0.05


def test_a_share_without_a_boundary_has_no_boundary_gradient_and_the_others_all_of_it(shares):
    mine, yours = (share["empty:mean:shared:edges"] for share in shares)
    assert not mine.any() and yours.any()


@pytest.fixture
def alone(tmp_path):
    """A group of this process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_a_group_of_one_process_changes_nothing(alone):
    amounts = torch.tensor([0.0, 3.0, 0.5])
    assert torch.equal(summed(amounts, alone), amounts)
    assert torch.equal(ratio(amounts, amounts, alone), ratio(amounts, amounts, None))
    assert ratio(amounts, amounts, alone).tolist() == [0.0, 1.0, 0.5]


def test_no_gradient_goes_through_the_sum_and_what_is_summed_stays_as_it_is(alone):
    amount = torch.tensor(2.0, requires_grad=True)
    total = torch.tensor(6.0, requires_grad=True)
    part = ratio(total, amount, alone)
    part.backward()
    assert part == 3 and total.grad == 0.5 and amount.grad is None and amount == 2


@pytest.fixture
def many():
    """A group of 64 processes, of which the others have nothing to add."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=64)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_where_none_of_many_processes_knows_anything_there_is_a_zero_with_a_gradient(many):
    loss = BoundaryAwareLoss(InverseFormLoss(small_net(), group=many), beta=1.0, gamma=1.0, num_classes=CLASSES,
                             boundary_from="both", debias=True, group=many)  # fmt: skip
    logits, edges = (torch.randn(2, n, 40, 56, requires_grad=True) for n in (CLASSES, 1))
    total = loss(logits, torch.full((2, 40, 56), 255), boundary_logits=edges).total
    total.backward()
    assert total == 0 and not logits.grad.any() and not edges.grad.any()


def test_where_many_processes_have_pixels_without_a_weight_there_is_a_zero_with_a_gradient(many):
    logits = torch.randn(2, CLASSES, 40, 56, requires_grad=True)
    weights = torch.tensor([0.0, 1.0, 1.0, 1.0])
    loss = cross_entropy(logits, torch.zeros(2, 40, 56, dtype=torch.int64), class_weights=weights, group=many)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_a_copy_of_a_loss_keeps_its_group(alone):
    loss = BoundaryAwareLoss(InverseFormLoss(small_net(), group=alone), beta=1.0, gamma=1.0, num_classes=CLASSES,
                             group=alone)  # fmt: skip
    copied = copy.deepcopy(torch.nn.ModuleDict({"loss": loss}))["loss"]
    assert copied is not loss and copied.group is copied.inverse.group is alone
    assert copied(torch.zeros(2, CLASSES, 40, 56), scene()) == loss(torch.zeros(2, CLASSES, 40, 56), scene())


def test_terms_of_different_groups_are_refused(alone):
    options = {"beta": 1.0, "gamma": 0.0, "num_classes": CLASSES}
    params = CrossEntropyParams(name="cross_entropy", class_weights="equal")
    with pytest.raises(InputError, match="that of InverseFormLoss is None: a term would be the mean of another batch"):
        BoundaryAwareLoss(InverseFormLoss(small_net()), group=alone, **options)
    with pytest.raises(InputError, match=r"that of SegmentationLoss is None.*give all of them the same group"):
        BoundaryAwareLoss(None, segmentation_loss=SegmentationLoss(params, num_classes=4), group=alone, **options)
    with pytest.raises(InputError, match="group is None and that of SegmentationLoss is <"):
        BoundaryAwareLoss(None, segmentation_loss=SegmentationLoss(params, num_classes=4, group=alone), **options)
    BoundaryAwareLoss(None, segmentation_loss=torch.nn.CrossEntropyLoss(), group=alone, **options)


# In processes of their own: pytest's checks of annotations read the names that are taken away.
WITHOUT = """
import torch.distributed as dist
dist.is_available = lambda: False
del dist.ProcessGroup
from inverseform import BoundaryAwareLoss, InverseFormLoss
from tests.drawn import CLASSES, scene, small_net
import torch
loss = BoundaryAwareLoss(InverseFormLoss(small_net()), beta=0.3, gamma=0.2, num_classes=CLASSES)
assert loss(torch.randn(2, CLASSES, 40, 56), scene()).total > 0
"""


def test_where_torch_has_no_process_groups_the_loss_works():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True, cwd=ROOT)


def test_a_process_that_is_not_of_the_group_is_refused(files):
    refusals = []
    for file in files:
        with safe_open(file, framework="pt") as opened:
            refusals.append(opened.metadata()["refusal"])
    assert refusals == ["", "group is one that process 1 of 2 is not of; give one that it is of, or none"]


def test_nobody_is_asked_without_a_group():
    assert Held(None).group is None
    assert not dist.is_initialized() and summed(torch.tensor(3.0), None) == 3
