"""The files of one split of a folder: which there may be, and what is wrong with them.

A folder that is there has a file for every image; a name that is not known is an error: nothing is left out silently.
"""

from collections.abc import Mapping
from pathlib import Path

from inverseform.data.target_files import ENDINGS

SPLITS = ("train", "val", "test")
IMAGES = (".png", ".jpg", ".jpeg")
FOLDERS: Mapping[str, tuple[str, ...]] = {"images": IMAGES, "labels": (".png",), "predictions": (".png",), **ENDINGS}
"""What a split may have, and what the names of the files there end with."""
NEEDED = ("images", "labels")


class SplitFiles:
    """The files of a split by folder and stem; what is wrong with them is added to `problems`."""

    def __init__(self, split: Path, problems: list[str]) -> None:
        self._split = split
        self._problems = problems
        there = [path for path in sorted(split.iterdir()) if path.name[0] != "."] if split.is_dir() else []
        for path in there:
            if path.name not in FOLDERS or not path.is_dir():
                problems.append(f"{path}: is none of the folders {', '.join(FOLDERS)}; rename it, or move it away")
        names = [name for name in FOLDERS if name in NEEDED or (split / name).is_dir()]
        self.files = {name: self._listed(name) for name in names}
        for name in names:
            if name == "images" or (name in NEEDED and not self.files[name]):
                continue
            self._pair(name)

    def _listed(self, name: str) -> dict[str, Path]:
        """What is in a folder by stem, in the order of the names; hidden files do not count."""
        folder = self._split / name
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            # What file managers leave behind, and .gitkeep.
            if path.name.startswith("."):
                continue
            several = name == "edges" and path.is_dir()
            if problem := None if several else _strange(path, name):
                self._problems.append(problem)
                continue
            stem = path.name if several else path.stem
            if stem in found:
                self._problems.append(f"{path}: has the same stem as {found[stem].name}; keep one of the two")
            found.setdefault(stem, path)
        if name in NEEDED and not found:
            self._problems.append(
                f"{folder}: {'is empty' if folder.is_dir() else 'does not exist'}; each of {', '.join(SPLITS)} needs "
                f"at least one image and its labels, laid out as data/raw/README.md says"
            )
        return found

    def _pair(self, name: str) -> None:
        """All images of a split have a file in a folder, and all files there an image."""
        images, files = self.files["images"], self.files[name]
        what = {"labels": "labels", "predictions": "prediction"}.get(name, name)
        # Where there are no images, that alone is told.
        for stem, path in files.items() if images else ():
            if stem not in images:
                self._problems.append(
                    f"{path}: has no image in {self._split / 'images'}; add {stem}.png or {stem}.jpg, or remove it"
                )
        rest = "image" if name in NEEDED else "folder: all images of a split have one, or none has"
        for stem, path in images.items():
            if stem not in files:
                folder, ending = self._split / name, FOLDERS[name][0]
                self._problems.append(
                    f"{path}: has no {what} in {folder}; add {stem}{ending} there, or remove the {rest}"
                )


def _strange(path: Path, name: str) -> str | None:
    """What is wrong with a name in a folder."""
    endings = FOLDERS[name]
    if path.suffix.lower() in endings and path.is_file():
        return None
    if name == "labels" and path.suffix.lower() in IMAGES:
        return (
            f"{path}: labels must be PNG; JPEG blends neighbouring ids into ids of other classes, so make the PNG from "
            f"the original label map, not from this file"
        )
    return f"{path}: is not one of {', '.join(endings)}; convert it, or move it out of {path.parent}"
