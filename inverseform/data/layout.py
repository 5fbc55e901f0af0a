"""What a data set looks like on disk: files by name, their partners, and all that is missing told at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from inverseform.settings import InputError


class LayoutError(InputError):
    """Files of a data set are missing or in the way; `problems` has a sentence for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = len(problems) - 1
        told = f" (and {more} more such: `python -m components.ingest --check` lists them)" if more else ""
        super().__init__(f"{problems[0]}{told}")


def files(folder: Path, *, ending: str | tuple[str, ...], key: Callable[[str], str] | None = None) -> dict[str, Path]:
    """The files right in a folder whose names end so, in the order of their keys.

    Args:
        folder: Where to look; what begins with a dot is passed over.
        ending: What names end with, in any case.
        key: Of a name without its ending; the same by default.

    Raises:
        LayoutError: There is no such folder, it has no such file, or two files have one key.
    """
    endings = (ending,) if isinstance(ending, str) else ending
    kinds = " or ".join(f"*{each}" for each in endings)
    if not folder.is_dir():
        raise LayoutError([f"{folder}: there is no such folder; it must hold {kinds}"])
    found: dict[str, Path] = {}
    problems = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.startswith("."):
            continue
        end = next((each for each in endings if path.name.lower().endswith(each.lower())), None)
        if end is None:
            continue
        stem = path.name[: len(path.name) - len(end)]
        name = stem if key is None else key(stem)
        if name in found:
            problems.append(f"{path}: is {name}, and so is {found[name]}; remove one of the two")
        found.setdefault(name, path)
    if problems:
        raise LayoutError(problems)
    if not found:
        raise LayoutError([f"{folder}: has no {kinds}; copy the data set again"])
    return dict(sorted(found.items()))


def unpaired(images: Mapping[str, Path], partners: Mapping[str, Path], *, what: str, folder: Path) -> list[str]:
    """A sentence for each image without its partner, and for each partner without its image.

    Args:
        images: By key.
        partners: By key.
        what: What a partner is, as in "label map".
        folder: Where partners must lie.
    """
    lacking = [f"{path}: has no {what} in {folder}" for key, path in images.items() if key not in partners]
    return lacking + [f"{path}: is a {what} of no image" for key, path in partners.items() if key not in images]
