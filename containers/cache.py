"""Where wheels, the base, the engine's layers and bills of materials are kept between builds."""

import os
import shutil
from pathlib import Path


def root() -> Path:
    """The folder: `$INVERSEFORM_CACHE`, or `inverseform` in the user's cache. To delete it costs time alone."""
    if chosen := os.environ.get("INVERSEFORM_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "inverseform").absolute()


def free(folder: Path) -> int:
    """Bytes that can be written below a folder, which need not exist yet."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
