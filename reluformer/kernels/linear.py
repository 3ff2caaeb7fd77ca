"""Linear layers, on CPUs by oneDNN, whose float32 products are faster than those of MKL."""

import os
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

# oneDNN, and PyTorch around it, keep the code generated for the last 1,024 shapes of a product:
# 0.4 MB each, and holes in the heap as large again, for shapes that batches of sentences seldom
# have twice. So many are what one update needs. They are read at the first product.
for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(name, "64")


class Linear(nn.Linear):
    """x W^T + b, of which some outputs can be had without the others."""

    def forward(self, x: Float[Tensor, "*B M"]) -> Float[Tensor, "*B P"]:
        return linear(x, self.weight, self.bias)

    def part(self, x: Float[Tensor, "*B M"], begin: int, end: int) -> Float[Tensor, "*B P"]:
        """The outputs from begin to end (exclusive)."""
        bias = None if self.bias is None else self.bias[begin:end]
        return linear(x, self.weight[begin:end], bias)


def linear(
    x: Float[Tensor, "*B M"], weight: Float[Tensor, "P M"], bias: Float[Tensor, " P"] | None
) -> Float[Tensor, "*B P"]:
    """x W^T + b."""
    # torch.compile has its own choice of products, and cannot trace the questions below.
    if torch.compiler.is_compiling() or not suits_onednn(x, weight):
        return functional.linear(x, weight, bias)
    out: Tensor = OneDnnLinear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return out.view(*x.shape[:-1], len(weight))


def suits_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
        and not torch.is_autocast_enabled("cpu")
        and x.numel() > 0
    )


class OneDnnLinear(torch.autograd.Function):
    """x W^T + b of a matrix x; the weights' gradient is PyTorch's own product, which is as fast."""

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "N M"], weight: Float[Tensor, "P M"], bias: Tensor | None
    ) -> Float[Tensor, "N P"]:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (gradient,) = upstream
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            OneDnnLinear.apply(gradient, weight.t(), None) if of_x else None,
            gradient.t() @ x if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def product(
    rows: Float[Tensor, "N M"], weight: Float[Tensor, "P M"], bias: Tensor | None
) -> Float[Tensor, "N P"]:
    """`weight` as it is, or laid out for oneDNN beforehand."""
    bias = None if bias is None else bias.contiguous()  # its strides are not looked at
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out
