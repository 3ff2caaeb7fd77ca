"""Batches of small matrix products, on CPUs with AVX-512 by NumPy.

NumPy's BLAS, OpenBLAS, has kernels of its own for small matrices there, and MKL's batched product,
which PyTorch takes, has none: it needs two to four times as long for the few queries of a search,
or for sentences. NumPy multiplies one matrix after the other on one thread.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 2**18  # multiplications of one product; beyond, OpenBLAS would start threads


def batched_product(
    left: Float[Tensor, "*B T D"],
    right: Float[Tensor, "*B D S"],
    out: Float[Tensor, "*B T S"] | None = None,
) -> Float[Tensor, "*B T S"]:
    """left @ right, into `out` if that is given."""
    if not suits_numpy(left, right):
        return torch.matmul(left, right, out=out)
    if out is None:
        out = left.new_empty(*left.shape[:-1], right.shape[-1])
    np.matmul(left.detach().numpy(), right.detach().numpy(), out=out.detach().numpy())
    return out


def suits_numpy(left: Tensor, right: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and left.device.type == "cpu"
        and left.dtype == right.dtype == torch.float32
        and left.dim() > 2
        and left.shape[:-2] == right.shape[:-2]
        and 0 < math.prod(left.shape[-2:]) * right.shape[-1] <= SMALL
        and torch.get_num_threads() == 1
        and not (torch.is_grad_enabled() and (left.requires_grad or right.requires_grad))
        and not torch.is_autocast_enabled("cpu")
        and torch.cpu._is_avx512_supported()
    )
