"""The pointwise family: any activation of the scores, divided by a power of the length."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.attention.scores import centered, centered_keys, check_center
from reluformer.errors import UserError
from reluformer.kernels.attention import pointwise_attention
from reluformer.kernels.linear import Linear
from reluformer.visibility import Visibility

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "relu_squared": lambda scores: functional.relu(scores).square(),
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "identity": lambda scores: scores,
    "sigmoid": torch.sigmoid,
}
NON_NEGATIVE = ("relu", "relu_squared", "softplus", "sigmoid")
EXACT_ZEROS = ("relu", "relu_squared")


class PointwiseAttention(Attention):
    """weights = n^-alpha h(q . k / sqrt(D)), n = keys visible to that query.

    `activation`: h. `qk_norm`: layer norm of each head's queries and keys before their product.
    `gate`: the merged heads are multiplied by a linear projection of the layer's input.
    `center="row"`: subtract from each score its row's mean over visible keys, before h.

    Source: Wortsman, Lee, Gilmer and Kornblith 2023, "Replacing softmax with ReLU in Vision
    Transformers", sections 3 and 4. Differs from it in: n is the visible length (they have
    neither padding nor causal attention); `center` is ours; their gate's activation is not
    stated, so there is none.
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        *,
        activation: str,
        alpha: float,
        qk_norm: bool,
        gate: bool,
        center: str,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(num_heads, head_dim, dropout)
        if activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise UserError(f"`activation` must be one of {names}, but is {activation!r}")
        if not 0 <= alpha <= 1:
            raise UserError(f"`alpha` must lie in [0, 1], but is {alpha}")
        check_center(center)
        self.activation = activation
        self.alpha = alpha
        self.center = center
        self.query_norm = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.key_norm = nn.LayerNorm(head_dim) if qk_norm else nn.Identity()
        self.gate: nn.Linear | None = None
        if gate:
            self.gate = Linear(num_heads * head_dim, num_heads * head_dim)
            nn.init.xavier_uniform_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)
        self.traits = Traits(
            normalised=False,
            non_negative=activation in NON_NEGATIVE,
            exact_zeros=activation in EXACT_ZEROS,
            shift_invariant=center == "row" and not qk_norm,
            fused=True,
        )

    def scores(
        self, q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"]
    ) -> Float[Tensor, "B H T S"]:
        return super().scores(self.query_norm(q), self.key_norm(k))

    def length_factor(self, visibility: Visibility) -> Float[Tensor, "#B 1 #T 1"]:
        """n^-alpha."""
        return visibility.num_visible.clamp(min=1).to(torch.float64).pow(-self.alpha)

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        scores = self.scores(q, k)
        if self.center == "row":
            scores = centered(scores, visibility)
        visible = visibility.dense.to(q.dtype)
        activated = ACTIVATIONS[self.activation](scores)
        return activated * visible * self.length_factor(visibility).to(q.dtype)

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        q, k, offset = self.query_norm(q), self.key_norm(k), None
        if self.center == "row":
            k, offset = centered_keys(q, k, visibility)
        scale = 1 / math.sqrt(self.head_dim)
        found = pointwise_attention(
            q,
            k,
            v,
            visibility,
            activation=self.activation,
            gain=torch.ones(self.num_heads, device=q.device),
            alpha=self.alpha,
            scale=scale,
            offset=None if offset is None else offset * scale,
            dropout=self.dropout if self.training else 0.0,
        )
        return found.contexts, None

    def merge_heads(
        self, context: Float[Tensor, "B H T D"], x: Float[Tensor, "B T M"]
    ) -> Float[Tensor, "B T M"]:
        merged = super().merge_heads(context, x)
        return merged if self.gate is None else merged * self.gate(x)
