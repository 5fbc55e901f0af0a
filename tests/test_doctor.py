import pytest
import torch
import torch.nn.functional as F
from torch import nn

import inverseform
from inverseform.doctor import diagnose
from inverseform.loss import InverseFormLoss
from inverseform.settings import InputError
from inverseform.trials import draw
from tests.drawn import small_net, trained_net

SIDE = 32


def examined(criterion, **options):
    diagnosis = diagnose(criterion, **{"size": SIDE, "tiles": 4, **options})
    return diagnosis, {finding.about: finding for finding in diagnosis.findings}


@pytest.fixture(scope="module")
def trained():
    """A network that was trained, shortly, on boundaries drawn with other seeds than the doctor's."""
    return trained_net(SIDE, steps=170)


def naive_geodesic(theta):
    """Eq. (3) as it is printed: a rotation by SVD, and its angle by arccos."""
    u, _, v = torch.linalg.svd(theta[:, :2, :2])
    return torch.arccos((u @ v).diagonal(dim1=-2, dim2=-1).sum(dim=-1) / 2).sum()


def test_our_loss_with_a_trained_network_is_well(trained):
    diagnosis, found = examined(InverseFormLoss(trained), tiles=8)
    assert not diagnosis.sick, str(diagnosis)
    assert {"gradient", "finite", "zero", "direction", "growth", "network"} == set(found)
    assert found["gradient"].verdict == found["finite"].verdict == found["zero"].verdict == "well"
    assert diagnosis.figures["points_back"] > 0.9


def test_our_loss_with_an_untrained_network_is_sick():
    diagnosis, found = examined(InverseFormLoss(small_net(tile=SIDE)))
    assert diagnosis.sick and found["network"].verdict == "sick"
    assert "untrained" in found["network"].told


def test_an_untrained_network_as_it_answers_points_back_at_chance():
    net = small_net(tile=SIDE).requires_grad_(False)
    diagnosis, found = examined(lambda x, y: (net.theta(net(x.sigmoid()[:, 0], y[:, 0])) - torch.eye(3)).norm())
    assert diagnosis.sick and found["direction"].verdict == "sick" and found["zero"].verdict == "sick"
    assert 0.3 < diagnosis.figures["points_back"] < 0.7


def test_cross_entropy_is_a_loss_and_no_distance():
    diagnosis, found = examined(F.binary_cross_entropy_with_logits, size=64)
    assert not diagnosis.sick
    assert found["direction"].verdict == found["zero"].verdict == "well"
    assert found["growth"].verdict == "remark" and "rather than by how far" in found["growth"].told


def test_the_released_loss_is_dead_of_a_softmax_over_one_channel():
    net = small_net(tile=SIDE)
    diagnosis, found = examined(lambda x, y: net(F.log_softmax(x, dim=1)[:, 0], y[:, 0]).norm())
    assert diagnosis.sick and "log_softmax over the one channel" in found["gradient"].told
    # What a dead loss would say of direction and growth is no news.
    assert "direction" not in found and "growth" not in found


@pytest.mark.parametrize("step", [lambda x: torch.ge(x, 0).float(), lambda x: x.detach(), lambda x: x.round().long()])
def test_a_threshold_is_dead_because_autograd_finds_no_path(step):
    net = small_net(tile=SIDE)
    diagnosis, found = examined(lambda x, y: net(step(x).float()[:, 0], y[:, 0]).norm())
    assert diagnosis.sick and "autograd finds no path" in found["gradient"].told


def test_a_step_function_with_a_path_is_dead_too():
    diagnosis, found = examined(lambda x, y: (x.sign() - y).abs().mean())
    assert diagnosis.sick and "step function" in found["gradient"].told


def test_equation_3_by_svd_and_arccos_is_nan_at_a_perfect_prediction(trained):
    net = trained.requires_grad_(False)
    diagnosis, found = examined(lambda x, y: naive_geodesic(net.estimate(x.sigmoid()[:, 0], y[:, 0])))
    assert diagnosis.sick and found["finite"].verdict == "sick" and "eq. 3" in found["finite"].told


def test_nan_for_shifted_boundaries_is_told_apart():
    def at_shifts(x, y):
        wrong = (x.sigmoid() - y).abs().mean()
        return wrong + (0.02 - wrong).clamp(max=0).sqrt() * 0 + (0.02 - wrong).sqrt()

    _, found = examined(at_shifts)
    assert found["finite"].verdict == "sick" and "shifted" in found["finite"].told


def test_a_turned_sign_points_the_wrong_way():
    diagnosis, found = examined(lambda x, y: -F.binary_cross_entropy_with_logits(x, y))
    assert diagnosis.sick and "wrong way" in found["direction"].told and found["growth"].verdict == "sick"


def test_a_loss_of_probabilities_is_known_by_its_error_or_by_its_values():
    for criterion in (F.binary_cross_entropy, lambda x, y: (x - y).square().mean()):
        diagnosis, found = examined(criterion)
        assert diagnosis.sick and "torch.sigmoid" in found["range"].told


def test_an_error_of_the_loss_is_its_finding():
    def broken(x, y):
        raise KeyError("weight")

    for criterion in (broken, lambda x, y: x - y, lambda x: x.mean()):
        diagnosis, found = examined(criterion)
        assert diagnosis.sick and found["call"].verdict == "sick"


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 1, 3))

    def forward(self, x, y):
        return self.net(torch.cat([x.sigmoid(), y], dim=1)).mean()


def test_a_network_in_training_mode_and_one_that_can_be_trained_are_told():
    torch.manual_seed(0)
    loss = Dropping()
    _, found = examined(loss)
    assert found["mode"].verdict == "sick" and ".eval()" in found["mode"].told
    assert found["frozen"].verdict == "remark" and "4 tensors" in found["frozen"].told
    _, found = examined(loss.eval().requires_grad_(False))
    assert "mode" not in found and "frozen" not in found


def test_boundaries_of_ones_own_are_used_and_what_holds_none_is_refused():
    own, _ = examined(F.binary_cross_entropy_with_logits, maps=[torch.ones(1, 1, 1).expand(1, 90, 90).contiguous()])
    drawn, _ = examined(F.binary_cross_entropy_with_logits, maps=draw(SIDE, 4, seed=0))
    assert own.figures["points_back"] is None and drawn.figures["points_back"] == 1
    with pytest.raises(InputError, match="give a smaller size"):
        examined(F.binary_cross_entropy_with_logits, maps=[torch.zeros(1, 90, 90)])


def test_the_same_seed_gives_the_same_verdict_word_for_word():
    once, again = (str(examined(F.binary_cross_entropy_with_logits, seed=5)[0]) for _ in range(2))
    assert once == again and once.splitlines()[-1] == "verdict: well"


def test_it_is_one_of_the_public_names():
    assert inverseform.diagnose is diagnose
