"""A linear map that can be applied in part."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Linear):
    """x W^T + b, of which some outputs can be had without the others."""

    def part(self, x: Float[Tensor, "*B M"], begin: int, end: int) -> Float[Tensor, "*B P"]:
        """The outputs from begin to end (exclusive)."""
        return functional.linear(x, self.weight[begin:end], self.bias[begin:end])
