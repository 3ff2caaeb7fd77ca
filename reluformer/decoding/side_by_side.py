"""Batches side by side: on a CPU as many at a time as there are threads and cores for them.

A step of decoding is many small operators, which gain little from threads of their own; whole
batches share nothing but the weights.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from reluformer.data.processes import available_cores
from reluformer.threads import one_thread

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """The function of each item, in order.

    Where there are fewer items than threads, they come one after the other, each on all
    threads. An exception ends the iteration once the items that were begun are done.
    """
    threads = torch.get_num_threads()
    at_once = min(threads, available_cores())
    if device.type != "cpu" or at_once == 1 or len(items) < at_once:
        yield from map(function, items)
        return
    with one_thread(), ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(function, items)
