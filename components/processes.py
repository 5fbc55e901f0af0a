"""Processes that share the work of a stage, and end with it however it ends."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Protocol, TypeVar

from inverseform.settings import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Spread(Protocol):
    """A map whose results come as they are ready."""

    def __call__(self, function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[Result]:
        """Call a function of a module with each item, one at a time; both are sent to a process."""
        ...


@contextlib.contextmanager
def processes(workers: int) -> Iterator[Spread]:
    """Processes to spread work over; with one worker all of it is done in this one.

    Raises:
        InputError: A process was ended from outside, as a machine does that has no memory left.
    """
    if workers == 1:
        yield map
        return
    # A forked process has all modules at once, where another imports for seconds.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    others = set(multiprocessing.active_children())
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin) as pool:
        # All of them now: a thread that begins later, of a progress bar say, could hold a lock while they are forked.
        pool.submit(os.getpid).result()
        try:
            yield lambda function, items: _results([pool.submit(_call, function, item) for item in items])
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {workers} processes was ended from outside, as a machine does that has no memory left; set "
                f"workers lower in params.yaml and run the stage again"
            ) from error
        except BaseException:
            # The rest need not be done, and what is in work not be waited for.
            sent = getattr(pool, "_call_queue", None)
            pool.shutdown(wait=False, cancel_futures=True)
            for child in (mine := set(multiprocessing.active_children()) - others):
                child.kill()
            for child in mine:
                child.join()
            # Python before 3.11.5, Debian's, waits without end for a dead process to read what was being sent to it
            # (github.com/python/cpython/issues/94777); without a reader the sending fails, as it does in later ones.
            if sent is not None:
                sent._reader.close()
            raise


def _results(futures: list[Future[Result]]) -> Iterator[Result]:
    return (future.result() for future in as_completed(futures))


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    try:
        return function(item)
    except InputError as error:
        # Of its kinds some are not the same when they have been sent.
        raise InputError(str(error)) from None


def _begin() -> None:
    """Leave signals to the process that began this one, and end when that has ended in any way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        with contextlib.suppress(OSError):
            wait([parent.sentinel])
        os._exit(1)
