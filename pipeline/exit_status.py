"""How a command leaves: one plain message for what goes wrong, and the exit status that `flags.STATUS` tells."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

from pipeline import InputError

OPTIONAL = ("docker", "google", "kfp", "kfp_server_api", "pydantic", "urllib3", "yaml")
"""What the extra [kfp] installs."""


def of(command: Callable[[], int]) -> int:
    """Call a command: its exit status, or the one for what it raised, with a message."""
    try:
        status = command()
        # Here, where a reader who is gone can be told from an error; Python would do it at its end.
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt as error:
        print(f"\ninterrupted; {'; '.join(getattr(error, '__notes__', ['nothing was started']))}", file=sys.stderr)
        return of_signal(error)
    except BrokenPipeError:
        # `head`, say, has seen enough; Python would complain of what is still to be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except ConnectionError as error:
        print(f"no contact: {error}", file=sys.stderr)
        return 3
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in OPTIONAL:
            raise
        print(f"error: {error.name} is not installed; type pip install -e '.[kfp]'", file=sys.stderr)
    except OSError as error:
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    return 2


def of_signal(error: KeyboardInterrupt) -> int:
    """The exit status after a signal: Ctrl-C, or one that `interrupt` was called for."""
    return 128 + (error.args[0] if error.args else signal.SIGINT)


def listen() -> None:
    """Take the end of the terminal, and SIGTERM, as Ctrl-C: the stack is unwound, and temporary files go."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        # nohup has a command ignore the end of its terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """As a signal handler: raise what Ctrl-C does."""
    raise KeyboardInterrupt(signum)
