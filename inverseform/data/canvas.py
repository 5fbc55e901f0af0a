"""A label map in the making: the primitives from which drawn scenes are put together, each a function of its generator.

Lengths are in pixels, x right and y down; polygons are arrays of points; what is painted later lies on top.
"""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

# No name for the number of points: it differs between the polygons that one function takes and gives.
Points = Float[np.ndarray, "_ 2"]
Point = Float[np.ndarray, "1 2"]
CLASSES = 12
"""Ids that layers are painted in."""


class Canvas:
    """A label map that begins as one class, and the generator that all its shapes are drawn from."""

    def __init__(self, height: int, width: int, random: np.random.Generator) -> None:
        self.height, self.width, self.random = height, width, random
        self._picture = Image.new("L", (width, height), self.klass())
        self._draw = ImageDraw.Draw(self._picture)

    @property
    def labels(self) -> UInt8[np.ndarray, "height width"]:
        """What has been painted so far."""
        return np.array(self._picture)

    def klass(self) -> int:
        """A class at random."""
        return int(self.random.integers(CLASSES))

    def chance(self, probability: float) -> bool:
        """Whether something happens."""
        return bool(self.random.random() < probability)

    def count(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def length(self, low: float, high: float) -> float:
        """A length, uniform in its logarithm: small shapes are as frequent as large ones."""
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def place(self) -> Point:
        """A point of the canvas."""
        return self.random.uniform(0, (self.width, self.height))[None]

    def fill(self, points: Points, klass: int) -> None:
        """Paint a polygon."""
        # A polygon needs two points in PIL, and an area to be seen.
        self._draw.polygon(points.ravel().tolist(), fill=klass)

    def stroke(self, points: Points, width: float, klass: int) -> None:
        """Paint an open line of a width, with round joints where it is wide enough to show them."""
        self._draw.line(points.ravel().tolist(), fill=klass, width=max(1, round(width)), joint="curve")

    def paint(self, mask: Bool[np.ndarray, "height width"], klass: int) -> None:
        """Paint a set of pixels."""
        self._picture.paste(klass, mask=Image.fromarray(mask))

    def put(self, labels: UInt8[np.ndarray, "height width"]) -> None:
        """Paint over everything."""
        self._picture.paste(Image.fromarray(labels))

    def shake(self, amplitude: float, period: float) -> None:
        """Move every pixel a little, as the hand that draws outlines does; `amplitude` is a standard deviation."""
        rows, columns = np.indices((self.height, self.width), sparse=True)
        down, right = (np.rint(amplitude * self.noise(period, 2)).astype(np.int16) for _ in range(2))
        rows = np.clip(rows.astype(np.int16) + down, 0, self.height - 1)
        columns = np.clip(columns.astype(np.int16) + right, 0, self.width - 1)
        self.put(self.labels[rows, columns])

    def mask(self, points: Points) -> Bool[np.ndarray, "height width"]:
        """The pixels of a polygon."""
        picture = Image.new("1", (self.width, self.height))
        ImageDraw.Draw(picture).polygon(points.ravel().tolist(), fill=1)
        return np.array(picture)

    def noise(self, period: float, octaves: int, *, roughness: float = 0.5) -> Float[np.ndarray, "height width"]:
        """Smooth noise of about unit size: normal numbers `period` pixels apart, and octaves of half the period."""
        total = np.zeros((self.height, self.width), dtype=np.float32)
        for octave in range(octaves):
            step = period / 2**octave
            rows, columns = (int(side / step) + 4 for side in (self.height, self.width))
            grid = Image.fromarray(self.random.normal(size=(rows, columns)).astype(np.float32))
            window = (1, 1, 1 + self.width / step, 1 + self.height / step)
            # Bicubic between the grid points: level sets without corners.
            smooth = grid.resize((self.width, self.height), Image.Resampling.BICUBIC, box=window)
            total += roughness**octave * np.asarray(smooth)
        return total / np.sqrt(sum(roughness ** (2 * octave) for octave in range(octaves)))

    @cached_property
    def grid(self) -> Float[np.ndarray, "height width 2"]:
        """Coordinates x and y of every pixel."""
        x, y = np.meshgrid(np.arange(self.width), np.arange(self.height))
        return np.stack([x, y], axis=-1).astype(np.float32)


def at(x: float, y: float) -> Point:
    """A point, or how far another is moved."""
    return np.array([[x, y]])


def blob(
    random: np.random.Generator, radius: float, *, wobble: float, decay: float, flat: float = 1.0, turn: float = 0.0
) -> Points:
    """A closed contour about the origin, with a radius that is a random Fourier series of the angle.

    Args:
        random: What it is drawn from.
        radius: Of the circle that it departs from.
        wobble: Size of the departure, relative to the radius.
        decay: Exponent by which harmonics fall off: 2 is smooth, 0.7 is ragged.
        flat: Height over width, before the turn.
        turn: In radians.
    """
    count = int(np.clip(2 * radius, 16, 400))
    angle = np.arange(count) * (2 * np.pi / count)
    # From order 2 up: the first would only move the centre.
    series = _series(random, count, 2, decay) * wobble
    # The exponential keeps the radius above 0.
    circle = np.stack([np.cos(angle), flat * np.sin(angle)], axis=-1)
    return (radius * np.exp(series)[:, None] * circle) @ rotation(turn)


def corners(random: np.random.Generator, width: float, height: float, *, turn: float = 0.0) -> Points:
    """A rectangle about the origin or, as often, one with a corner cut out of it."""
    x, y = width / 2, height / 2
    if random.random() < 0.5:
        points = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
    else:
        u, v = random.uniform(-0.6, 0.6, 2) * (x, y)
        points = np.array([[-x, -y], [u, -y], [u, v], [x, v], [x, y], [-x, y]])
        points *= random.choice([-1, 1], 2)
    return points @ rotation(turn)


def coast(random: np.random.Generator, start: Point, end: Point, *, wobble: float, decay: float) -> Points:
    """A wavering line from one point to another, in pixels; `wobble` is relative to its length."""
    along = end - start
    length = float(np.hypot(*along[0]))
    count = int(np.clip(length / 2, 3, 400))
    place = np.linspace(0, 1, count)
    # Half of a series over twice the length: its ends need not meet.
    series = _series(random, 2 * count, 1, decay)[:count] * wobble
    normal = along[:, ::-1] * (-1, 1)
    return start + place[:, None] * along + series[:, None] * normal


def _series(random: np.random.Generator, count: int, first: int, decay: float) -> Float[np.ndarray, " count"]:
    """A periodic random function of unit variance: Fourier orders `first` to 60, falling off as order^-decay."""
    orders = np.arange(first, min(60, count // 4 + 1), dtype=float)
    size = orders**-decay
    waves = np.zeros(count // 2 + 1, dtype=complex)
    waves[first : first + len(orders)] = (size / np.sqrt((size**2).sum())) * (
        random.normal(size=(2, len(orders))).T @ (1, 1j)
    )
    return np.fft.irfft(waves, count) * (count / 2)


def spline(points: Points, *, steps: int = 12) -> Points:
    """A smooth curve through points (Catmull-Rom), each stretch in so many steps."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    t = np.linspace(0, 1, steps)[:, None]
    parts = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        parts.append(b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (1.5 * (b - c) + (d - a) / 2))
    return np.concatenate(parts)


def rotation(turn: float) -> Float[np.ndarray, "2 2"]:
    """Turns rows of points by an angle in radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    return np.array([[cos, sin], [-sin, cos]])


def perspective(points: Points, matrix: Float[np.ndarray, "3 3"]) -> Points:
    """Points under a homography."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    return mapped[:, :2] / np.maximum(mapped[:, 2:], 0.1)
