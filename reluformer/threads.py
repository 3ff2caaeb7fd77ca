"""Threads that compute: PyTorch's, NumPy's BLAS, and threads of Python that multiply by themselves.

NumPy's BLAS keeps to one thread: its products are for threads of Python side by side. To be told
in Python's main thread only: threadpoolctl lets the first thread that does so tell a BLAS, and
what others say goes unheard.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Barrier
from typing import TypeVar

import numpy  # noqa: F401  # so that its BLAS is there to be found
import torch
from threadpoolctl import ThreadpoolController

Item = TypeVar("Item")


def set_threads(number: int | None) -> None:
    """For the whole process; None: as many as PyTorch chose."""
    if number is not None:
        torch.set_num_threads(number)
    numpy_blas().limit(limits=1)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, each thread of Python multiplies by itself; afterwards as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with numpy_blas().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


def on_own_threads(work: Callable[[Item], None], items: Sequence[Item]) -> None:
    """`work` of each item, on as many threads of Python as PyTorch has, without gradients.

    Raises what one of them raised, once all are done.
    """
    futures = [
        own_threads(torch.get_num_threads()).submit(torch.no_grad()(work), item) for item in items
    ]
    problems = [problem for future in futures if (problem := future.exception())]
    if problems:
        raise problems[0]


@cache
def own_threads(number: int) -> ThreadPoolExecutor:
    """Threads that are there to stay, with one of PyTorch's each."""
    all_there = Barrier(number + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread is told the process's number when it first asks
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(number, thread_name_prefix="own")
    for _ in range(number):
        pool.submit(begin)
    all_there.wait()
    torch.set_num_threads(number)  # what they said was for MKL as a whole
    return pool


os.register_at_fork(after_in_child=own_threads.cache_clear)  # where those threads are not


def numpy_threads() -> int:
    """That NumPy's BLAS may take; 0 where it is one that nothing is known of."""
    return max((library.num_threads for library in numpy_blas().lib_controllers), default=0)


@cache
def numpy_blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
