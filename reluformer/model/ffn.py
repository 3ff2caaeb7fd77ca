"""The feed-forward network as a key-value memory of `ffn_dim` slots."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reluformer.errors import UserError
from reluformer.kernels.linear import Linear
from reluformer.model.dropout import dropout

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda scores: functional.relu(scores, inplace=True),
    "gelu": functional.gelu,
    "softmax": lambda scores: scores.softmax(-1),
}


class FeedForward(nn.Module):
    """V^T activation(K x + b1) + b2, where rows of K are keys and columns of V^T are values.

    `activation`: `relu` (the standard network), `gelu`, or `softmax` over the slots.
    `output_norm`: layer norm of the output, before it joins the residual stream; it repairs the
    small variance that softmax leaves (with thousands of slots only in part, at first: that
    variance is then below the norm's epsilon of 1e-5).
    `bias`: b1 and b2, which the memory of the paper does without.
    `initialisation`: `xavier` (uniform, fairseq's) or `he` (normal with variance 2 / fan-in,
    He et al. 2015, equation 10, which keeps the variance through a ReLU).

    Source: Vaswani et al. 2017, section 3.3 (relu); Shen et al. 2023, section 3 (softmax, and
    softmax with layer norm). Differs from them in: nothing.
    """

    def __init__(
        self,
        d_model: int,
        ffn_dim: int,
        *,
        activation: str,
        output_norm: bool,
        bias: bool,
        initialisation: str,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise UserError(f"`activation` must be one of {names}, but is {activation!r}")
        if initialisation not in ("xavier", "he"):
            raise UserError(f"`initialisation` must be xavier or he, but is {initialisation!r}")
        self.activation = activation
        self.keys = Linear(d_model, ffn_dim, bias=bias)
        self.values = Linear(ffn_dim, d_model, bias=bias)
        self.output_norm = nn.LayerNorm(d_model) if output_norm else nn.Identity()
        self.dropout = dropout
        for linear in (self.keys, self.values):
            if initialisation == "he":
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(linear.weight)
            if bias:
                nn.init.zeros_(linear.bias)

    def slots(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B T F"]:
        """How much of each slot's value each position takes, without dropout."""
        return ACTIVATIONS[self.activation](self.keys(x))

    def forward(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B T M"]:
        taken = dropout(self.slots(x), self.dropout, self.training)
        return self.output_norm(self.values(taken))
