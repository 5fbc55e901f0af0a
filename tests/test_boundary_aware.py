import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from inverseform.boundary import boundaries
from inverseform.boundary_aware import BoundaryAwareLoss, balanced_cross_entropy
from inverseform.coupling import LossParams, class_boundary_logits, debias
from inverseform.loss import InverseFormLoss, enlarge
from inverseform.segmentation_loss import CrossEntropyParams, cross_entropy
from inverseform.settings import InputError
from tests.drawn import CLASSES, ROOT, scene, small_net


@pytest.fixture
def inverse():
    return InverseFormLoss(small_net())


@pytest.fixture
def criterion(inverse):
    return BoundaryAwareLoss(inverse, beta=0.3, gamma=0.2, num_classes=CLASSES)


@pytest.mark.parametrize("labels", [torch.zeros(2, 40, 56, dtype=torch.int64), torch.full((2, 40, 56), 255)])
def test_with_nothing_to_compare_every_boundary_term_is_a_zero_with_a_gradient(criterion, labels):
    logits = torch.randn(2, CLASSES, 10, 14, requires_grad=True)
    edges = torch.randn(2, 1, 10, 14, requires_grad=True)
    terms = criterion(logits, labels, boundary_logits=edges)
    terms.total.backward()
    assert terms.inverseform == 0 and edges.grad is not None and logits.grad is not None
    assert edges.grad.isfinite().all() and logits.grad.isfinite().all()
    if (labels == 255).all():
        assert terms.total == 0


def test_what_is_predicted_where_the_truth_is_not_known_does_not_matter(inverse):
    labels = scene()
    labels[:, 10:20, 8:30] = 255
    boundary, valid = boundaries(labels, num_classes=CLASSES)
    logits = torch.randn(2, 1, 40, 56)
    other = torch.where(valid.bool(), logits, torch.randn(2, 1, 40, 56) * 10)
    assert torch.equal(inverse(logits, boundary, valid), inverse(other, boundary, valid))
    assert torch.equal(balanced_cross_entropy(logits, boundary, valid), balanced_cross_entropy(other, boundary, valid))


def test_no_term_depends_on_the_size_of_the_batch(criterion):
    labels = scene(batch=1)
    logits, edges = torch.randn(1, CLASSES, 40, 56), torch.randn(1, 1, 40, 56)
    one = criterion(logits, labels, boundary_logits=edges)
    four = criterion(logits.repeat(4, 1, 1, 1), labels.repeat(4, 1, 1), boundary_logits=edges.repeat(4, 1, 1, 1))
    for a, b in zip(one, four, strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


def test_the_total_is_the_weighted_sum(criterion):
    terms = criterion(torch.randn(2, CLASSES, 10, 14), scene(ignored=0.1), boundary_logits=torch.randn(2, 1, 10, 14))
    assert torch.allclose(terms.total, terms.segmentation + 0.3 * terms.boundary + 0.2 * terms.inverseform)
    assert min(terms.total, terms.segmentation, terms.boundary, terms.inverseform) > 0
    assert terms.auxiliary == 0 and terms.gamma == pytest.approx(0.2)


def test_the_weighted_terms_sum_to_the_total(criterion):
    side = (torch.randn(2, CLASSES, 5, 7), 0.4)
    terms = criterion(torch.randn(2, CLASSES, 10, 14), scene(), auxiliary=[side], gamma=0.7)
    weighted = criterion.weighted(terms)
    assert torch.allclose(torch.stack(list(weighted.values())).sum(), terms.total) and min(weighted.values()) > 0
    assert torch.allclose(weighted["inverseform"], 0.7 * terms.inverseform)


def test_balanced_cross_entropy_weighs_boundary_and_background_alike():
    boundary, valid = boundaries(scene(), num_classes=CLASSES)
    logits = torch.randn(boundary.shape)
    on = F.binary_cross_entropy_with_logits(logits[boundary == 1], torch.ones_like(logits[boundary == 1]))
    off = F.binary_cross_entropy_with_logits(logits[boundary == 0], torch.zeros_like(logits[boundary == 0]))
    assert torch.allclose(balanced_cross_entropy(logits, boundary, valid), (on + off) / 2)


def test_without_boundary_logits_they_come_from_the_class_probabilities(criterion):
    labels = scene()
    sure = (F.one_hot(labels, CLASSES).movedim(-1, 1).float() * 40).requires_grad_()
    vague = torch.zeros_like(sure, requires_grad=True)
    right, wrong = criterion(sure, labels), criterion(vague, labels)
    assert right.boundary < 0.02 < wrong.boundary
    assert right.inverseform < wrong.inverseform
    noisy = torch.randn(2, CLASSES, 40, 56, requires_grad=True)
    criterion(noisy, labels).inverseform.backward()
    assert noisy.grad is not None and noisy.grad.isfinite().all() and noisy.grad.abs().sum() > 0


def test_several_boundary_maps_are_averaged_by_their_weights(inverse):
    labels, logits = scene(), torch.randn(2, CLASSES, 40, 56)
    maps = [torch.randn(2, 1, 10, 14), torch.randn(2, 1, 20, 28)]
    criterion = BoundaryAwareLoss(inverse, beta=1.0, gamma=1.0, num_classes=CLASSES, boundary_weights=[3, 1])
    alone = [
        criterion.__class__(inverse, beta=1.0, gamma=1.0, num_classes=CLASSES)(logits, labels, boundary_logits=m)
        for m in maps
    ]
    both = criterion(logits, labels, boundary_logits=maps)
    for name in ("boundary", "inverseform"):
        expected = 0.75 * getattr(alone[0], name) + 0.25 * getattr(alone[1], name)
        assert torch.allclose(getattr(both, name), expected, rtol=1e-5)
    with pytest.raises(InputError, match="1 boundary maps and 2 boundary_weights"):
        criterion(logits, labels, boundary_logits=maps[0])


def aware(inverse, **options):
    return BoundaryAwareLoss(inverse, **{"beta": 1.0, "gamma": 1.0, "num_classes": CLASSES, **options})


def boundary_terms(terms):
    return torch.stack([terms.boundary, terms.inverseform])


@pytest.mark.parametrize("source", ["head", "classes", "both"])
def test_the_boundary_terms_pull_on_what_they_are_taken_from(inverse, source):
    logits, edges = torch.randn(2, CLASSES, 40, 56), torch.randn(2, 1, 10, 14)
    for tensor in (logits, edges):
        tensor.requires_grad_()
    terms = aware(inverse, boundary_from=source)(logits, scene(), boundary_logits=edges)
    for term in (terms.boundary, terms.inverseform):
        found = torch.autograd.grad(term, (logits, edges), retain_graph=True, materialize_grads=True, allow_unused=True)
        assert [bool(gradient.any()) for gradient in found] == [source != "head", source != "classes"]


def test_from_both_is_the_mean_of_the_head_s_and_the_classes(inverse):
    labels, logits = scene(), torch.randn(2, CLASSES, 40, 56)
    maps = [torch.randn(2, 1, 10, 14), torch.randn(2, 1, 20, 28)]
    head, classes, both = (
        boundary_terms(aware(inverse, boundary_from=source)(logits, labels, boundary_logits=maps))
        for source in ("head", "classes", "both")
    )
    assert torch.allclose(both, (head + classes) / 2, rtol=1e-5)
    derived = aware(inverse)(logits, labels, boundary_logits=class_boundary_logits(logits))
    assert torch.allclose(classes, boundary_terms(derived), rtol=1e-5)
    weighed = aware(inverse, boundary_from="both", boundary_weights=[0, 0, 2])
    assert torch.allclose(boundary_terms(weighed(logits, labels, boundary_logits=maps)), classes, rtol=1e-5)


def test_the_outputs_that_are_asked_for_get_the_boundary_terms(inverse):
    labels, logits, side = scene(), torch.randn(2, CLASSES, 40, 56), torch.randn(2, CLASSES, 10, 14)
    main, half = torch.randn(2, 1, 10, 14), torch.randn(2, 1, 5, 7)
    given = {"boundary_logits": main, "boundary_at_scales": [half], "auxiliary": [(side, 0.4)]}

    def found(source, *outputs):
        criterion = aware(inverse, boundary_from=source, boundary_outputs=outputs)
        return boundary_terms(criterion(logits, labels, **given))

    def of(edges):
        return boundary_terms(aware(inverse)(logits, labels, boundary_logits=edges))

    assert torch.equal(found("head", "main"), of(main)) and torch.equal(found("head", "scales"), of(half))
    assert torch.allclose(found("head", "main", "scales"), (of(main) + of(half)) / 2, rtol=1e-5)
    derived = [of(class_boundary_logits(each)) for each in (logits, enlarge(side, labels[:, None]))]
    assert torch.allclose(found("classes", "auxiliary"), derived[1], rtol=1e-5)
    assert torch.allclose(found("classes", "main", "auxiliary"), (derived[0] + derived[1]) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"boundary_from": "head"}, {}),
        ({"boundary_from": "both"}, {}),
        ({"boundary_from": "classes", "boundary_outputs": ["scales"]}, {}),
        ({"boundary_outputs": ["auxiliary"]}, {"boundary_logits": torch.zeros(2, 1, 10, 14)}),
    ],
)
def test_a_boundary_that_is_not_there_is_refused(inverse, options, given):
    with pytest.raises(InputError, match="no map is among them; give boundary_logits"):
        aware(inverse, **options)(torch.zeros(2, CLASSES, 40, 56), scene(), **given)


def test_side_outputs_get_the_segmentation_loss_times_their_weights(inverse):
    labels, logits = scene(ignored=0.1), torch.randn(2, CLASSES, 10, 14)
    sides = [(torch.randn(2, CLASSES, 10, 14), 0.4), (torch.randn(2, CLASSES, 20, 28), 0.05)]
    plain, with_sides = (aware(inverse)(logits, labels, auxiliary=each) for each in ((), sides))
    expected = torch.stack([w * cross_entropy(enlarge(side, labels[:, None]), labels) for side, w in sides]).sum()
    assert torch.allclose(with_sides.auxiliary, expected) and torch.allclose(with_sides.total, plain.total + expected)


def test_debiased_only_inverseform_sees_other_logits_and_only_a_head_s(inverse):
    labels, logits, edges = scene(), torch.randn(2, CLASSES, 40, 56), torch.randn(2, 1, 40, 56)
    boundary, valid = boundaries(labels, num_classes=CLASSES)
    plain, debiased = (aware(inverse, debias=d)(logits, labels, boundary_logits=edges) for d in (False, True))
    assert torch.equal(debiased.boundary, plain.boundary) and debiased.inverseform != plain.inverseform
    assert torch.equal(debiased.inverseform, inverse(debias(edges, boundary, valid), boundary, valid))
    assert aware(inverse, debias=True)(logits, labels) == aware(inverse)(logits, labels)


def test_the_gamma_of_a_step_takes_the_place_of_the_loss_s(inverse):
    labels, logits, edges = scene(), torch.randn(2, CLASSES, 40, 56), torch.randn(2, 1, 10, 14)
    for gamma in (0.0, 0.25):
        given = aware(inverse)(logits, labels, boundary_logits=edges, gamma=gamma)
        assert given == aware(inverse, gamma=gamma)(logits, labels, boundary_logits=edges) and given.gamma == gamma
    assert aware(inverse)(logits, labels, boundary_logits=edges, gamma=0.0).inverseform == 0
    with pytest.raises(InputError, match=r"gamma is 0\.5 and there is no InverseForm loss"):
        aware(None, gamma=0.0)(logits, labels, gamma=0.5)


def test_of_settings_is_the_same_loss(inverse):
    params = LossParams(
        segmentation=CrossEntropyParams(name="cross_entropy", class_weights="enet"), beta=0.3, gamma=0.2,
        gamma_start=0.5, gamma_ramp=0.1, distance="euclidean", boundary_from="both", boundary_outputs=("main",),
        debias=True,
    )  # fmt: skip
    labels, logits, edges = scene(), torch.randn(2, CLASSES, 40, 56), torch.randn(2, 1, 10, 14)
    criterion = BoundaryAwareLoss.of(params, inverse, num_classes=CLASSES, counts=[4, 3, 2, 1])
    by_hand = aware(
        inverse, beta=0.3, gamma=0.2, boundary_from="both", boundary_outputs=["main"], debias=True,
        segmentation_loss=criterion.segmentation_loss,
    )  # fmt: skip
    assert criterion(logits, labels, boundary_logits=edges) == by_hand(logits, labels, boundary_logits=edges)
    *_, weights = (buffer.tolist() for name, buffer in criterion.named_buffers() if name.endswith("class_weights"))
    assert weights == sorted(weights) and weights[0] < weights[3]
    assert not list(criterion.parameters()) and not criterion.state_dict()


def test_a_given_boundary_takes_the_place_of_the_labels(criterion):
    labels, logits, edges = scene(), torch.randn(2, CLASSES, 40, 56), torch.randn(2, 1, 40, 56)
    boundary, valid = boundaries(labels, num_classes=CLASSES)
    derived = criterion(logits, labels, boundary_logits=edges)
    given = criterion(logits, labels, boundary_logits=edges, boundary=boundary, valid=valid)
    assert given == derived
    assert criterion(logits, labels, boundary_logits=edges, boundary=1 - boundary).boundary != derived.boundary


def test_a_segmentation_loss_of_ones_own_is_used(inverse):
    seen = []

    def own(logits, labels):
        seen.append((logits.shape, labels.shape))
        return logits.square().mean()

    criterion = BoundaryAwareLoss(inverse, beta=0.0, gamma=0.0, num_classes=CLASSES, segmentation_loss=own)
    logits = torch.randn(2, CLASSES, 40, 56)
    assert torch.allclose(
        criterion(logits, scene(), boundary_logits=torch.zeros(2, 1, 40, 56)).total, logits.square().mean()
    )
    assert seen == [((2, CLASSES, 40, 56), (2, 40, 56))]


def test_the_frozen_network_is_in_no_optimiser_and_no_checkpoint(criterion):
    assert not list(criterion.parameters()) and not criterion.state_dict()


@pytest.mark.parametrize("change", [lambda m: m.half(), lambda m: m.double(), lambda m: m.to(torch.bfloat16)])
def test_the_frozen_network_stays_in_single_precision_inside_any_model(criterion, change):
    before = {name: buffer.clone() for name, buffer in criterion.named_buffers()}
    model = torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "loss": criterion})
    change(model)
    assert model["net"].weight.dtype != torch.float32
    after = dict(criterion.named_buffers())
    assert after and all(torch.equal(after[name], before[name]) for name in before)


def test_the_frozen_network_moves_to_another_device(criterion):
    moved = copy.deepcopy(criterion).to("meta")
    assert {buffer.device.type for buffer in moved.buffers()} == {"meta"}


def test_autocast_changes_nothing_behind_the_logits(criterion):
    labels, logits, edges = scene(), torch.randn(2, CLASSES, 10, 14), torch.randn(2, 1, 10, 14)
    plain = criterion(logits.bfloat16(), labels, boundary_logits=edges.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = criterion(logits.bfloat16(), labels, boundary_logits=edges.bfloat16())
    assert plain == cast and cast.total.dtype == torch.float32


def test_a_weight_without_its_loss_is_refused():
    with pytest.raises(InputError, match=r"gamma is 0\.5 and there is no InverseForm loss"):
        BoundaryAwareLoss(None, beta=0.1, gamma=0.5, num_classes=3)


COMPILED = """
import sys
import torch
import torch.distributed as dist
from tests.drawn import CLASSES, scene, small_net
from inverseform import BoundaryAwareLoss, InverseFormLoss
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
for edges, group in ((torch.randn(2, 1, 10, 14), dist.group.WORLD), (None, None)):
    criterion = BoundaryAwareLoss(InverseFormLoss(small_net(), group=group), beta=0.3, gamma=0.2, num_classes=CLASSES,
                                  debias=True, group=group)
    compiled = torch.compile(criterion, fullgraph=True, backend="aot_eager")
    results = []
    for run in (criterion, compiled):
        logits = torch.randn(2, CLASSES, 10, 14, generator=torch.Generator().manual_seed(0)).requires_grad_()
        terms = run(logits, scene(ignored=0.1), boundary_logits=edges)
        terms.total.backward()
        results.append([*terms, logits.grad])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
dist.destroy_process_group()
"""


# In a process of its own: pytest's checks of annotations cannot be traced, and are stricter than the library.
def test_compiles_in_one_graph_with_the_same_values_and_gradients(tmp_path):
    script = [sys.executable, "-W", "ignore", "-c", COMPILED, str(tmp_path / "group")]
    subprocess.run(script, check=True, cwd=ROOT)


PLANNED = """
import torch
from pydantic import TypeAdapter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from inverseform import BoundaryAwareLoss, InverseFormLoss
from inverseform.segmentation_loss import SegmentationLoss, SegmentationLossParams
from tests.drawn import CLASSES, small_net
from tests.shares import SEGMENTATION

class OneDevice(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        devices = {x.device.type for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)}
        assert devices <= {"cuda"}, f"{func} has tensors on {devices}"
        return out

def planned(name):
    params = TypeAdapter(SegmentationLossParams).validate_python({"name": name, **SEGMENTATION[name]})
    loss = BoundaryAwareLoss(
        InverseFormLoss(small_net()), beta=0.3, gamma=0.2, num_classes=CLASSES, boundary_from="both", debias=True,
        segmentation_loss=SegmentationLoss(params, num_classes=CLASSES),
    )
    with FakeTensorMode():
        for module in loss.modules():
            for key, tensor in list(module.named_buffers(recurse=False)):
                module.register_buffer(key, torch.empty(tensor.shape, device="cuda"), persistent=False)
        logits, edges = (torch.empty(2, n, 10, 14, device="cuda", requires_grad=True) for n in (CLASSES, 1))
        labels = torch.empty(2, 40, 56, device="cuda", dtype=torch.uint8)
        with OneDevice():
            return loss(logits, labels, boundary_logits=edges).total

for name in SEGMENTATION:
    assert planned(name).device.type == "cuda"
"""


# Tensors of a GPU that have a shape and no values: whoever would look at one, or copy it to the host, is refused.
def test_no_term_looks_at_a_value_or_leaves_the_gpu():
    subprocess.run([sys.executable, "-W", "ignore", "-c", PLANNED], check=True, cwd=ROOT)


DISTRIBUTED = """
import os, sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from tests.drawn import CLASSES, scene, small_net
from inverseform import BoundaryAwareLoss, InverseFormLoss

class WithLoss(torch.nn.Module):
    def __init__(self, group=None):
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Conv2d(3, CLASSES + 1, 3, padding=1)
        inverse = InverseFormLoss(small_net(), group=group)
        self.loss = BoundaryAwareLoss(inverse, beta=0.3, gamma=0.2, num_classes=CLASSES, group=group)
    def forward(self, images, labels):
        out = self.net(images)
        return self.loss(out[:, 1:], labels, boundary_logits=out[:, :1]).total

rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
images, labels = torch.randn(3, 3, 40, 56, generator=torch.Generator().manual_seed(1)), scene(batch=3)
labels[0, :20] = 255
share = slice(0, 1) if rank == 0 else slice(1, 3)
alone = WithLoss()
alone(images, labels).backward()
errors = []
for group in (dist.group.WORLD, None):
    model = DistributedDataParallel(WithLoss(group))
    model(images[share], labels[share]).backward()
    errors.append(float((model.module.net.weight.grad / alone.net.weight.grad - 1).abs().max()))
assert errors[0] < 1e-3 < errors[1], errors
dist.destroy_process_group()
"""


def test_under_ddp_the_gradient_is_that_of_one_process(tmp_path):
    runs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", DISTRIBUTED, str(rank), str(tmp_path / "group")], cwd=ROOT
        )
        for rank in range(2)
    ]
    assert [run.wait(timeout=120) for run in runs] == [0, 0]


def test_weights_of_boundary_maps_that_sum_to_nothing_are_refused():
    for weights in ([0.0, 0.0], []):
        with pytest.raises(InputError, match="boundary_weights are"):
            BoundaryAwareLoss(None, beta=1.0, gamma=0.0, num_classes=CLASSES, boundary_weights=weights)


def test_maps_of_half_precision_count_as_those_of_single():
    boundary = torch.zeros(1, 1, 300, 300)
    boundary[..., :10] = 1
    logits, valid = torch.randn(boundary.shape), torch.ones_like(boundary)
    single = balanced_cross_entropy(logits, boundary, valid)
    assert torch.equal(balanced_cross_entropy(logits, boundary.half(), valid.half()), single)


def test_a_loss_of_torch_takes_labels_of_eight_bits():
    options = {"beta": 0.0, "gamma": 0.0, "num_classes": CLASSES}
    labels, logits = scene(ignored=0.1).byte(), torch.randn(2, CLASSES, 10, 14)
    given = BoundaryAwareLoss(None, segmentation_loss=torch.nn.CrossEntropyLoss(ignore_index=255), **options)
    assert torch.allclose(given(logits, labels).total, BoundaryAwareLoss(None, **options)(logits, labels).total)
