"""The numbers that a trained model computes with, for translating: fp32, bf16 or int8."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.errors import UserError
from reluformer.kernels.linear import Linear, product
from reluformer.model.transformer import Transformer

PRECISIONS = ("fp32", "bf16", "int8")
STEPS = 63  # of an input on either side of 0: with more, products overflow CPUs without VNNI
ZERO = 64  # what stands for 0 in the inputs, which are unsigned


def convert(model: Transformer, precision: str, compiled: bool = False) -> None:
    """Give a model, in evaluation mode and where it is to run, this precision, in place.

    bf16: all weights, so that matrix products are in bf16. int8: the linear layers, see
    `Int8Linear`, attention staying in fp32. On CPUs with oneDNN the linear layers of the others
    become `PackedLinear`, but not if the model is to be compiled. Raises UserError for int8 where
    PyTorch cannot do it.
    """
    if precision == "bf16":
        model.to(torch.bfloat16)
    device = next(model.parameters()).device
    has_onednn = device.type == "cpu" and torch.backends.mkldnn.is_available()
    if precision == "int8":
        if not has_onednn:
            raise UserError(
                "int8 is for CPUs, by oneDNN, which this PyTorch or this device lacks: take bf16 "
                "on a GPU, else fp32"
            )
        replace_linear(model, Int8Linear)
    elif has_onednn and not compiled and has_products(precision):
        replace_linear(model, PackedLinear)


def has_products(precision: str) -> bool:
    """Whether oneDNN, where there is one, has them in this precision."""
    return precision == "fp32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def replace_linear(module: nn.Module, layer: type["PackedLinear"]) -> None:
    """Put such a layer in the place of every linear layer inside."""
    for name, child in module.named_children():
        # What is more than a linear layer, or is listened to, stays as it is.
        if type(child) in (nn.Linear, Linear) and not child._forward_hooks:
            assert isinstance(child, nn.Linear)
            setattr(module, name, layer(child))
        else:
            replace_linear(child, layer)


class PackedLinear(nn.Module):
    """x W^T + b, W laid out once as oneDNN reads it, instead of anew in every product.

    Faster the fewer rows there are, and a row's outputs are the same bits whatever rows are beside
    it. For translating only: what is copied, loaded, trained or compiled is
    the model before.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self.register_buffer("weight", linear.weight.detach())
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())
        self._parts: dict[tuple[int, int], tuple[Tensor | None, ...]] = {}

    def forward(self, x: Float[Tensor, "*B M"]) -> Float[Tensor, "*B P"]:
        return self.part(x, 0, self.out_features)

    def part(self, x: Float[Tensor, "*B M"], begin: int, end: int) -> Float[Tensor, "*B P"]:
        """The outputs from begin to end (exclusive)."""
        if (begin, end) not in self._parts:
            self._parts[begin, end] = self._pack(begin, end)
        return self._product(x.flatten(0, -2), *self._parts[begin, end]).unflatten(0, x.shape[:-1])

    def _bias_of(self, begin: int, end: int) -> Tensor | None:
        return None if self.bias is None else self.bias[begin:end]

    def _pack(self, begin: int, end: int) -> tuple[Tensor | None, ...]:
        """All that `_product` needs for these outputs."""
        packed = torch.ops.mkldnn._reorder_linear_weight(self.weight[begin:end])
        return packed, self._bias_of(begin, end)

    def _product(self, rows: Float[Tensor, "N M"], *part: Tensor | None) -> Float[Tensor, "N P"]:
        weight, bias = part
        assert weight is not None
        return product(rows, weight, bias)


class Int8Linear(PackedLinear):
    """x W^T + b in whole numbers: W in 8 bits with a scale for each output, x in 7 with one a row.

    Sums are exact, and no row's scale depends on another row. Source: dynamic quantisation as in
    Khudia et al. 2021 ("FBGEMM"), section 3. Differs from it in: a scale for each row of x instead
    of one for all of it.
    """

    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        weight = self.weight.float()
        scale = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        self.weight = (weight / scale[:, None]).round().to(torch.int8)
        self.register_buffer("scale", scale)

    def _pack(self, begin: int, end: int) -> tuple[Tensor | None, ...]:
        packed = torch.ops.onednn.qlinear_prepack(self.weight[begin:end], None)
        scale = self.scale[begin:end]
        return packed, scale, torch.zeros_like(scale, dtype=torch.int32), self._bias_of(begin, end)

    def _product(self, rows: Float[Tensor, "N M"], *part: Tensor | None) -> Float[Tensor, "N P"]:
        *packed, bias = part
        step = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny) / STEPS
        # Between 1 and 127: the same bits in both types of 8 bits, and this one is faster to make.
        whole = (rows / step).round_().add_(ZERO).to(torch.int8).view(torch.uint8)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, ZERO, *packed, None, 1.0, 0, torch.float32, "none", [], ""
        )
        out.mul_(step)
        return out if bias is None else out.add_(bias)
