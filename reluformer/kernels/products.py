"""Batches of small matrix products, on CPUs with AVX-512 by NumPy.

NumPy's BLAS, OpenBLAS, has kernels of its own for small matrices there, and MKL's batched product,
which PyTorch takes, has none: it needs two to four times as long for the few queries of a search,
or for sentences, and a fifth longer for hundreds of positions. NumPy multiplies one matrix after
the other, which for sentences is also faster than PyTorch on two threads. On one thread of any CPU
heads that lie inside positions are not copied next to each other first, by NumPy nor PyTorch.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reluformer.threads import numpy_threads

SMALL = 2**18  # multiplications of one product, for which OpenBLAS never starts threads


def batched_product(
    left: Float[Tensor, "*B T D"],
    right: Float[Tensor, "*B D S"],
    out: Float[Tensor, "*B T S"] | None = None,
) -> Float[Tensor, "*B T S"]:
    """left @ right, into `out` if that is given."""
    if not reads_views(left, right):
        return torch.matmul(left, right, out=out)
    if out is None:
        out = left.new_empty(*left.shape[:-1], right.shape[-1])
    if suits_numpy(left, right, out):
        np.matmul(left.detach().numpy(), right.detach().numpy(), out=out.detach().numpy())
    elif all(map(is_one_batch, (left, right, out))):
        torch.matmul(left, right, out=out)
    else:
        for a, b, c in zip(left, right, out, strict=True):
            torch.bmm(a, b, out=c)
    return out


def reads_views(left: Tensor, right: Tensor) -> bool:
    """Whether rows are multiplied where they lie, which PyTorch would copy next to each other.

    On several threads, and of other types, one product of copies is faster; of small matrices,
    which NumPy has on two, on more than two.
    """
    return (
        not torch.compiler.is_compiling()
        and left.device.type == "cpu"
        and left.dtype == right.dtype == torch.float32
        and left.dim() in (3, 4)
        and left.shape[:-2] == right.shape[:-2]
        and torch.get_num_threads() <= (2 if are_small(left, right) and has_avx512() else 1)
        and not (torch.is_grad_enabled() and (left.requires_grad or right.requires_grad))
        and not torch.is_autocast_enabled("cpu")
    )


def suits_own_threads(x: Tensor) -> bool:
    """Whether NumPy's products on several threads of Python are faster than PyTorch's."""
    return (
        torch.get_num_threads() > 1
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and has_avx512()
        and numpy_threads() == 1
    )


def suits_numpy(left: Tensor, right: Tensor, out: Tensor) -> bool:
    """For what `reads_views` is true of."""
    if not has_avx512() or multiplications(left, right) == 0:
        return False
    if are_small(left, right):
        return True
    return numpy_threads() == 1 and all(map(is_for_blas, (left, right, out)))


def has_avx512() -> bool:
    return torch.cpu._is_avx512_supported()


def are_small(left: Tensor, right: Tensor) -> bool:
    return multiplications(left, right) <= SMALL


def multiplications(left: Tensor, right: Tensor) -> int:
    """Of one product of the batch."""
    return math.prod(left.shape[-2:]) * right.shape[-1]


def is_for_blas(x: Tensor) -> bool:
    """Whether rows or columns are next to each other; NumPy before 2.3 has a loop for others."""
    rows, columns = x.stride()[-2:]
    return (rows == 1 or columns == 1) and rows > 0 and columns > 0


def is_one_batch(x: Tensor) -> bool:
    """Whether its matrices are equally far apart, so that one call multiplies them all."""
    return x.dim() == 3 or len(x) == 1 or x.stride(0) == x.shape[1] * x.stride(1)
