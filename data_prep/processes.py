"""Work that is spread over processes and comes back in order."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

FEW = 20  # items that are done before other processes would have started


def map_in_order(
    function: Callable[[Item], Made], items: Sequence[Item], workers: int | None
) -> Iterator[Made]:
    """The function of each item, in order, made by so many processes (None: one for each core).

    Reads ahead by a few items, so memory doesn't grow with their number; few items are worked on in
    this process. The function must be one that another process can import by its name.
    """
    workers = min(workers or _available_cores(), len(items) // FEW)
    if workers <= 1:
        yield from map(function, items)
        return
    # Not "fork": this process may hold threads, whose locks a fork would copy.
    with ProcessPoolExecutor(workers, get_context("spawn"), _ignore_interrupt) as pool:
        pending: deque[Future[Made]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > 4 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's to handle; it then cancels the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _available_cores() -> int:
    """Cores that this process may use, which a container or `taskset` can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
