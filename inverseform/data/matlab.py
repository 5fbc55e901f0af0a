"""MATLAB files of version 5 to 7, by scipy; those of version 7.3 are HDF5 files, and not read here."""

import struct
import zlib
from pathlib import Path
from typing import Any

from inverseform.settings import InputError


def read_mat(path: Path, *names: str) -> tuple[Any, ...]:
    """Variables of a file: matrices as arrays, structures as dicts, rows of structures as lists of them.

    Raises:
        InputError: scipy is not installed, the file is damaged, or it lacks a variable.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise InputError(f'{path}: is read by scipy, which is missing; pip install "inverseform[matlab]"') from error
    # What scipy raises for a damaged file depends on where the damage is.
    damaged = (MatReadError, OSError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
    try:
        # Opened here, since scipy takes a missing file for one of another name.
        with path.open("rb") as file:
            found = loadmat(file, variable_names=list(names), simplify_cells=True)
    except (*damaged, NotImplementedError, MemoryError, OverflowError) as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file ({error}); copy it again") from error
    for name in names:
        if name not in found:
            raise InputError(
                f"{path}: has no variable {name}; copy it again, from the release data/raw/README.md names"
            )
    return tuple(found[name] for name in names)
