"""The colours that PASCAL VOC shows its classes in, and many data sets after it."""

from inverseform.data.dataset import Colour


def voc_colours(count: int) -> tuple[Colour, ...]:
    """Colours of the ids from 0, as the VOC development kit defines them.

    The bits of an id are dealt out to red, green and blue in turn, each into the highest bit that is free. The colours
    of all ids up to 255 differ.

    >>> voc_colours(4)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple((_channel(number), _channel(number >> 1), _channel(number >> 2)) for number in range(count))


def _channel(bits: int) -> int:
    """Every third bit, the lowest as the highest of eight."""
    return sum((bits >> 3 * place & 1) << 7 - place for place in range(8))
