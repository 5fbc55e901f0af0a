"""Regions to a few ids, so that no two regions that lie close together share one: the colouring of a map.

A segmentation into regions has no classes, and more regions than 8 bits hold. Its boundaries are kept by any ids that
differ wherever a window of 3 x 3 pixels sees two regions, as that window is all that a boundary operator looks at: the
boundary map of the colours is that of the regions, by either operator and at any radius.
"""

from itertools import product

import numpy as np
from jaxtyping import Integer, UInt8


def region_colours(regions: Integer[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Colours from 0, as few as a greedy colouring finds, the same regions always in the same colours.

    Regions are coloured in the order of smallest last (Matula and Beck 1983). Regions that meet along lines need 4 or 5
    colours; very thin ones, across which others see each other, a few more.
    """
    ids, numbers = np.unique(regions, return_inverse=True)
    together = _together(numbers.reshape(regions.shape), len(ids))
    colours = np.zeros(len(ids), dtype=np.uint8)
    coloured: set[int] = set()
    for region in reversed(_smallest_first(together)):
        taken = {int(colours[other]) for other in together[region] & coloured}
        colours[region] = next(colour for colour in range(len(taken) + 1) if colour not in taken)
        coloured.add(region)
    return colours[numbers.reshape(regions.shape)]


def _together(numbers: Integer[np.ndarray, "height width"], count: int) -> list[set[int]]:
    """The regions that some window of 3 x 3 pixels sees together with each region."""
    height, width = numbers.shape
    codes = [np.empty(0, dtype=np.int64)]
    # Two pixels of one window are at most 2 apart; half of the steps, as the others are the same pairs.
    for down, right in [(0, 1), (0, 2), *product((1, 2), range(-2, 3))]:
        one = numbers[: max(0, height - down), max(0, -right) : max(0, width - max(0, right))]
        other = numbers[down:, max(0, right) : max(0, width + min(0, right))]
        codes.append((one * count + other)[one != other])
    together: list[set[int]] = [set() for _ in range(count)]
    for one, other in zip(*np.divmod(np.unique(np.concatenate(codes)), count), strict=True):
        together[one].add(int(other))
        together[other].add(int(one))
    return together


def _smallest_first(together: list[set[int]]) -> list[int]:
    """Regions in the order in which the one that lies close to the fewest of those that are left is taken away."""
    left = {region: len(others) for region, others in enumerate(together)}
    order = []
    while left:
        region = min(left, key=lambda each: (left[each], each))
        order.append(region)
        del left[region]
        for other in together[region]:
            if other in left:
                left[other] -= 1
    return order
