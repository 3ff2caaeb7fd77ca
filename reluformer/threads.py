"""How many threads multiply matrices: those of PyTorch and of NumPy's BLAS, told alike.

To be relied on in Python's main thread only: threadpoolctl lets the first thread that does so tell
a BLAS, and what others say goes unheard.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy  # noqa: F401  # so that its BLAS is there to be found
import torch
from threadpoolctl import ThreadpoolController


def set_threads(number: int) -> None:
    """For the whole process. `torch.set_num_threads` alone leaves NumPy a thread for each core."""
    torch.set_num_threads(number)
    numpy_blas().limit(limits=number)


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


def numpy_threads() -> int:
    """That NumPy's BLAS may take; 0 where it is one that nothing is known of."""
    return max((library.num_threads for library in numpy_blas().lib_controllers), default=0)


@cache
def numpy_blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
