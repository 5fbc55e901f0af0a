import pytest
import torch

from benchmarks.losses.arms import BALANCED, CROSS_ENTROPY, TRIALS, WEIGHTED, Trial, arms
from inverseform import inverse_net
from inverseform.boundary import boundaries
from inverseform.boundary_aware import balanced_cross_entropy
from inverseform.coupling import class_boundary_logits
from inverseform.loss import InverseFormLoss, enlarge
from inverseform.segmentation_loss import boundary_weighted, cross_entropy
from inverseform.settings import InputError
from tests.drawn import CLASSES, scene, small_net

KNOWN = arms()


def beta(name):
    """A weight for what a loss stands on: that of pixels near a boundary is at least 1."""
    return 3.0 if KNOWN[name].beneath == WEIGHTED else 0.3


@pytest.fixture
def batch():
    torch.manual_seed(0)
    labels = scene(128, 128, batch=2, ignored=0.01)
    return torch.randn(2, CLASSES, 128, 128).requires_grad_(), labels, torch.randn(2, 1, 32, 32).requires_grad_()


def test_every_loss_has_as_many_trials_and_stands_behind_the_one_beneath_it():
    seen = set()
    for name, arm in KNOWN.items():
        trials = arm.trials(beta=0.3)
        assert len({trial.model_dump_json() for trial in trials}) == (1 if name == CROSS_ENTROPY else TRIALS)
        assert {trial.beta for trial in trials} == {0.3}
        assert arm.beneath is None or arm.beneath in seen
        seen.add(name)
    assert next(iter(KNOWN)) == CROSS_ENTROPY and {WEIGHTED, *BALANCED.values()} <= seen
    assert len({arm.words for arm in KNOWN.values()}) == len(KNOWN)


@pytest.mark.parametrize("name", KNOWN)
def test_each_is_finite_with_its_gradient_and_pulls_where_cross_entropy_alone_does_not(name, batch):
    logits, labels, boundary_logits = batch
    criterion = KNOWN[name].make(Trial(weight=2.0, start=0.5, beta=beta(name)), CLASSES)
    plain = torch.autograd.grad(cross_entropy(logits, labels), logits)[0]
    total = criterion(logits, labels, boundary_logits, 0.7)
    on_classes, on_head = torch.autograd.grad(total, (logits, boundary_logits), materialize_grads=True)
    assert total.isfinite() and on_classes.isfinite().all() and on_head.isfinite().all()
    head = name.endswith("_head")
    assert bool(on_head.any()) == head
    assert torch.equal(on_classes, plain) == (head or name == CROSS_ENTROPY)


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {CROSS_ENTROPY, WEIGHTED}))
def test_before_its_start_a_loss_is_what_is_beneath_it(name, batch):
    arm, trial = KNOWN[name], Trial(weight=2.0, start=0.5, beta=beta(name))
    criterion = arm.make(trial, CLASSES)
    before, after = (criterion(*batch, progress).item() for progress in (0.49, 0.5))
    beneath = cross_entropy(*batch[:2])
    if arm.beneath:
        beneath = KNOWN[arm.beneath].make(Trial(weight=trial.beta, start=0.0, beta=0.0), CLASSES)(*batch, 0.0)
    assert before == pytest.approx(beneath.item(), rel=1e-5)
    assert after != pytest.approx(before, rel=1e-5)


def test_weights_multiply_the_terms_that_they_are_said_to(batch):
    logits, labels, boundary_logits = batch
    boundary, valid = boundaries(labels, num_classes=CLASSES)
    plain = cross_entropy(logits, labels).item()
    at = {"start": 0.0, "beta": 0.0}

    def value(name, **given):
        return KNOWN[name].make(Trial(**{**at, **given}), CLASSES)(*batch, 0.0).item()

    head = balanced_cross_entropy(enlarge(boundary_logits, boundary), boundary, valid).item()
    assert value("boundary_head", weight=0.7) == pytest.approx(plain + 0.7 * head, rel=1e-5)
    moved = InverseFormLoss.pretrained(distance="lie")(boundary_logits, boundary, valid).item()
    expected = plain + 0.2 * head + 3 * moved
    assert value("inverseform_lie_head", weight=3.0, beta=0.2) == pytest.approx(expected, rel=1e-5)
    moved = InverseFormLoss.pretrained()(class_boundary_logits(logits), boundary, valid).item()
    expected = boundary_weighted(logits, labels, weight=4.0, radius=2).item() + 3 * moved
    assert value("weighted_inverseform_euclidean", weight=3.0, beta=4.0) == pytest.approx(expected, rel=1e-5)
    assert value(WEIGHTED, weight=4.0) == boundary_weighted(logits, labels, weight=4.0, radius=2).item()


def test_another_inverse_network_is_two_more_losses_with_its_weights_in_their_name(tmp_path, batch):
    inverse_net.save(tmp_path / "net", small_net())
    known = arms({"siamese": tmp_path / "net"})
    assert set(known) - set(KNOWN) == {"siamese_head", "siamese_classes"}
    arm = known["siamese_head"]
    assert arm.inverse_net not in {None, KNOWN["inverseform_euclidean_head"].inverse_net}
    assert arm.make(arm.trials()[0], CLASSES)(*batch, 0.0).isfinite()
    with pytest.raises(InputError, match="inverseform_euclidean_head is there already; give another name"):
        arms({"inverseform_euclidean": tmp_path / "net"})
    with pytest.raises(FileNotFoundError):
        arms({"none": tmp_path / "none"})
