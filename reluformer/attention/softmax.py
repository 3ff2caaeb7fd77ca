"""Scaled dot-product attention."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.visibility import Visibility


class SoftmaxAttention(Attention):
    """weights = softmax(q . k / sqrt(D)) over the visible keys.

    Source: Vaswani et al. 2017, "Attention Is All You Need", equation 1. Differs from it in:
    nothing; `forward` runs PyTorch's own fused kernels.
    """

    traits = Traits(
        normalised=True, non_negative=True, exact_zeros=False, shift_invariant=True, fused=True
    )

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        hidden = ~visibility.dense
        weights = self.scores(q, k).masked_fill(hidden, -torch.inf).softmax(-1)
        return weights.masked_fill(hidden, 0.0)  # a row that sees nothing: 0 instead of NaN

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        dropout = self.dropout if self.training else 0.0
        # With right padding, a causal query that is real never sees a padded key: no mask needed.
        if visibility.causal and q.shape[-2] == k.shape[-2] > 1:
            return scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True), None
        unmasked = visibility.key_lengths is None and (not visibility.causal or q.shape[-2] == 1)
        mask = None if unmasked else visibility.dense
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout), None
