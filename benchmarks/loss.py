"""The loss at work: forward and backward on one 512x1024 map, against the published geometry and network.

    python -m benchmarks.loss [--net FOLDER ...] [--threads N]

The published one: both maps resized to 672x1344, cut into 18 tiles of 224, concatenated, 100,385,164 parameters; made
alive by a sigmoid, as its log_softmax over one channel has no gradient. Its weights are random: they cost the same.

Prints medians of runs that take turns, so that a busy moment of the machine falls on all of them.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from inverseform import InverseFormLoss, inverse_net
from inverseform.boundary import boundaries
from inverseform.data.procedural import ProceduralParams, open_procedural
from inverseform.inverse_net import InverseNet
from inverseform.inverse_net.released import SETTINGS

HEIGHT, WIDTH, RUNS = 512, 1024, 15


class Published(nn.Module):
    """The released loss, with a sigmoid where its log_softmax was: written from its geometry."""

    def __init__(self, net: InverseNet, size: tuple[int, int] = (672, 1344)) -> None:
        super().__init__()
        self.size = size
        first, second, third = (layer for layer in net.network.layers)
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, logits: Float[Tensor, "1 1 h w"], boundary: Float[Tensor, "1 1 h w"]) -> Float[Tensor, ""]:
        """Mean over the tiles of the norm of the four answers."""
        one, other = (self._tiles(maps) for maps in (torch.sigmoid(logits), boundary))
        return self.layers(torch.cat([one, other], dim=1)).norm(dim=1).mean()

    def _tiles(self, maps: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "18 pixels"]:
        resized = F.interpolate(maps, size=self.size, mode="bilinear", align_corners=False)
        return rearrange(resized, "b 1 (i h) (j w) -> (b i j) (h w)", h=224, w=224)


def scene(height: int, width: int, net: InverseNet) -> Float[Tensor, "1 1 height width"]:
    """The boundaries of a drawn scene, as wide as a network knows them."""
    params = ProceduralParams(name="procedural", train=1, val=1, test=1, size=(height, width), seed=0)
    labels = torch.from_numpy(open_procedural(params).splits["train"][0].read().labels)[None]
    return boundaries(labels, num_classes=12, **net.settings.boundary.model_dump())[0]


def predicted(boundary: Float[Tensor, "1 1 height width"]) -> Float[Tensor, "1 1 height width"]:
    """Logits near the truth, three pixels beside it."""
    soft = F.avg_pool2d(boundary.roll(3, dims=-1), 5, stride=1, padding=2)
    return (8 * soft - 4).requires_grad_()


def medians(calls: dict[str, Callable[[], Tensor]]) -> dict[str, float]:
    """Median milliseconds of forward and backward of each, run in turns, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(RUNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call().backward()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--net", nargs="*", default=[], help="inverse networks of train_inverse, beside the packaged")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    published = InverseNet(SETTINGS).requires_grad_(False)
    nets = {"packaged": inverse_net.pretrained(), "packaged, pooling 2": inverse_net.pretrained(pooling=2)}
    nets |= {name: inverse_net.load(name) for name in given.net}
    print(f"{given.threads} threads, torch {torch.__version__}, {platform.machine()}; a drawn scene, {RUNS} runs\n")

    boundary = scene(HEIGHT, WIDTH, published)
    calls = {"published geometry, 18 tiles of 224": _call(Published(published), boundary)}
    for name, net in nets.items():
        boundary = scene(HEIGHT, WIDTH, net)
        for note, loss in (("", InverseFormLoss(net)), (", uncalibrated", InverseFormLoss(net, calibrated=False))):
            calls[f"ours, {name}, tile {net.settings.tile}{note}"] = _call(loss, boundary)
    _table(f"forward + backward on {HEIGHT}x{WIDTH}", medians(calls))

    # The same network on a map of its own size, so that nothing is resized on either side.
    boundary = scene(672, 1344, published)
    times = medians({
        "published, both halves at once": _call(Published(published), boundary),
        "ours, the target's half without gradient": _call(InverseFormLoss(published, calibrated=False), boundary),
        "ours, calibrated too": _call(InverseFormLoss(published), boundary),
    })  # fmt: skip
    _table("the same 100,385,164 parameters on 672x1344, 18 tiles", times)


def _call(loss: nn.Module, boundary: Float[Tensor, "1 1 height width"]) -> Callable[[], Tensor]:
    logits = predicted(boundary)
    return lambda: loss(logits, boundary)


def _table(title: str, times: dict[str, float]) -> None:
    first = next(iter(times.values()))
    print(f"| {title} | ms | times faster |\n|---|--:|--:|")
    for name, each in times.items():
        print(f"| {name} | {each:.1f} | {first / each:.2f} |")
    print()


if __name__ == "__main__":
    main()
