"""Programs as a person starts them, whoever runs the tests."""

import signal
import subprocess
from typing import Any


def started(command: list[str], **options: Any) -> subprocess.Popen:
    """A program that Ctrl-C ends: what a shell runs in the background ignores SIGINT, as does all that it starts."""
    return subprocess.Popen(command, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)
