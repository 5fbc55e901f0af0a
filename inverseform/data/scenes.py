"""Drawn scenes: label maps composed of layers of shapes, with the variety of boundaries that real data sets have."""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8

from inverseform.data import shapes
from inverseform.data.canvas import Canvas, Point, Points, at, blob, coast, corners
from inverseform.sample import IGNORE_INDEX

Layer = Callable[[Canvas], None]


def draw(height: int, width: int, random: np.random.Generator) -> UInt8[np.ndarray, "height width"]:
    """The label map of a scene of a kind drawn by its weight; class ids, and IGNORE_INDEX here and there."""
    canvas = Canvas(height, width, random)
    kinds, weights = list(SCENES), np.array(list(SCENES.values()))
    kinds[random.choice(len(kinds), p=weights / weights.sum())](canvas)
    if canvas.chance(0.6):
        canvas.shake(canvas.length(0.3, 2.5), canvas.length(5, 40))
    if canvas.chance(0.3):
        shapes.specks(canvas)
    if canvas.chance(0.25):
        _unknown(canvas)
    return canvas.labels


def street(canvas: Canvas) -> None:
    """A road between buildings that run to a vanishing point, with what stands on it; small things far, large near."""
    random, height, width = canvas.random, canvas.height, canvas.width
    vanish = np.array([[random.uniform(0.15, 0.85) * width, random.uniform(0.3, 0.55) * height]])
    road, pavement, building, pole = (canvas.klass() for _ in range(4))
    canvas.fill(_ground(vanish, -3 * width, 3 * width, height), pavement)
    _walls(canvas, vanish, building)
    left, right = -random.uniform(0.0, 0.9) * width, random.uniform(1.0, 1.9) * width
    canvas.fill(_ground(vanish, left, right, height), road)
    leaves = canvas.klass()
    for _ in range(canvas.count(1, 6)):
        radius = canvas.length(8, height / 4)
        centre = vanish + random.normal(size=(1, 2)) * (width / 3, height / 20) - (0, radius * 0.7)
        shapes.crown(canvas, centre, radius, leaves)
    vehicle, person, sign = (canvas.klass() for _ in range(3))
    # Nearness: 1 at the lower edge of the picture, 0 at the vanishing point. Far things first, near ones cover them.
    for near in np.sort(np.exp(random.uniform(np.log(0.04), 0, canvas.count(12, 50)))):
        foot = vanish + np.array([[random.uniform(-1.6, 1.6) * width * near, near * (height - vanish[0, 1])]])
        size = near * height * random.uniform(0.6, 1.1)
        draws = random.random()
        if draws < 0.3:
            _vehicle(canvas, foot, size * random.uniform(0.5, 0.9), vehicle)
        elif draws < 0.55:
            _person(canvas, foot, size * 0.6, person)
        else:
            _pole(canvas, foot, size * random.uniform(0.7, 2.2), pole, sign)


def landscape(canvas: Canvas) -> None:
    """Coasts behind, one or two large things in front, small ones between them."""
    shapes.coasts(canvas)
    for layer in _choice(canvas, [shapes.crowns, shapes.spikes, shapes.coasts, shapes.boxes], canvas.count(1, 3)):
        layer(canvas)
    for _ in range(canvas.count(1, 5)):
        size = canvas.length(30, 0.8 * canvas.height)
        (_animal if canvas.chance(0.5) else _person)(canvas, canvas.place(), size, canvas.klass())
    shapes.blobs(canvas)
    for layer in _choice(canvas, [shapes.branches, shapes.curves, shapes.crowns, shapes.blobs], canvas.count(1, 2)):
        layer(canvas)


def tissue(canvas: Canvas) -> None:
    """Nested winding contours."""
    shapes.folds(canvas)
    for layer in _choice(canvas, [shapes.folds, shapes.blobs, shapes.coasts, shapes.folds], canvas.count(0, 2)):
        layer(canvas)


def aerial(canvas: Canvas) -> None:
    """Fields, roofs, roads."""
    for layer in _choice(canvas, [shapes.cells, shapes.coasts, shapes.boxes], 1):
        layer(canvas)
    shapes.boxes(canvas)
    for layer in _choice(canvas, [shapes.curves, shapes.crowns, shapes.boxes, shapes.panes], canvas.count(1, 3)):
        layer(canvas)


def medley(canvas: Canvas) -> None:
    """Anything over anything."""
    for layer in _choice(canvas, LAYERS, canvas.count(2, 5)):
        layer(canvas)


LAYERS: list[Layer] = [
    shapes.blobs, shapes.folds, shapes.crowns, shapes.coasts, shapes.boxes, shapes.curves, shapes.branches,
    shapes.bands, shapes.cells, shapes.panes, shapes.glyphs, shapes.spikes,
]  # fmt: skip
SCENES: dict[Layer, float] = {street: 0.38, landscape: 0.24, tissue: 0.1, aerial: 0.1, medley: 0.18}
"""Kinds of scenes and how frequent each is."""


def _choice(canvas: Canvas, layers: list[Layer], count: int) -> list[Layer]:
    return [layers[number] for number in canvas.random.choice(len(layers), count, replace=False)]


def _ground(vanish: Point, left: float, right: float, height: int) -> Points:
    """The triangle from the vanishing point to two points on the lower edge of the picture."""
    return np.concatenate([vanish, [[right, height + 1.0], [left, height + 1.0]]])


def _walls(canvas: Canvas, vanish: Point, klass: int) -> None:
    """Rows of buildings on both sides, far ones first; their roofs and feet run to the vanishing point."""
    random = canvas.random
    for side in (-1, 1):
        reach = canvas.width * random.uniform(0.6, 1.2)
        ends = np.sort(np.exp(random.uniform(np.log(0.06), np.log(1.0), canvas.count(1, 5))))
        for near, far in zip(ends, [0.02, *ends[:-1]], strict=True):
            if canvas.chance(0.15):
                continue
            roof, foot = -canvas.height * random.uniform(0.15, 1.0), canvas.height * random.uniform(0.05, 0.4)
            x = side * reach * np.array([far, near, near, far])
            y = np.array([roof, roof, foot, foot]) * (far, near, near, far)
            wall = vanish + np.stack([x, y], axis=-1)
            own = klass if canvas.chance(0.8) else canvas.klass()
            canvas.fill(wall, own)
            if canvas.chance(0.4):
                top = (wall[0] + wall[1]) / 2
                width = abs(wall[1, 0] - wall[0, 0])
                canvas.fill(top + corners(random, width * random.uniform(0.1, 0.5), width * 0.3), own)


def _vehicle(canvas: Canvas, foot: Point, size: float, klass: int) -> None:
    """A body with a cabin, wheels, and the gap below it."""
    random = canvas.random
    width, height = size * random.uniform(0.9, 1.8), size * 0.6
    slope = random.uniform(0.1, 0.3)
    body = np.array([
        [-0.5, 0.0], [-0.5, -0.45], [-0.5 + slope, -0.55], [-0.4 + slope, -1], [0.4 - slope / 2, -1], [0.5, -0.5],
        [0.5, 0.0],
    ]) * (width, height)  # fmt: skip
    canvas.fill(foot + body * (random.choice([-1, 1]), 1) - (0, height * 0.12), klass)
    for x in (-0.38, 0.38):
        wheel = blob(random, height * 0.2, wobble=0.05, decay=1.5)
        canvas.fill(foot + wheel + (x * width, -height * 0.12), klass)


def _person(canvas: Canvas, foot: Point, size: float, klass: int) -> None:
    """Head, trunk, two legs and two arms in some posture."""
    random = canvas.random
    stride, lean = random.normal() * 0.12, random.normal() * 0.04
    hip, neck = foot + size * np.array([[lean, -0.48]]), foot + size * np.array([[2 * lean, -0.84]])
    for side in (-1, 1):
        toe = foot + size * np.array([[side * stride + side * 0.04, 0.0]])
        canvas.stroke(np.concatenate([hip, toe]), size * 0.1, klass)
        hand = neck + size * np.array([[side * random.uniform(0.08, 0.3), random.uniform(-0.1, 0.4)]])
        canvas.stroke(np.concatenate([neck, hand]), size * 0.07, klass)
    trunk = blob(random, size * 0.22, wobble=0.08, decay=1.5, flat=0.55, turn=np.pi / 2)
    canvas.fill((hip + neck) / 2 + trunk, klass)
    canvas.fill(neck - (0, size * 0.06) + blob(random, size * 0.08, wobble=0.06, decay=1.5), klass)


def _animal(canvas: Canvas, foot: Point, size: float, klass: int) -> None:
    """A long body with a head, four legs and a tail."""
    random, side = canvas.random, canvas.random.choice([-1, 1])
    body = blob(random, size * 0.5, wobble=0.12, decay=1.3, flat=random.uniform(0.4, 0.7))
    middle = foot - (0, size * 0.6)
    canvas.fill(middle + body, klass)
    head = blob(random, size * 0.2, wobble=0.2, decay=1.2)
    canvas.fill(middle + at(side * size * 0.55, -size * 0.2) + head, klass)
    for x in (-0.35, -0.2, 0.2, 0.35):
        leg = np.concatenate([middle + at(x * size, 0), foot + at((x + random.normal() * 0.06) * size, 0)])
        canvas.stroke(leg, size * random.uniform(0.06, 0.14), klass)
    tail = middle + size * np.array([[-side * 0.45, 0.0], [-side * 0.8, random.uniform(-0.4, 0.3)]])
    canvas.stroke(coast(random, tail[:1], tail[1:], wobble=0.1, decay=1.5), size * 0.04, klass)


def _pole(canvas: Canvas, foot: Point, size: float, klass: int, sign: int) -> None:
    """A thin post, often with a sign on it."""
    random = canvas.random
    width = float(np.clip(size * random.uniform(0.01, 0.05), 2, 7))
    top = foot + size * np.array([[random.normal() * 0.01, -1.0]])
    canvas.stroke(np.concatenate([foot, top]), width, klass)
    if canvas.chance(0.5):
        plate = float(np.clip(size * random.uniform(0.05, 0.15), 2, 40))
        shape = blob(random, plate, wobble=0.02, decay=2) if canvas.chance(0.3) else corners(random, plate, 2 * plate)
        canvas.fill(top + at(0, random.uniform(0, 0.4) * size) + shape, sign)


def _unknown(canvas: Canvas) -> None:
    """A patch or a seam whose class nobody has told."""
    random = canvas.random
    if canvas.chance(0.5):
        patch = blob(random, canvas.length(6, canvas.height / 5), wobble=0.3, decay=1.2)
        canvas.fill(canvas.place() + patch, IGNORE_INDEX)
    else:
        ends = canvas.place(), canvas.place()
        canvas.stroke(coast(random, *ends, wobble=0.05, decay=1.5), canvas.length(2, 8), IGNORE_INDEX)
