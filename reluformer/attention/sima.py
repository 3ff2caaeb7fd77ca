"""SimA: queries and keys normalised over positions instead of scores over keys."""

import torch
from jaxtyping import Float
from torch import Tensor

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.attention.scores import at_causal_queries
from reluformer.visibility import Visibility

SMALLEST_NORM = 1e-12


class SimaAttention(Attention):
    """weights = Q' K'^T, where each channel of Q and K is divided by its l1 norm over positions.

    Q'[t, c] = Q[t, c] / sum_t |Q[t, c]|, and K' likewise, for each head; padding counts for
    nothing. Weights have either sign, and rows no particular sum. Where no softmax stands between
    them, the products may be taken as (Q' K'^T) V or as Q' (K'^T V): the cheaper order is.

    Queries in time order (a decoder's) are divided by the norm over the positions up to their
    own, and causal keys by the norm over the keys that each query sees: weights of query t come
    from Q[t, c] / sum_{s <= t} |Q[s, c]| and K[j, c] / sum_{s <= t} |K[s, c]|.

    So a position reads what the mechanism would give at the end of its own prefix, with two
    consequences: the context shrinks along a sentence, roughly as 1 / t, where theirs has one scale
    for all positions; and the first position depends on its query and key by their signs only,
    without a gradient.

    Source: Koohpayegani and Pirsiavash 2022, "SimA: Simple Softmax-free Attention for Vision
    Transformers", section 3, equation 3. Differs from it in: the norms over prefixes are ours, as
    theirs would let a decoder look ahead.
    """

    traits = Traits(normalised=False, non_negative=False, exact_zeros=False, shift_invariant=False)

    def prepare_queries(
        self, q: Float[Tensor, "B H T D"], visibility: Visibility, past: Tensor | None = None
    ) -> tuple[Float[Tensor, "B H T D"], Tensor | None]:
        """Divide by the norms over positions; `past` is the norm of those before, [B, H, 1, D]."""
        wide = q.to(torch.promote_types(q.dtype, torch.float32))
        size = wide.abs() * visibility.query_is_real[..., None]
        if not (visibility.causal or visibility.ordered):
            return (wide / at_least(size.sum(-2, keepdim=True))).to(q.dtype), None
        norm = size.cumsum(-2) if past is None else past + size.cumsum(-2)
        return (wide / at_least(norm)).to(q.dtype), norm[:, :, -1:]

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        q, k = self._divided_by_key_norms(q, k, visibility)
        return q @ k.transpose(-1, -2) * visibility.dense.to(q.dtype)

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        dropping = self.training and self.dropout > 0
        if visibility.causal or dropping or not self._keys_first(q, k):
            return super().forward(q, k, v, visibility)
        q, k = self._divided_by_key_norms(q, k, visibility)
        return q @ (k.transpose(-1, -2) @ v), None

    @staticmethod
    def _keys_first(q: Tensor, k: Tensor) -> bool:
        """Whether Q (K^T V) has fewer products than (Q K^T) V: (T + S) D^2 against 2 T S D."""
        num_queries, num_keys, head_dim = q.shape[-2], k.shape[-2], q.shape[-1]
        return (num_queries + num_keys) * head_dim < 2 * num_queries * num_keys

    def _divided_by_key_norms(
        self, q: Tensor, k: Tensor, visibility: Visibility
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H S D"]]:
        """Queries and keys whose products are the weights of visible pairs.

        Causal norms differ from query to query, so they divide the queries; padded keys are 0.
        """
        wide = torch.promote_types(k.dtype, torch.float32)
        mask = visibility.key_mask(k)
        if mask is not None:
            k = k * mask
        size = k.to(wide).abs()
        if visibility.chosen is not None:
            norm = visibility.chosen.to(wide) @ size
            return (q.to(wide) / at_least(norm)).to(q.dtype), k
        if not visibility.causal:
            return q, (k.to(wide) / at_least(size.sum(-2, keepdim=True))).to(k.dtype)
        norm = at_causal_queries(size.cumsum(-2), q.shape[-2])
        return (q.to(wide) / at_least(norm)).to(q.dtype), k


def at_least(norm: Tensor) -> Tensor:
    """Norms to divide by: a channel that is 0 everywhere stays 0."""
    return norm.clamp(min=SMALLEST_NORM)
