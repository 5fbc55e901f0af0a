"""The packages of an image as a folder of wheels, with a list of their versions and hashes."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from containers import cache

FOLDER = Path(__file__).resolve().parent
CONSTRAINTS = FOLDER.parent / "constraints.txt"
LOCK = "locked.txt"
"""The list, in the folder of wheels; what is in it is complete."""


def packages(image: str) -> list[str]:
    """Names in the list of an image, and in the lists which that one includes."""
    names: list[str] = []
    for line in (FOLDER / f"{image}.txt").read_text().splitlines():
        if line.startswith("-r "):
            names += packages(line.removeprefix("-r ").removesuffix(".txt"))
        elif line and not line.startswith("#"):
            names.append(line)
    return sorted(names)


def house(image: str, *, python: str, instead: Mapping[str, str]) -> Path:
    """The folder of wheels of an image; downloaded once, and again when anything that decides on them is another.

    Args:
        image: `small` or `large`.
        python: Version of the base's Python, such as 3.11.
        instead: Packages in another version than in constraints.txt: `{"torch": "2.13.0+cpu"}`.

    Raises:
        subprocess.CalledProcessError: pip found none for this machine; it has said which.
    """
    wanted = "\n".join(["pip", *packages(image)]) + "\n"
    versions = constrained(CONSTRAINTS.read_text(), instead)
    key = hashlib.sha256("\0".join((wanted, versions, python)).encode()).hexdigest()[:12]
    folder = cache.root() / "wheels" / f"{image}-{key}"
    if (folder / LOCK).exists():
        return folder
    partial = folder.with_name(f"partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        (partial / "wanted").write_text(wanted)
        (partial / "versions").write_text(versions)
        # Without its own cache, which would hold all of it a second time.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--only-binary=:all:"]
        command += ["--python-version", python, "--dest", "wheels"]
        subprocess.run([*command, "-c", "versions", "-r", "wanted"], cwd=partial, check=True)
        (partial / "wheels" / LOCK).write_text(locked(partial / "wheels"))
        shutil.rmtree(folder, ignore_errors=True)
        (partial / "wheels").rename(folder)
    finally:
        shutil.rmtree(partial)
    return folder


def constrained(text: str, instead: Mapping[str, str]) -> str:
    r"""Lines of constraints with some versions in place of theirs.

    >>> constrained("einops==0.8.2\ntorch==2.14.1\n", {"torch": "2.13.0+cpu"})
    'einops==0.8.2\ntorch==2.13.0+cpu\n'
    """
    kept = [line for line in text.splitlines() if line.split("==")[0] not in instead]
    return "\n".join([*kept, *(f"{name}=={version}" for name, version in instead.items())]) + "\n"


def locked(folder: Path) -> str:
    """The wheels of a folder as pip's requirements with hashes; all but pip itself, which is not installed."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        with wheel.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        if name != "pip":
            lines.append(f"{re.sub(r'[-_.]+', '-', name).lower()}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)
