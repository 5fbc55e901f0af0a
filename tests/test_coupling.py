from itertools import pairwise

import pytest
import torch
from pydantic import ValidationError

from inverseform.boundary import boundaries, probability_boundaries
from inverseform.boundary_aware import BoundaryAwareLoss, balanced_cross_entropy
from inverseform.coupling import (
    LossParams,
    class_boundary_logits,
    debias,
    gamma_at,
    gradient_cosine,
    gradient_norms,
)
from inverseform.loss import InverseFormLoss
from inverseform.segmentation_loss import CrossEntropyParams
from inverseform.settings import InputError
from tests.drawn import CLASSES, scene, small_net


def params(**changes):
    settings = {
        "segmentation": CrossEntropyParams(name="cross_entropy", class_weights="equal"), "beta": 0.3, "gamma": 0.8,
        "gamma_start": 0.5, "gamma_ramp": 0.2, "distance": "euclidean", "boundary_from": "classes",
        "boundary_outputs": ("main",), "debias": False,
    }  # fmt: skip
    return LossParams(**{**settings, **changes})


def test_gamma_is_0_then_a_ramp_then_itself():
    found = [gamma_at(params(), progress) for progress in (0.0, 0.4999, 0.5, 0.55, 0.6, 0.7, 1.0)]
    assert found == pytest.approx([0, 0, 0, 0.2, 0.4, 0.8, 0.8])
    at_once = params(gamma_ramp=0.0)
    assert [gamma_at(at_once, progress) for progress in (0.0, 0.4999, 0.5, 1.0)] == [0, 0, 0.8, 0.8]
    always = params(gamma_start=0.0, gamma_ramp=0.0)
    assert [gamma_at(always, progress) for progress in (0.0, 0.3, 1.0)] == [0.8, 0.8, 0.8]


def test_gamma_never_falls_nor_jumps_on_its_ramp():
    gammas = [gamma_at(params(), step / 1000) for step in range(1001)]
    rises = [after - before for before, after in pairwise(gammas)]
    assert min(rises) >= 0 and max(rises) == pytest.approx(0.8 / 200)


def test_progress_beyond_the_training_is_refused():
    for progress in (-0.1, 1.5):
        with pytest.raises(InputError, match=f"progress is {progress}"):
            gamma_at(params(), progress)


@pytest.mark.parametrize(
    "changes",
    [
        {"gamma_start": 0.9, "gamma_ramp": 0.2},
        {"gamma_start": 1.0},
        {"boundary_from": "labels"},
        {"boundary_outputs": ()},
        {"boundary_outputs": ("head",)},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes):
    with pytest.raises(ValidationError):
        params(**changes)


def test_class_boundary_logits_are_those_of_the_probabilities():
    logits = torch.randn(2, CLASSES, 12, 14)
    expected = probability_boundaries(logits.softmax(dim=1))
    assert torch.allclose(class_boundary_logits(logits).sigmoid(), expected.clamp(1e-4, 1 - 1e-4), atol=1e-6)


def test_debiased_the_best_balanced_answer_is_the_frequency_of_boundary():
    """Three groups of pixels, each with a rate of boundary of its own, and one answer for all of a group."""
    rates, count = torch.tensor([0.02, 0.1, 0.5], dtype=torch.float64), 1000
    boundary = torch.zeros(1, 1, 3, count)
    for group, rate in enumerate(rates):
        boundary[0, 0, group, : round(float(rate) * count)] = 1
    valid, share = torch.ones_like(boundary), rates.mean()
    # Bayes' rule in a world of half boundary: odds that are higher by (1 - pi) / pi.
    answer = (torch.logit(rates) - torch.logit(share)).float().view(1, 1, 3, 1).requires_grad_()
    balanced = answer.expand(boundary.shape)
    balanced_cross_entropy(balanced, boundary, valid).backward()
    assert answer.grad is not None and answer.grad.abs().max() < 1e-6, (
        "it is not the minimum of the balanced cross entropy"
    )
    assert (answer.sigmoid().flatten() > 1.5 * rates).all()
    assert torch.allclose(debias(balanced, boundary, valid).sigmoid()[0, 0, :, 0], rates.float(), rtol=1e-4)


def test_debiasing_counts_known_pixels_alone_and_is_finite_without_any_boundary():
    boundary, valid = boundaries(scene(ignored=0.1), num_classes=CLASSES)
    logits = torch.zeros_like(boundary)
    share = float(boundary[valid == 1].mean())
    assert torch.allclose(debias(logits, boundary, valid).sigmoid(), torch.tensor(share), rtol=1e-5)
    nothing, everything = torch.zeros_like(boundary), torch.ones_like(boundary)
    assert torch.equal(debias(logits, everything / 2, everything), logits)
    for edge, known in ((nothing, everything), (everything, everything), (nothing, nothing)):
        assert debias(logits, edge, known).isfinite().all()


def terms_of(logits, edges, **options):
    options = {"beta": 0.3, "gamma": 0.2, "num_classes": CLASSES, "boundary_from": "both", **options}
    criterion = BoundaryAwareLoss(InverseFormLoss(small_net()), **options)
    return criterion.weighted(criterion(logits, scene(ignored=0.05), boundary_logits=edges))


@pytest.fixture
def outputs():
    """The class and boundary logits of a network of one layer, and its weights."""
    torch.manual_seed(0)
    net = torch.nn.Conv2d(3, CLASSES + 1, 3, padding=1)
    out = net(torch.randn(2, 3, 40, 56))
    return net, out[:, 1:], out[:, :1]


def test_gradient_norms_are_those_of_a_backward_for_each_term(outputs):
    _, logits, edges = outputs
    found = gradient_norms(terms_of(logits, edges), {"classes": logits, "boundary": edges})
    assert len(found) == 8
    for name in ("segmentation", "auxiliary", "boundary", "inverseform"):
        leaves = [tensor.detach().clone().requires_grad_() for tensor in (logits, edges)]
        term = terms_of(*leaves)[name]
        if term.requires_grad:
            term.backward()
        for place, leaf in zip(("classes", "boundary"), leaves, strict=True):
            expected = torch.zeros(()) if leaf.grad is None else leaf.grad.square().sum().sqrt()
            assert torch.allclose(found[f"gradient_{name}_{place}"], expected, rtol=1e-4), (name, place)
    assert found["gradient_inverseform_classes"] > 0 and found["gradient_segmentation_boundary"] == 0


def test_asking_changes_no_gradient_of_the_network_and_leaves_the_graph(outputs):
    net, logits, edges = outputs
    terms = terms_of(logits, edges)
    gradient_norms(terms, {"classes": logits, "boundary": edges})
    gradient_cosine(terms["inverseform"], terms["segmentation"], logits)
    assert net.weight.grad is None
    torch.stack(list(terms.values())).sum().backward()
    assert net.weight.grad is not None and net.weight.grad.any()


def test_a_term_that_is_off_has_a_gradient_of_0(outputs):
    _, logits, edges = outputs
    terms = terms_of(logits, edges, gamma=0.0)
    assert gradient_norms(terms, {"classes": logits})["gradient_inverseform_classes"] == 0
    assert gradient_cosine(terms["inverseform"], terms["segmentation"], logits) == 0


def test_the_cosine_is_that_of_the_two_gradients(outputs):
    _, logits, edges = outputs
    terms = terms_of(logits, edges)
    one, other = (torch.autograd.grad(terms[n], logits, retain_graph=True)[0] for n in ("inverseform", "segmentation"))
    expected = (one * other).sum() / one.norm() / other.norm()
    found = gradient_cosine(terms["inverseform"], terms["segmentation"], logits)
    assert torch.allclose(found, expected, rtol=1e-3) and 0 < abs(found) < 1


def test_the_cosine_tells_with_from_against():
    x = torch.randn(1000, requires_grad=True)
    assert gradient_cosine(x.square().sum(), 3 * x.square().sum(), x) == pytest.approx(1.0, abs=1e-6)
    assert gradient_cosine(x.square().sum(), -x.square().sum(), x) == pytest.approx(-1.0, abs=1e-6)


def test_gradients_of_half_precision_are_summed_in_single():
    x = torch.full((1000,), 1e-3, dtype=torch.float16, requires_grad=True)
    found = gradient_norms({"small": (x * 1e-4).sum()}, {"x": x})["gradient_small_x"]
    assert found.dtype == torch.float32 and float(found) == pytest.approx(1e-4 * 1000**0.5, rel=1e-2)
