"""Dropout that costs little on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Random bits per element on a CPU; a rate is rounded to a multiple of 2^-BITS.
BITS = 16


def dropout(x: Float[Tensor, "*B"], rate: float, training: bool) -> Float[Tensor, "*B"]:
    """Zero elements with probability `rate` and scale the rest by 1 / (1 - rate), in training.

    On a CPU one 64-bit random number serves four elements, as PyTorch's own dropout spends more
    time on drawing than small models do on attention. Elsewhere, and where layers are compiled, it
    is PyTorch's.
    """
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return nn.functional.dropout(x, rate)
    draws = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    dropped = round(rate * 2**BITS)
    kept = draws.view(torch.int16)[: x.numel()] >= dropped - 2 ** (BITS - 1)
    return x * kept.view(x.shape).to(x.dtype).mul_(2**BITS / (2**BITS - dropped))
