"""Splits that are given as lists of names, and the files that belong to each name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from inverseform.data.layout import LayoutError, files


class Kind(NamedTuple):
    """Files of one kind, one for every name."""

    what: str
    """What one is, as in "label map"."""
    folders: tuple[Path, ...]
    """Where they lie; a file in an earlier folder counts before one of its name in a later."""
    ending: str
    """What comes after the name."""


Files = Mapping[str, Path]
"""Of one name, the file of each kind."""


def listed(
    lists: Mapping[str, Path], kinds: Mapping[str, Kind], *, name: Callable[[str], str] = str.strip
) -> dict[str, dict[str, Files]]:
    """The files of each name of each split, in the order of the lists; files of other names are passed over.

    Args:
        lists: By split: a text file with a name a line.
        kinds: The files that each name must have.
        name: Of a line; raises ValueError with the rule where the line is none.

    Raises:
        LayoutError: A list, a folder or a file is missing, or a line is wrong; all of that at once.
    """
    problems: list[str] = []
    found = {kind: _all(wanted, problems) for kind, wanted in kinds.items()}
    # One list may serve two splits; what it lacks is told once.
    names = {path: _names(path, name, problems) for path in dict.fromkeys(lists.values())}
    for path, wanted in names.items():
        for kind, partners in found.items():
            if partners is not None:
                problems.extend(_lacking(path, wanted, kinds[kind], partners))
    if problems:
        raise LayoutError(problems)
    return {
        split: {each: {kind: partners[each] for kind, partners in found.items() if partners} for each in names[path]}
        for split, path in lists.items()
    }


def _all(kind: Kind, problems: list[str]) -> dict[str, Path] | None:
    """All files of a kind, or None where a folder of it is missing or wrong."""
    found: dict[str, Path] = {}
    for folder in reversed(kind.folders):
        try:
            found.update(files(folder, ending=kind.ending))
        except LayoutError as error:
            problems.extend(error.problems)
            return None
    return found


def _names(path: Path, name: Callable[[str], str], problems: list[str]) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read as a list of names ({error}); copy it again")
        return []
    names: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            each = name(line)
        except ValueError as error:
            problems.append(f"{path}: line {number} is {line!r}; {error}")
            continue
        if each in names:
            problems.append(f"{path}: line {number} is {each}, and so is line {names[each]}; remove one of the two")
        names[each] = number
    if not any(map(str.strip, lines)):
        problems.append(f"{path}: is empty; it must have a name a line: copy it again")
    return list(names)


def _lacking(path: Path, names: list[str], kind: Kind, partners: Mapping[str, Path]) -> list[str]:
    folders = " or ".join(map(str, kind.folders))
    return [
        f"{path}: has {name}, and there is no {kind.what} {name}{kind.ending} in {folders}"
        for name in names
        if name not in partners
    ]
