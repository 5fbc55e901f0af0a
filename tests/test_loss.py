import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from inverseform.boundary import boundaries
from inverseform.distance import euclidean
from inverseform.inverse_net import save
from inverseform.loss import InverseFormLoss, inverseform
from inverseform.transform import from_offsets
from tests.drawn import CLASSES, ROOT, scene, small_net


@pytest.fixture
def inverse():
    return InverseFormLoss(small_net())


def test_a_perfect_prediction_costs_nothing(inverse):
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    assert inverse((boundary * 2 - 1) * 50, boundary, valid) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(40, 56), (41, 59)])
def test_the_loss_is_the_mean_distance_over_occupied_tiles_of_a_loop(height, width):
    net = small_net()
    boundary, _ = boundaries(scene(height, width), num_classes=CLASSES)
    predicted = torch.rand(boundary.shape, generator=torch.Generator().manual_seed(1))
    distances = []
    for image in range(2):
        for top in range(0, height, 16):
            for left in range(0, width, 16):
                cut = [
                    F.pad(m[image, :, top : top + 16, left : left + 16], (0, 16, 0, 16))[:, :16, :16]
                    for m in (predicted, boundary)
                ]
                if cut[1].mean() < 0.02:
                    continue
                offset = (net(*cut) - net(cut[1], cut[1])) * net.scale
                distances.append(euclidean(from_offsets(offset)))
    slow = torch.cat(distances)
    assert 2 < len(slow) < 24
    loss = inverseform(predicted, boundary, net, distance=euclidean)
    assert torch.allclose(loss, slow.mean(), rtol=1e-5)
    total = inverseform(predicted, boundary, net, distance=euclidean, reduction="sum")
    assert torch.allclose(total, slow.sum() / 2, rtol=1e-5)


def test_the_gradient_reaches_the_prediction_and_is_finite(inverse):
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    logits = torch.randn(2, 1, 10, 14, requires_grad=True)
    inverse(logits, boundary, valid).backward()
    assert logits.grad.isfinite().all() and (logits.grad != 0).float().mean() > 0.2


def test_a_perfect_prediction_has_a_finite_gradient(inverse):
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    logits = ((boundary * 2 - 1) * 100).requires_grad_()
    inverse(logits, boundary, valid).backward()
    assert logits.grad.isfinite().all()


def test_training_the_original_does_not_change_the_loss():
    net = small_net()
    loss = InverseFormLoss(net)
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    logits = torch.randn(2, 1, 40, 56)
    before = loss(logits, boundary, valid)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    assert torch.equal(loss(logits, boundary, valid), before)


def test_it_loads_what_was_saved(tmp_path, inverse):
    save(tmp_path / "net", small_net())
    loaded = InverseFormLoss.load(tmp_path / "net", distance="euclidean")
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    logits = torch.randn(2, 1, 40, 56)
    assert torch.equal(loaded(logits, boundary, valid), inverse(logits, boundary, valid))


UNKNOWN = """
from tests.drawn import small_net
from inverseform import InverseFormLoss
from inverseform.settings import InputError
try:
    InverseFormLoss(small_net(), distance="manhattan")
except InputError as error:
    assert "distance is 'manhattan': one of euclidean" in str(error), error
else:
    raise SystemExit("it was taken")
"""


OPTIONS = """
import sys
from tests.drawn import small_net
from inverseform import InverseFormLoss
from inverseform.settings import InputError
for options, words in (({"reduction": "none"}, "reduction is 'none'"), ({"stride": 0}, "stride is 0:"),
                       ({"stride": 7}, "squares of 2 pixels first; give a multiple of that, such as 8")):
    try:
        InverseFormLoss(small_net(), **options)
    except InputError as error:
        assert words in str(error), error
    else:
        sys.exit(f"{options} were taken")
"""


def test_the_frozen_copy_is_on_one_device_the_network_s():
    frozen = InverseFormLoss(small_net().to("meta"))
    assert {buffer.device.type for buffer in frozen.net.buffers()} == {"meta"}


# In processes of their own: pytest's checks of annotations cannot be traced, and are stricter than the library.
def run_script(script):
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_an_unknown_distance_is_refused():
    run_script(UNKNOWN)


def test_an_unknown_reduction_or_stride_is_refused():
    run_script(OPTIONS)
