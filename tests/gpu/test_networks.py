"""Networks on a GPU: compiled, and in half precision with their loss behind them."""

import pytest
import torch

from inverseform.boundary_aware import BoundaryAwareLoss
from inverseform.loss import InverseFormLoss
from inverseform.networks import HrnetParams, build
from tests.drawn import CLASSES, scene, small_net
from tests.gpu.device import DEVICE
from tests.networks.tiny import settled

pytestmark = pytest.mark.gpu


def hrnet():
    backbone = {"architecture": "hrnet_w18_small_v2", "pretrained": False}
    params = {"name": "hrnet", "backbone": backbone, "boundary_head": True, "boundary_feedback": False}
    torch.manual_seed(0)
    return settled(build(HrnetParams.model_validate(params), num_classes=CLASSES)).to(DEVICE)


def test_half_precision_and_channels_last_train_the_network_to_a_smaller_loss():
    network = hrnet().to(memory_format=torch.channels_last).train()
    inverse = InverseFormLoss(small_net())
    loss = BoundaryAwareLoss(inverse, beta=0.3, gamma=0.2, num_classes=CLASSES).to(DEVICE)
    labels = scene(96, 128).to(DEVICE)
    images = (labels[:, None].float().expand(-1, 3, -1, -1) - 1.5).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    scaler = torch.amp.GradScaler(DEVICE.type, init_scale=2.0**10)
    totals = []
    for _ in range(8):
        optimiser.zero_grad()
        with torch.autocast(DEVICE.type, dtype=torch.float16):
            found = network(images)
            terms = loss(found.segmentation, labels, boundary_logits=found.boundary)
        scaler.scale(terms.total).backward()
        scaler.step(optimiser)
        scaler.update()
        totals.append(terms.total.detach())
    assert totals[0].dtype == torch.float32 and torch.stack(totals).isfinite().all()
    assert totals[-1] < 0.8 * totals[0]


# In a process of its own: pytest's checks of annotations cannot be traced.
COMPILED = """
import torch
from tests.gpu.test_networks import DEVICE, hrnet
network, images = hrnet(), torch.randn(2, 3, 96, 128, device=DEVICE)
compiled = torch.compile(network)
with torch.no_grad():
    one, other = network(images), compiled(images)
scale = float(one.segmentation.abs().max())
torch.testing.assert_close(one.segmentation, other.segmentation, rtol=0, atol=1e-3 * scale)
torch.testing.assert_close(one.boundary, other.boundary, rtol=0, atol=1e-3 * float(one.boundary.abs().max()))
"""


def test_compiled_it_is_the_same(run_script):
    run_script(COMPILED)
