"""Work that is spread over processes and comes back in order."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from reluformer.errors import UserError

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 2  # items that are waiting for each process


def map_in_order(
    function: Callable[[Item], Made], items: Iterable[Item], workers: int
) -> Iterator[Made]:
    """The function of each item, in order, made by so many processes; by this one, if it is one.

    Reads ahead by a few items, so memory does not grow with their number. The function must be one
    that another process can import by its name, and as the workers import the program's main module
    afresh, a script that calls this needs the usual `if __name__ == "__main__"`. Raises UserError
    if one of them is killed.
    """
    if workers <= 1:
        yield from map(function, items)
        return
    # Not "fork": this process may hold threads (PyTorch's), whose locks a fork would copy.
    with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupt) as pool:
        pending: deque[Future[Made]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                "a process at work on the text was killed, as a system short of memory does; run "
                "again, with workers=1 if it comes again"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's to handle; it then cancels the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def available_cores() -> int:
    """Cores that this process may use, which a container or `taskset` can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
