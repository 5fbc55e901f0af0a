"""Layers of shapes that drawn scenes are made of: one function a kind of boundary, from smooth to ragged."""

import numpy as np

from inverseform.data.canvas import Canvas, Point, at, blob, coast, corners, perspective, rotation, spline


def blobs(canvas: Canvas) -> None:
    """Compact objects with details in them, round to ragged, of any size."""
    random, largest = canvas.random, canvas.length(20, canvas.height / 2)
    for _ in range(canvas.count(3, 14)):
        radius, centre = canvas.length(4, largest), canvas.place()
        wobble, decay = random.uniform(0.05, 0.45), random.uniform(0.8, 2.5)
        outline = blob(
            random, radius, wobble=wobble, decay=decay, flat=random.uniform(0.35, 1), turn=random.uniform(0, np.pi)
        )
        canvas.fill(centre + outline, canvas.klass())
        # The same contour again, smaller: nested boundaries that run along each other.
        for inner in sorted(random.uniform(0.2, 0.9, canvas.count(0, 2)), reverse=True):
            canvas.fill(centre + inner * outline, canvas.klass())


def folds(canvas: Canvas) -> None:
    """Level sets of smooth noise: nested, winding contours, as of tissue or of height; now and then within a blob."""
    random = canvas.random
    period = canvas.length(14, canvas.height / 2.5)
    height = canvas.noise(period, canvas.count(1, 3), roughness=random.uniform(0.2, 0.6))
    region = np.ones(height.shape, dtype=bool)
    if canvas.chance(0.5):
        radius = random.uniform(0.25, 0.5) * canvas.height
        region = canvas.mask(canvas.place() + blob(random, radius, wobble=0.1, decay=1.8, flat=0.8))
        canvas.paint(region, canvas.klass())
    for level in np.sort(random.uniform(-1.2, 1.2, canvas.count(2, 4))):
        canvas.paint(region & (height > level), canvas.klass())


def crown(canvas: Canvas, centre: Point, radius: float, klass: int) -> None:
    """Foliage: a heap of ragged lobes, now and then with gaps where the light comes through."""
    random = canvas.random
    decay, behind = random.uniform(0.5, 1.2), canvas.klass()
    for _ in range(canvas.count(3, 8)):
        offset = random.normal(size=(1, 2)) * radius * (0.5, 0.35)
        size = radius * random.uniform(0.3, 0.8)
        canvas.fill(centre + offset + blob(random, size, wobble=0.25, decay=decay, flat=0.8), klass)
    if canvas.chance(0.3):
        for _ in range(canvas.count(5, 40)):
            offset = random.normal(size=(1, 2)) * radius * 0.5
            canvas.fill(centre + offset + blob(random, canvas.length(1.5, 7), wobble=0.4, decay=0.7), behind)


def crowns(canvas: Canvas) -> None:
    """Trees and bushes."""
    klass = canvas.klass()
    for _ in range(canvas.count(2, 5)):
        crown(canvas, canvas.place(), canvas.length(14, canvas.height / 2.5), klass)


def coasts(canvas: Canvas) -> None:
    """Long borders from side to side: skylines, shores, hills, straight, smooth or ragged."""
    random = canvas.random
    turn = random.normal() * 0.25 if canvas.chance(0.7) else random.uniform(0, np.pi)
    reach = float(np.hypot(canvas.height, canvas.width))
    middle = canvas.place()
    for _ in range(canvas.count(1, 3)):
        ends = np.array([[-reach, 0.0], [reach, 0.0]]) @ rotation(turn + random.normal() * 0.1) + middle
        wobble = canvas.length(0.001, 0.06)
        line = coast(random, ends[:1], ends[1:], wobble=wobble, decay=random.uniform(0.7, 2.2))
        below = np.array([[reach, 2 * reach], [-reach, 2 * reach]]) @ rotation(turn) + middle
        canvas.fill(np.concatenate([line, below]), canvas.klass())
        middle = middle + np.array([[0.0, canvas.length(6, canvas.height / 3)]]) @ rotation(turn)


def boxes(canvas: Canvas) -> None:
    """Polygons with straight sides: roofs and fields from above, in one or two directions."""
    random = canvas.random
    turn, largest = random.uniform(0, np.pi), canvas.length(24, canvas.height / 1.5)
    if canvas.chance(0.3):
        turn = 0.0
    for _ in range(canvas.count(5, 24)):
        width = canvas.length(8, largest)
        outline = corners(random, width, width * random.uniform(0.3, 1), turn=turn + random.normal() * 0.03)
        outline += canvas.place()
        canvas.fill(outline, canvas.klass())
        if canvas.chance(0.3):
            middle = outline.mean(axis=0)
            canvas.fill(middle + random.uniform(0.3, 0.85) * (outline - middle), canvas.klass())


def curves(canvas: Canvas) -> None:
    """Open curves: paths, cables, limbs."""
    random = canvas.random
    for _ in range(canvas.count(2, 6)):
        reach = canvas.length(30, canvas.width)
        steps = random.normal(size=(canvas.count(3, 6), 2)) * reach / 4
        canvas.stroke(spline(canvas.place() + np.cumsum(steps, axis=0)), canvas.length(2, 14), canvas.klass())


def branches(canvas: Canvas) -> None:
    """Thin limbs that fork, as of a bare tree or an insect."""
    random, klass = canvas.random, canvas.klass()
    tips = [(canvas.place(), random.uniform(0, 2 * np.pi), canvas.length(15, canvas.height / 4))]
    width = canvas.length(2, 8)
    for _ in range(canvas.count(2, 3)):
        grown = []
        for start, angle, length in tips:
            for _ in range(canvas.count(2, 3)):
                bent = angle + random.normal() * 0.5
                end = start + length * random.uniform(0.6, 1.2) * np.array([[np.cos(bent), np.sin(bent)]])
                canvas.stroke(coast(random, start, end, wobble=0.05, decay=1.2), width, klass)
                grown.append((end, bent, length * 0.7))
        tips, width = grown, max(1.0, width * 0.65)


def bands(canvas: Canvas) -> None:
    """Parallel stripes or rings: crossings, stairs, targets."""
    random = canvas.random
    period, turn, bend = canvas.length(8, 90), random.uniform(0, np.pi), canvas.place()[0]
    turned = canvas.grid @ rotation(turn).astype(np.float32)
    distance = turned[..., 0]
    if canvas.chance(0.4):
        distance = np.hypot(*np.moveaxis(canvas.grid - bend.astype(np.float32), -1, 0))
    distance = distance + random.uniform(0, 0.4) * period * canvas.noise(canvas.height / 3, 1)
    radius = canvas.length(30, canvas.height)
    region = canvas.mask(canvas.place() + blob(random, radius, wobble=0.1, decay=1.5))
    canvas.paint(region & (distance % period < random.uniform(0.25, 0.75) * period), canvas.klass())


def cells(canvas: Canvas) -> None:
    """Voronoi cells."""
    sites = canvas.random.uniform(0, (canvas.width, canvas.height), (round(canvas.length(5, 60)), 2))
    x, y = canvas.grid[0, :, 0], canvas.grid[:, 0, 1]
    nearest = np.full((canvas.height, canvas.width), np.inf, dtype=np.float32)
    labels = np.zeros(nearest.shape, dtype=np.uint8)
    for across, down in sites.astype(np.float32):
        distance = np.square(x - across) + np.square(y - down)[:, None]
        np.copyto(labels, canvas.klass(), where=distance < nearest)
        np.minimum(nearest, distance, out=nearest)
    canvas.put(labels)


def panes(canvas: Canvas) -> None:
    """A grid in perspective: windows of a wall, tiles of a floor."""
    random = canvas.random
    rows, columns = canvas.count(2, 8), canvas.count(2, 8)
    size, gap = canvas.length(60, canvas.width), random.uniform(0.1, 0.5)
    matrix = np.array([
        [size, random.normal() * 0.2 * size, 0], [random.normal() * 0.2 * size, size * random.uniform(0.4, 1), 0],
        [random.normal() * 0.3, random.normal() * 0.3, 1],
    ])  # fmt: skip
    centre, klass = canvas.place(), canvas.klass()
    square = np.array([[0.0, 0.0], [1, 0], [1, 1], [0, 1]])
    canvas.fill(centre + perspective(square - 0.5, matrix), canvas.klass())
    for row in range(rows):
        for column in range(columns):
            pane = (square * (1 - gap) + gap / 2 + (column, row)) / (columns, rows) - 0.5
            canvas.fill(centre + perspective(pane, matrix), klass)


def glyphs(canvas: Canvas) -> None:
    """Lines of small signs made of strokes, as of writing."""
    random, size = canvas.random, canvas.length(8, 40)
    turn, klass, start = random.normal() * 0.2, canvas.klass(), canvas.place()
    width = max(1.5, size * random.uniform(0.1, 0.22))
    for row in range(canvas.count(1, 5)):
        for column in range(canvas.count(2, 14)):
            corner = start + np.array([[column * size * 0.9, row * size * 1.5]]) @ rotation(turn)
            for _ in range(canvas.count(1, 3)):
                points = random.choice([0.0, 0.35, 0.7], (canvas.count(2, 4), 2)) * size * (0.9, 1.4)
                points = spline(points, steps=6) if canvas.chance(0.4) else points
                canvas.stroke(corner + points @ rotation(turn), width, klass)


def specks(canvas: Canvas) -> None:
    """A few dots, as annotators leave them."""
    near = canvas.place()
    for _ in range(canvas.count(2, 14)):
        place = near + canvas.random.normal(size=(1, 2)) * canvas.height / 5
        canvas.fill(place + blob(canvas.random, canvas.length(0.6, 4), wobble=0.3, decay=0.8), canvas.klass())


def spikes(canvas: Canvas) -> None:
    """Blades that stand close together along a line: grass, fur, a fence."""
    random, klass = canvas.random, canvas.klass()
    step, length = canvas.length(4, 14), canvas.length(6, 40)
    start, count = canvas.place(), canvas.count(8, 50)
    regular = canvas.chance(0.4)
    turn = random.normal() * 0.2
    for number in range(count):
        size = length if regular else length * random.uniform(0.3, 1)
        lean = 0 if regular else random.normal() * 0.3 * size
        blade = np.array([[0, 0.3 * length], [step, 0.3 * length], [step / 2 + lean, -size]])
        if regular:
            blade = np.array([[0, length], [step / 2, length], [step / 2, -length], [0, -length]])
        canvas.fill(start + (blade + at(number * step, 0)) @ rotation(turn), klass)
