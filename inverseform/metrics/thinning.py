"""Thick lines to lines one pixel wide: the two-subiteration thinning that MATLAB's `bwmorph(map, 'thin', inf)` does.

The rule is that of Guo and Hall (Parallel thinning with two-subiteration algorithms, Comm. ACM 32(3), 1989), as in Lam,
Lee and Suen (Thinning methodologies, IEEE TPAMI 14(9), 1992). With x1 to x8 the neighbours of a pixel, anticlockwise
from the one on its right, and x9 = x1, a pixel goes if all of these hold:

    G1: of i = 1..4, exactly one has x(2i-1) off and x(2i) or x(2i+1) on
    G2: the smaller of two counts is 2 or 3: of i with x(2i-1) or x(2i) on, and of i with x(2i) or x(2i+1) on
    G3: in odd subiterations not (x1 and (x2 or x3 or not x8)), in even ones not (x5 and (x6 or x7 or not x4))

Subiterations alternate until two in a row change nothing. Pixels outside of the map are off.

The maps of a picture at all thresholds are thinned at once, a bit of an integer each: the rule is then a few dozen
logical operations on whole integers. A pixel is looked at again only if a neighbour has changed since.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

WORD = 63
"""Maps in an integer of 64 bits; the sign is left out."""


def thin(maps: Bool[Tensor, "maps height width"]) -> Bool[Tensor, "maps height width"]:
    """Each map thinned by itself, on the device of the maps.

    >>> thin(torch.ones(1, 3, 5, dtype=torch.bool))[0].int()
    tensor([[0, 0, 0, 0, 0],
            [0, 1, 1, 1, 0],
            [0, 0, 0, 0, 0]], dtype=torch.int32)
    """
    words = _packed(maps)
    row = words.shape[-1]
    offsets = (1, 1 - row, -row, -row - 1, -1, row - 1, row, row + 1)
    flat = words.flatten()
    active = before = flat.nonzero()[:, 0]
    odd = True
    while len(active):
        here = flat[active]
        gone = here & _deletable([flat[active + offset] for offset in offsets], odd=odd)
        flat[active] = here & ~gone
        changed = active[gone != 0]
        # What stays under the rules of two subiterations, which alternate, stays until a neighbour goes.
        active = _around(torch.cat([before, changed]), offsets, flat)
        before, odd = changed, not odd
    return _unpacked(words, len(maps))


def _deletable(near: Sequence[Int64[Tensor, " pixels"]], *, odd: bool) -> Int64[Tensor, " pixels"]:
    """Bits of the maps in which G1, G2 and G3 hold, of the eight neighbours anticlockwise from the right."""
    x1, x2, x3, x4, x5, x6, x7, x8 = near
    later = x2 | x3, x4 | x5, x6 | x7, x8 | x1
    earlier = x1 | x2, x3 | x4, x5 | x6, x7 | x8
    starts = later[0] & ~x1, later[1] & ~x3, later[2] & ~x5, later[3] & ~x7
    # An odd number of four, and no three: then two of the first or of the last two would be on.
    one = (starts[0] ^ starts[1] ^ starts[2] ^ starts[3]) & ~(starts[0] & starts[1] | starts[2] & starts[3])
    few = ~(_all(earlier) & _all(later))
    direction = x1 & (x2 | x3 | ~x8) if odd else x5 & (x6 | x7 | ~x4)
    return one & _two(earlier) & _two(later) & few & ~direction


def _two(bits: Sequence[Int64[Tensor, " pixels"]]) -> Int64[Tensor, " pixels"]:
    """Where two or more of four are on."""
    first, second, third, fourth = bits
    return first & second | third & fourth | (first | second) & (third | fourth)


def _all(bits: Sequence[Int64[Tensor, " pixels"]]) -> Int64[Tensor, " pixels"]:
    first, second, third, fourth = bits
    return first & second & third & fourth


def _around(
    changed: Int64[Tensor, " changed"], offsets: Sequence[int], flat: Int64[Tensor, " words"]
) -> Int64[Tensor, " active"]:
    """Indices of what is on in some map and next to something that changed, or changed itself."""
    near = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    for offset in (0, *offsets):
        near[changed + offset] = True
    return (near & (flat != 0)).nonzero()[:, 0]


def _packed(maps: Bool[Tensor, "maps height width"]) -> Int64[Tensor, "words height+2 width+2"]:
    """Map number i as bit i % WORD of word i // WORD, with a frame of pixels that are off."""
    count, height, width = maps.shape
    words = torch.zeros(-(-count // WORD), height + 2, width + 2, dtype=torch.int64, device=maps.device)
    for index, on in enumerate(maps):
        words[index // WORD, 1:-1, 1:-1] |= on.long() << index % WORD
    return words


def _unpacked(words: Int64[Tensor, "words rows columns"], count: int) -> Bool[Tensor, "maps _ _"]:
    inner = words[:, 1:-1, 1:-1]
    maps = torch.empty(count, *inner.shape[1:], dtype=torch.bool, device=words.device)
    for index in range(count):
        maps[index] = inner[index // WORD] >> index % WORD & 1
    return maps
