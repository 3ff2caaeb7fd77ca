"""ReLA: rectified scores without any scaling, held stable by a norm of what they gather."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.attention.scores import visible_scores
from reluformer.visibility import Visibility

EPSILON = 1e-8


class RelaAttention(Attention):
    """weights = relu(q . k / sqrt(D)); the merged heads z [M] become norm(z).

    `gate` false (ReLA-i): norm(z) = g * z / RMS(z), where the gain g starts uniform in
    (0, sqrt(3 / M)), small, so that residuals carry the model at first.
    `gate` true (ReLA-g): norm(z) = g * z / RMS(z) * sigmoid(w * z), element by element, with g
    from 1 and w uniform in (-sqrt(3 / M), sqrt(3 / M)).
    RMS(z) = sqrt(mean(z^2) + 1e-8) over all heads together, before the output projection; where
    every head's row is dead, z is 0 and so is norm(z).

    Source: Zhang, Titov and Sennrich 2021, "Sparse Attention with Linear Units", section 3, and
    their code for the gated form. Differs from it in: the range of ReLA-i's g, which they do not
    publish; this one is a re-implementation's.
    """

    traits = Traits(normalised=False, non_negative=True, exact_zeros=True, shift_invariant=False)

    def __init__(self, num_heads: int, head_dim: int, *, gate: bool, dropout: float = 0.0) -> None:
        super().__init__(num_heads, head_dim, dropout)
        d_model = num_heads * head_dim
        bound = math.sqrt(3 / d_model)
        self.gain = nn.Parameter(torch.ones(d_model) if gate else torch.rand(d_model) * bound)
        self.gate_weight: nn.Parameter | None = None
        if gate:
            self.gate_weight = nn.Parameter(torch.empty(d_model).uniform_(-bound, bound))

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        return self.scores(q, k).relu() * visibility.dense.to(q.dtype)

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        scores = visible_scores(q / math.sqrt(self.head_dim), k, visibility)
        return self.drop(nn.functional.relu(scores, inplace=True)) @ v, None

    def merge_heads(
        self, context: Float[Tensor, "B H T D"], x: Float[Tensor, "B T M"]
    ) -> Float[Tensor, "B T M"]:
        z = super().merge_heads(context, x)
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPSILON)
        normed = (wide * scale * self.gain).to(z.dtype)
        if self.gate_weight is None:
            return normed
        return normed * torch.sigmoid(self.gate_weight * z)
