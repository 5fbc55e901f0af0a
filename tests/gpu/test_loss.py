"""The losses on a GPU: no waiting, half precision, compiled."""

import contextlib

import pytest
import torch
from pydantic import TypeAdapter

from inverseform.boundary import boundaries
from inverseform.boundary_aware import BoundaryAwareLoss
from inverseform.loss import InverseFormLoss
from inverseform.segmentation_loss import SegmentationLoss, SegmentationLossParams
from tests.drawn import CLASSES, scene, small_net
from tests.gpu.device import DEVICE, ON_GPU
from tests.shares import SEGMENTATION

pytestmark = pytest.mark.gpu


def aware(name="cross_entropy", **options):
    params = TypeAdapter(SegmentationLossParams).validate_python({"name": name, **SEGMENTATION[name]})
    options = {"boundary_from": "both", "debias": True, **options}
    loss = BoundaryAwareLoss(
        InverseFormLoss(small_net()), beta=0.3, gamma=0.2, num_classes=CLASSES,
        segmentation_loss=SegmentationLoss(params, num_classes=CLASSES), **options,
    )  # fmt: skip
    return loss.to(DEVICE)


def drawn(*shape):
    return torch.randn(*shape, device=DEVICE, requires_grad=True)


@contextlib.contextmanager
def no_waiting():
    """Every operation that makes the host wait for the GPU is an error."""
    if not ON_GPU:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_what_makes_the_host_wait_is_noticed():
    if not ON_GPU:
        pytest.skip("a CPU is never waited for")
    with pytest.raises(RuntimeError, match="synchroniz"), no_waiting():
        torch.ones(3, device=DEVICE).sum().item()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("calibrated", [True, False])
def test_inverseform_and_its_gradient_do_not_make_the_host_wait(reduction, calibrated):
    loss = InverseFormLoss(small_net(), reduction=reduction, calibrated=calibrated).to(DEVICE)
    boundary, valid = boundaries(scene(ignored=0.1).to(DEVICE), num_classes=CLASSES)
    logits = drawn(2, 1, 10, 14)
    # Once without a look: libraries wait when they are loaded.
    loss(logits, boundary, valid).backward()
    with no_waiting():
        loss(logits, boundary, valid).backward()
    assert logits.grad.isfinite().all()


def test_the_packaged_network_does_not_make_the_host_wait():
    loss = InverseFormLoss.pretrained().to(DEVICE)
    boundary, valid = boundaries(scene(200, 260).to(DEVICE), num_classes=CLASSES)
    logits = drawn(2, 1, 50, 65)
    loss(logits, boundary, valid).backward()
    with no_waiting():
        loss(logits, boundary, valid).backward()
    assert logits.grad.isfinite().all() and logits.grad.any()


@pytest.mark.parametrize("name", list(SEGMENTATION))
def test_the_whole_loss_and_its_gradient_do_not_make_the_host_wait(name):
    loss, labels = aware(name), scene(ignored=0.1).to(DEVICE)
    logits, edges = drawn(2, CLASSES, 10, 14), drawn(2, 1, 10, 14)
    loss(logits, labels, boundary_logits=edges).total.backward()
    with no_waiting():
        loss(logits, labels, boundary_logits=edges).total.backward()
    assert logits.grad.isfinite().all() and edges.grad.isfinite().all()


@pytest.mark.parametrize("name", list(SEGMENTATION))
def test_a_gpu_gives_what_a_cpu_gives(name):
    loss, labels = aware(name), scene(ignored=0.1)
    logits, edges = drawn(2, CLASSES, 40, 56), drawn(2, 1, 40, 56)
    terms = loss(logits, labels.to(DEVICE), boundary_logits=edges)
    found = [*terms, *torch.autograd.grad(terms.total, (logits, edges))]
    terms = loss.cpu()(logits.cpu(), labels, boundary_logits=edges.cpu())
    expected = [*terms, *torch.autograd.grad(terms.total, (logits, edges))]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.cpu(), other.cpu(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", list(SEGMENTATION))
def test_under_half_precision_the_loss_is_single_and_its_gradients_finite(name):
    network = torch.nn.Conv2d(3, CLASSES + 1, 3, padding=1).to(DEVICE)
    loss, labels = aware(name), scene(256, 320, ignored=0.1).to(DEVICE)
    with torch.autocast(DEVICE.type, dtype=torch.float16):
        out = network(torch.randn(2, 3, 256, 320, device=DEVICE))
        terms = loss(out[:, 1:], labels, boundary_logits=out[:, :1])
    assert out.dtype == torch.float16
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms)
    # Scaled, as a gradient of 16 bits of a mean over 10^5 pixels would be 0.
    scaler = torch.amp.GradScaler(DEVICE.type, init_scale=2.0**12)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    scaler.scale(terms.total).backward()
    scaler.unscale_(optimiser)
    for parameter in network.parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any()


# In processes of their own: pytest's checks of annotations cannot be traced, and are stricter than the library.
COMPILED = """
import sys, torch
from tests.drawn import scene
from tests.gpu.test_loss import CLASSES, DEVICE, aware, drawn
loss, labels = aware(sys.argv[1]), scene(ignored=0.1).to(DEVICE)
logits, edges = drawn(2, CLASSES, 10, 14), drawn(2, 1, 10, 14)
found = []
for run in (loss, torch.compile(loss, fullgraph=True)):
    terms = run(logits, labels, boundary_logits=edges)
    found.append([*terms, *torch.autograd.grad(terms.total, (logits, edges))])
for one, other in zip(*found, strict=True):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.parametrize("name", ["cross_entropy", "ohem"])
def test_compiled_it_is_the_same(name, run_script):
    run_script(COMPILED, name)
