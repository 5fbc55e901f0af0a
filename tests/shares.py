"""What the losses give in one process for a whole batch, and in each of two for its share: run once for every rank.

A batch of three images is dealt out as one and two. In `empty` the first has no boundary at all; in both batches the
shares have other numbers of known pixels and of occupied tiles.
"""

import sys
from itertools import product

import torch
import torch.distributed as dist
from pydantic import TypeAdapter
from safetensors.torch import save_file

from inverseform.boundary import boundaries
from inverseform.boundary_aware import BoundaryAwareLoss
from inverseform.loss import InverseFormLoss
from inverseform.process_group import Held
from inverseform.segmentation_loss import SegmentationLoss, SegmentationLossParams
from inverseform.settings import InputError
from tests.drawn import CLASSES, scene, small_net

WEIGHTS = (0.5, 1.0, 2.0, 4.0)
SEGMENTATION = {
    "cross_entropy": {"class_weights": WEIGHTS},
    "ohem": {"threshold": 0.3, "min_kept": 0.25, "class_weights": WEIGHTS},
    "boundary_weighted": {"weight": 5.0, "radius": 2, "class_weights": WEIGHTS},
    "rmi": {"weight": 0.5, "radius": 3, "downsampling": 3, "pooling": "average"},
}
SHARES = (slice(0, 1), slice(1, 3))
CASES = [
    ":".join(case)
    for case in product(
        ("empty", "uneven"),
        [
            *SEGMENTATION,
            *(f"{source}-{debias}" for source, debias in product(("head", "classes", "both"), ("plain", "debiased"))),
            "mean",
            "sum",
        ],
    )
]


def labels_of(batch):
    """Labels of three images."""
    labels = scene(batch=3, seed=3, ignored=0.05)
    labels[0, :17] = 255
    labels[2, 30:] = 255
    if batch == "empty":
        labels[0, 17:] = 1
    return labels


def criterion_of(name, group, device):
    """A loss of class logits, labels and boundary logits."""
    if name in SEGMENTATION:
        params = TypeAdapter(SegmentationLossParams).validate_python({"name": name, **SEGMENTATION[name]})
        loss = SegmentationLoss(params, num_classes=CLASSES, group=group).to(device)
        return lambda logits, labels, edges: loss(logits, labels)
    if name in ("mean", "sum"):
        inverse = InverseFormLoss(small_net(), reduction=name, group=group).to(device)
        return lambda logits, labels, edges: inverse(edges, *boundaries(labels, num_classes=CLASSES))
    source, debias = name.split("-")
    loss = BoundaryAwareLoss(
        InverseFormLoss(small_net(), group=group), beta=0.7, gamma=1.3, num_classes=CLASSES, group=group,
        boundary_from=source, boundary_outputs=["main", "auxiliary", "scales"], debias=debias == "debiased",
    ).to(device)  # fmt: skip
    return lambda logits, labels, edges: (
        loss(
            logits,
            labels,
            boundary_logits=edges,
            auxiliary=[(logits.flip(1), 0.4)],
            boundary_at_scales=[edges.flip(-1)],
        ).total
    )


def answers(case, share, group, device="cpu"):
    """The loss of a share and its gradients with respect to the class logits and the boundary logits of that share."""
    batch, name = case.split(":")
    generator = torch.Generator().manual_seed(1)
    drawn = (torch.randn(3, channels, 40, 56, generator=generator) for channels in (CLASSES, 1))
    logits, edges = (each[share].to(device) for each in drawn)
    logits.requires_grad_(), edges.requires_grad_()
    loss = criterion_of(name, group, device)(logits, labels_of(batch)[share].to(device), edges)
    gradients = torch.autograd.grad(loss, (logits, edges), allow_unused=True, materialize_grads=True)
    return {"loss": loss.detach(), "logits": gradients[0], "edges": gradients[1]}


def main(rank, meeting, file, device="cpu"):
    """Write what a process of two says, with the group and without."""
    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo", init_method=f"file://{meeting}", rank=rank, world_size=len(SHARES)
    )
    told = {}
    for case, (kind, group) in product(CASES, (("shared", dist.group.WORLD), ("alone", None))):
        told |= {f"{case}:{kind}:{name}": x.cpu() for name, x in answers(case, SHARES[rank], group, device).items()}
    # Asked of both, as a group is made by all processes; the second is not of it.
    group, refusal = dist.new_group([0]), ""
    try:
        Held(group)
    except InputError as error:
        refusal = str(error)
    save_file(told, file, metadata={"refusal": refusal})
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
