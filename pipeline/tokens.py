"""The token that lets someone in: from the environment or a file, and never in what is printed."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

from pipeline import InputError


def reader(file: Path) -> Callable[[], str]:
    """What gives the token of a file, as it is at each call; a pipe, such as `<(COMMAND)`, can be read only once."""
    if file.is_file():
        return lambda: read(file)
    token = read(file)
    return lambda: token


def read(file: Path) -> str:
    """The token in a file."""
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            # Some devices have no end.
            text = opened.read(1 << 20)
    except OSError as error:
        # Not repeated: it may be the token itself.
        raise InputError(f"--token-file: {error.strerror}; give it the name of a file with the token in it") from None
    return check(text, where=f"--token-file {file}")


def check(text: str, *, where: str) -> str:
    """A token as it may stand in a header; the message for any other does not repeat it."""
    token = text.strip()
    if not re.fullmatch(r"[!-~]+", token):
        wrong = "holds spaces or letters that no token has" if token else "is empty"
        raise InputError(f"{where} {wrong}; put the token alone into it")
    return token


def is_open_to_others(file: Path) -> bool:
    """Whether every user of this machine may read a file."""
    try:
        return bool(file.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
