"""Do the boundary terms move boundaries by themselves? Descent on free class logits, without a network.

    python -m benchmarks.descent [--net FOLDER] [--steps N]

Class logits begin as the true classes of drawn scenes, blurred and shifted by 3 pixels, and are changed by Adam to
lower one term alone, its boundary derived from the class probabilities: pixel by pixel, or by a smooth field, as those
of a network are. mBA says whether boundaries come back, and the cosine with the gradient of cross entropy at the start
whether a term pulls the way that it does.
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from inverseform import inverse_net
from inverseform.boundary import boundaries
from inverseform.boundary_aware import balanced_cross_entropy
from inverseform.coupling import class_boundary_logits, gradient_cosine
from inverseform.data.canvas import CLASSES
from inverseform.data.procedural import ProceduralParams, open_procedural
from inverseform.loss import InverseFormLoss
from inverseform.metrics.boundary import BoundaryAccuracy
from inverseform.segmentation_loss import cross_entropy

SHIFT, BLUR, SMOOTH, RATE, COUNT = 3, 2.0, 3.0, 0.05, 4
Maps = Float[Tensor, "batch classes height width"]
Term = Callable[[Tensor], Tensor]


def blurred(maps: Maps, sigma: float) -> Maps:
    """Maps under a Gaussian; their border is continued."""
    reach = round(3 * sigma)
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1.0) / sigma) ** 2)
    weight = (weight / weight.sum()).expand(maps.shape[1], 1, -1)
    padded = F.pad(maps, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, weight[:, :, None], groups=maps.shape[1])
    return F.conv2d(across, weight[..., None], groups=maps.shape[1])


def shifted(labels: Int64[Tensor, "batch height width"]) -> Maps:
    """Logits of the true classes, blurred and a few pixels to the right."""
    # The pixels that are not known count as class 0 here, and nowhere else.
    hot = F.one_hot(labels.where(labels != 255, 0), CLASSES).movedim(-1, 1).float()
    moved = F.pad(blurred(hot, BLUR)[..., :-SHIFT], (SHIFT, 0, 0, 0), mode="replicate")
    return (moved + 1e-3).log()


def accuracy(logits: Maps, labels: Int64[Tensor, "batch height width"]) -> float:
    """Mean boundary accuracy."""
    meter = BoundaryAccuracy()
    for predicted, truth in zip(logits.argmax(dim=1).byte(), labels.byte(), strict=True):
        meter.update(predicted, truth)
    return meter.scores().mba or 0.0


def descend(start: Maps, term: Term, labels: Int64[Tensor, "batch height width"], *, steps: int, smooth: bool) -> str:
    """The best mBA on the way and at which step, and that at the end."""
    free = torch.zeros_like(start, requires_grad=True)
    optimiser, found = torch.optim.Adam([free], lr=RATE), []
    for _ in range(steps):
        # As strong as a free field: a Gaussian takes most of what differs from pixel to pixel.
        now = start + (blurred(free, SMOOTH) * (1 + 2 * SMOOTH) if smooth else free)
        found.append(accuracy(now.detach(), labels))
        optimiser.zero_grad()
        term(now).backward()
        optimiser.step()
    return f"{max(found):.3f} at {found.index(max(found))}, {found[-1]:.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", help="an inverse network of train_inverse; the packaged one by default")
    parser.add_argument("--steps", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    inverse = InverseFormLoss(inverse_net.load(given.net) if given.net else inverse_net.pretrained())
    params = ProceduralParams(name="procedural", train=COUNT, val=1, test=1, size=(192, 256), seed=3)
    scenes = open_procedural(params).splits["train"]
    labels = torch.stack([torch.from_numpy(scene.read().labels).long() for scene in scenes])
    boundary, valid = boundaries(labels, num_classes=CLASSES, **inverse.net.settings.boundary.model_dump())
    terms: dict[str, Term] = {
        "cross entropy": lambda logits: cross_entropy(logits, labels),
        "boundary cross entropy": lambda logits: balanced_cross_entropy(class_boundary_logits(logits), boundary, valid),
        "InverseForm": lambda logits: inverse(class_boundary_logits(logits), boundary, valid),
    }
    start = shifted(labels)
    leaf = start.clone().requires_grad_()
    values = {name: term(leaf) for name, term in terms.items()}
    print(
        f"{COUNT} drawn scenes of 256x192, {given.steps} steps; torch {torch.__version__}\n\nmBA at the start "
        f"{accuracy(start, labels):.3f}; then the best and its step, and the last\n\n"
        "| term alone | value | cosine with cross entropy | free pixels | smooth field |\n|---|--:|--:|--:|--:|"
    )
    for name, term in terms.items():
        cosine = gradient_cosine(values[name], values["cross entropy"], leaf)
        ways = [descend(start, term, labels, steps=given.steps, smooth=smooth) for smooth in (False, True)]
        print(f"| {name} | {values[name].item():.4f} | {cosine.item():.3f} | {' | '.join(ways)} |", flush=True)


if __name__ == "__main__":
    main()
