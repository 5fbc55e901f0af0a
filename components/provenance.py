"""What a run was made with, for its report: the revision of the code, and the versions of what computes."""

import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from inverseform import networks
from inverseform.data.sample_store import SampleStore
from inverseform.evaluation.images import Images
from inverseform.networks import Card

_COMPUTING = ("inverseform", "torch", "torchvision", "timm", "segmentation-models-pytorch", "numpy", "pillow")
_CODE = ("inverseform", "components", "params.yaml")


def facts(card: Card, store: SampleStore, images: Images, *, segmenter: str) -> dict[str, str]:
    """What was evaluated, and by what, by heading.

    Args:
        card: Of the network.
        store: Where the images come from.
        images: What was counted of them.
        segmenter: SHA-256 of the network's weights.
    """
    counts = ", ".join(f"{count} {split}" for split, count in store.info.counts.items())
    labels = "".join(f"{name} {found}\n" for name, found in zip(images.names, images.labels, strict=True))
    return {
        "Data set": f"{store.info.source} ({counts} samples)",
        "Evaluated": f"{len(images.names)} samples of split {images.split}, at full size",
        "Their names and labels, SHA-256": hashlib.sha256(labels.encode()).hexdigest(),
        "Network": networks.describe(card.network),
        "Segmenter, SHA-256": segmenter,
        "Inverse network, SHA-256": card.inverse_net or "none",
        "Training settings, SHA-256": card.params,
        "Revision": revision(Path.cwd()) or "not known",
        "Versions": versions(),
        "Ran on": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }


def versions() -> str:
    """Versions of Python and of the packages that a figure may hang on."""
    found = [f"Python {platform.python_version()}"]
    for name in _COMPUTING:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def revision(folder: Path) -> str | None:
    """The commit of a working copy, and whether its code or settings differ from it; None if that cannot be known.

    The folder must be the top of the working copy: one that merely lies somewhere inside another has no revision.
    """
    if not (folder / ".git").exists() or (commit := _git(folder, "rev-parse", "HEAD")) is None:
        return None
    # Of the code alone: results are being rewritten while this is asked.
    changed = _git(folder, "status", "--porcelain", "--", *_CODE)
    return f"{commit}, with changes that are not in it" if changed else commit


def _git(folder: Path, *words: str) -> str | None:
    # Without optional locks: a report must not disturb whoever works there.
    command = ["git", "--no-optional-locks", *words]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
