"""What was run, as lines of JSON: added one at a time, each whole or not at all."""

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

from inverseform.settings import InputError

log = logging.getLogger(__name__)
Row = dict[str, Any]


class Ledger:
    """A file of rows. Several processes may add to it; one that is killed while it does leaves a torn last line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[Row]:
        """All whole rows, in the order they came; a torn last line is passed over, with a warning.

        Raises:
            InputError: Another line is no row.
        """
        whole, torn = _apart(self.path.read_bytes() if self.path.exists() else b"")
        if torn:
            log.warning("%s: its last line is torn and not used: %s ...", self.path, torn[:60].decode(errors="replace"))
        return [self._row(line, number) for number, line in enumerate(whole.splitlines(), start=1)]

    def append(self, row: Row) -> None:
        """Add a row and wait until it is on the disk; a torn last line is cut off first."""
        # nan and inf are no JSON: what is undefined is null.
        line = json.dumps(row, allow_nan=False).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            whole, torn = _apart(file.read())
            if torn:
                file.truncate(len(whole))
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def find(self, **values: Any) -> list[Row]:
        """Rows that have these values in these columns."""
        return [row for row in self.rows() if all(row.get(name) == value for name, value in values.items())]

    def _row(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise InputError(
                f"{self.path}: line {number} is no row: {line[:60].decode(errors='replace')!r}; take the line out, and "
                f"what it told is run again"
            )
        return row


def _apart(content: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and what is behind the last of them: a line that ends has been written to its end."""
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]
