"""The times of a schedule as Kubeflow writes them: as in a crontab, but beginning with the second."""

import re

from pipeline import InputError

FIELDS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 6),
}
"""Fields of a time, each with its lowest and highest value."""
WORDS = {
    "month": ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
    "day of the week": ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
}
"""Names of the values of a field, from its lowest on."""
EVERY_MONDAY = 'type --every "0 0 3 * * 1" for Mondays at three'


def check(text: str) -> None:
    """Refuse times that Kubeflow would not take, or take for others."""
    fields = text.split()
    if len(fields) == len(FIELDS) - 1:
        raise InputError(f'--every "{text}" has no seconds, with which Kubeflow begins; type --every "0 {text}"')
    if len(fields) != len(FIELDS):
        raise InputError(
            f'--every "{text}" has {len(fields)} fields of {len(FIELDS)}: {", ".join(FIELDS)}; {EVERY_MONDAY}'
        )
    for name, written in zip(FIELDS, fields, strict=True):
        if not all(_is_part(name, part) for part in written.split(",")):
            low, high = FIELDS[name]
            raise InputError(f'--every "{text}": {written} is no {name}, which goes from {low} to {high}')


def _is_part(name: str, text: str) -> bool:
    """Whether a text is a value, a range or all of a field, and maybe each so-manieth of that."""
    found = re.fullmatch(r"(?:[*?]|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[0-9]+))?", text, re.ASCII)
    if found is None or (found["step"] is not None and int(found["step"]) == 0):
        return False
    low, high = FIELDS[name]
    ends = [_value(name, end) for end in (found["first"], found["last"]) if end is not None]
    return all(low <= end <= high for end in ends) and ends == sorted(ends)


def _value(name: str, text: str) -> int:
    """The number of a value; below all where it is none."""
    words = WORDS.get(name, ())
    if text.upper() in words:
        return FIELDS[name][0] + words.index(text.upper())
    return int(text) if text.isdecimal() else -1
