"""The numbers that a trained model computes with, for translating: fp32, bf16 or int8."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.projection import Projection
from reluformer.errors import UserError

PRECISIONS = ("fp32", "bf16", "int8")
STEPS = 63  # of an input on either side of 0: with more, products overflow CPUs without VNNI
ZERO = 64  # what stands for 0 in the inputs, which are unsigned


def convert(model: nn.Module, precision: str) -> None:
    """Give a model, in evaluation mode and where it is to run, this precision, in place.

    bf16: all weights, so that matrix products are in bf16. int8: the linear layers, see
    `Int8Linear`. Raises UserError for int8 where PyTorch cannot do it.
    """
    if precision == "bf16":
        model.to(torch.bfloat16)
    if precision == "int8":
        device = next(model.parameters()).device
        if device.type != "cpu" or not torch.backends.mkldnn.is_available():
            raise UserError(
                "int8 is for CPUs, by oneDNN, which this PyTorch or this device lacks: take bf16 "
                "on a GPU, else fp32"
            )
        replace_linear(model)


def replace_linear(module: nn.Module) -> None:
    """Put an `Int8Linear` in the place of every linear layer inside."""
    for name, child in module.named_children():
        if type(child) in (nn.Linear, Projection):
            assert isinstance(child, nn.Linear)
            setattr(module, name, Int8Linear(child))
        else:
            replace_linear(child)


class Int8Linear(nn.Module):
    """x W^T + b in whole numbers: W in 8 bits with a scale for each output, x in 7 with one a row.

    Sums are exact, and no row's scale depends on another row: of a batch a sentence feels no more
    than that attention before rounds differently. Source: dynamic quantisation as in Khudia et al.
    2021 ("FBGEMM"), section 3. Differs from it in: a scale for each row of x instead of one for
    all of it. For translating only: what is copied, pickled or compiled is the model before.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        weight = linear.weight.detach().float()
        scale = weight.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().to(torch.int8))
        self.register_buffer("scale", scale)
        bias = None if linear.bias is None else linear.bias.detach().float()
        self.register_buffer("bias", bias)
        self._packed: dict[tuple[int, int], Tensor] = {}

    def forward(self, x: Float[Tensor, "*B M"]) -> Float[Tensor, "*B P"]:
        return self.part(x, 0, len(self.weight))

    def part(self, x: Float[Tensor, "*B M"], begin: int, end: int) -> Float[Tensor, "*B P"]:
        """The outputs from begin to end (exclusive)."""
        if (begin, end) not in self._packed:
            packed = torch.ops.onednn.qlinear_prepack(self.weight[begin:end], None)
            self._packed[begin, end] = packed
        rows = x.flatten(0, -2)
        step = rows.abs().amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny) / STEPS
        whole = (rows / step).round_().add_(ZERO).to(torch.uint8)
        scale = self.scale[begin:end]
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        out: Tensor = torch.ops.onednn.qlinear_pointwise(
            whole, 1.0, ZERO, self._packed[begin, end], scale, zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        out.mul_(step)
        if self.bias is not None:
            out.add_(self.bias[begin:end])
        return out.unflatten(0, x.shape[:-1])
