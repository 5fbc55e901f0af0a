"""What tests draw for themselves: scenes of rectangles, and inverse networks with random weights."""

from pathlib import Path

import torch

from inverseform.boundary import BoundaryParams, boundaries
from inverseform.data.dataset import Reading, encode_png
from inverseform.data.pair_store import Origin, Pairs, PairStore, write, write_counts
from inverseform.data.sample_store import DatasetInfo, SampleStore, write_info, write_samples
from inverseform.data.stored_sample import stored
from inverseform.inverse_net import DenseParams, InverseNet, InverseNetSettings
from inverseform.manifest import Manifest
from inverseform.pairs import cut, reflect
from inverseform.probes import probes
from inverseform.transform import TransformRanges, identity, offsets
from inverseform.transform import draw as draw_thetas
from inverseform.trials import draw, material

CLASSES = 4
ROOT = Path(__file__).parents[1]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MANIFEST = Manifest(
    classes=("sky", "tree", "road"),
    colours=((0, 0, 255), (0, 255, 0), (128, 128, 128)),
    mean=MEAN,
    std=STD,
    ignore_index=255,
    params="a" * 64,
    inverse_net="",
    segmenter="b" * 64,
    licence="for tests: 'quotes', \"more\" and ümlauts",
)


def small_net(seed=0, tile=16):
    """An inverse network with random weights: what the laws of the loss do not depend on."""
    torch.manual_seed(seed)
    settings = InverseNetSettings(
        network=DenseParams(name="dense", pooling=2, hidden=(32, 16)), tile=tile, degrees_of_freedom=6, occupancy=0.02,
        boundary=BoundaryParams(operator="sobel", radius=1),
        ranges=TransformRanges(translation=0.2, scale=(0.8, 1.25), rotation=10.0, shear=5.0, perspective=0.0),
        mean=(0.01, 0.0, 0.0, 0.0, 0.02, 0.0), scale=(0.1, 0.05, 0.1, 0.05, 0.1, 0.1),
    )  # fmt: skip
    return InverseNet(settings)


def scene(height=40, width=56, batch=2, ignored=0.0, seed=0):
    """Labels of random rectangles."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(batch, height, width, dtype=torch.int64)
    for image in labels:
        for klass in range(1, CLASSES):
            top, left = (int(torch.randint(0, side // 2, (), generator=generator)) for side in (height, width))
            image[top : top + height // 3, left : left + width // 3] = klass
    labels[torch.rand(labels.shape, generator=generator) < ignored] = 255
    return labels


def sample_store(folder, *, train=6, val=3, height=96, width=120, predicted=None):
    """A sample store of drawn scenes, each with a colour for each class; predictions are so much of the boundary."""
    boundary = BoundaryParams(operator="sobel", radius=1)
    info = DatasetInfo(
        source="drawn", classes=tuple("abcd"), colours=((0, 0, 0),) * CLASSES, boundary=boundary,
        counts={"train": train, "val": val},
    )  # fmt: skip
    folder.mkdir(parents=True)
    first = 0
    for split, count in info.counts.items():
        rows = []
        for seed in range(first, first + count):
            labels = scene(height, width, batch=1, seed=seed)
            edge, valid = boundaries(labels, num_classes=CLASSES)
            image = (labels[0, ..., None].expand(-1, -1, 3) * 60).to(torch.uint8).contiguous().numpy()
            prediction = None if predicted is None else (edge[0, 0] * 255 * predicted).round().byte().numpy()
            reading = Reading(encode_png(image), image, labels[0].to(torch.uint8).numpy(), prediction)
            rows.append(stored(f"{split}-{seed}", reading, edge[0], valid[0]))
        write_samples(folder, info, split, rows, shard_bytes=1 << 20)
        first += count
    write_info(folder, info)
    return SampleStore.open(folder)


def pair_stores(folder, *, tile=16, pairs=24, probe_tiles=6):
    """Pairs of drawn boundaries as synthesize writes them: the stores of train, val and probe."""
    settings = small_net(tile=tile).settings
    made = settings.model_dump(mode="json", include={"tile", "degrees_of_freedom", "occupancy", "boundary", "ranges"})
    folder.mkdir(parents=True)
    [boundary] = draw(tile, 1, seed=3)
    generator = torch.Generator().manual_seed(4)
    thetas = draw_thetas(pairs, settings.ranges, degrees_of_freedom=6, generator=generator)
    origins = torch.randint(tile, tile * 2, (pairs, 2), generator=generator)
    still, moves = identity(pairs, like=thetas), probes(tile)
    random = (cut(boundary, origins, still, tile=tile), cut(boundary, origins, thetas, tile=tile), thetas)
    given = material(draw(tile, 4, seed=5), tile, probe_tiles, 6)
    moved = given.moved.flatten(0, 1) > 0.5
    probed = (
        (given.targets > 0.5).repeat_interleave(len(moves), dim=0), moved,
        torch.stack([move.theta for move in moves]).repeat(probe_tiles, 1, 1),
    )  # fmt: skip
    for split, (targets, warped, theta) in (("train", random), ("val", random), ("probe", probed)):
        count = len(theta)
        some = Pairs(targets, warped, theta, torch.arange(count))
        where = Origin(["drawn"] * count, torch.zeros(count, 2, dtype=torch.int64))
        write(folder / split, 0, [(some, where)], settings=made)
    write_counts(folder, {"train": pairs, "val": pairs, "probe": len(moved)})
    return {split: PairStore(folder, split) for split in ("train", "val", "probe")}


def trained_net(tile, steps=250):
    """A small dense network, really trained for a few seconds on drawn boundaries: far from good, and no random one."""
    ranges = TransformRanges(translation=0.4, scale=(0.8, 1.25), rotation=14.0, shear=12.0, perspective=0.0)
    generator = torch.Generator().manual_seed(0)
    thetas = draw_thetas(6000, ranges, degrees_of_freedom=6, generator=generator)
    origins = torch.randint(tile // 2, 3 * tile // 2, (6000, 2), generator=generator)
    maps, share = draw(tile, 60, seed=1000), 100
    still = identity(share, like=thetas)
    groups = list(zip(maps, origins.split(share), thetas.split(share), strict=True))
    tiles = torch.cat([cut(m, place, still, tile=tile) for m, place, _ in groups])
    moved = torch.cat([cut(m, place, theta, tile=tile) for m, place, theta in groups])
    numbers = offsets(thetas, 6)
    units = {"mean": tuple(numbers.mean(dim=0).tolist()), "scale": tuple(numbers.std(dim=0).tolist())}
    network = DenseParams(name="dense", pooling=2, hidden=(256, 64))
    torch.manual_seed(0)
    net = InverseNet(small_net(tile=tile).settings.model_copy(update={"network": network, "ranges": ranges, **units}))
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(steps):
        some = torch.randint(6000, (128,), generator=generator)
        seeds = torch.randint(2**40, (128,), generator=generator)
        target, predicted, theta = reflect(tiles[some], moved[some], thetas[some], seeds)
        truth = (offsets(theta, 6) - net.mean) / net.scale
        loss = (net(predicted.float(), target.float()) - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval()
