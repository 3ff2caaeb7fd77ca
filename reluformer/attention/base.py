"""The contract between a multi-head layer and an attention mechanism."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.kernels.products import batched_product
from reluformer.visibility import Visibility


@dataclass(frozen=True)
class Traits:
    """Promises a mechanism makes, and denials: the property tests hold it to both.

    normalised: the weights of every row that sees a key sum to 1.
    non_negative: no weight is below 0.
    exact_zeros: some weights are exactly 0.
    shift_invariant: one vector added to all keys, which shifts a row's scores alike, changes
        nothing.
    fused: training never holds all T x S weights at once.
    causal: no query depends on a later one where queries are ordered, and queries may come one
        at a time, so that the mechanism may stand in a decoder. Where False, a decoder with it is
        refused when the model is built.
    """

    normalised: bool
    non_negative: bool
    exact_zeros: bool
    shift_invariant: bool
    fused: bool = False
    causal: bool = True


class Penalty(NamedTuple):
    """A mechanism's addition to the loss: two terms, summed over real rows, averaged over heads.

    None is a term that is switched off.
    """

    normalisation: Float[Tensor, ""] | None
    entropy: Float[Tensor, ""] | None


class Attention(nn.Module):
    """How queries, keys and values become one context vector for each query and head.

    A mechanism holds no projections; `MultiHeadAttention` does. It is given q [B, H, T, D],
    k and v [B, H, S, D] and a `Visibility`, and must give padded or invisible keys no influence
    and rows without any visible key a zero context with finite gradients.

    Subclasses define `weights`, the plain reference, and may override `forward` with something
    faster that agrees with `weights(...) @ v`, and any of the hooks below it.
    """

    traits: Traits

    def __init__(self, num_heads: int, head_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.dropout = dropout

    def scores(
        self, q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"]
    ) -> Float[Tensor, "B H T S"]:
        """q . k / sqrt(D), before any mask."""
        return batched_product(q, k.transpose(-1, -2)) / math.sqrt(self.head_dim)

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        """The weight of each value in each context, without dropout."""
        raise NotImplementedError

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        """The context, and the penalty where it is wanted and the mechanism has one."""
        weights = self.weights(q, k, visibility)
        return self.drop(weights) @ v, None

    def drop(self, weights: Tensor) -> Tensor:
        """Dropout on attention weights, in training only."""
        return nn.functional.dropout(weights, self.dropout, self.training and self.dropout > 0)

    def prepare_queries(
        self, q: Float[Tensor, "B H T D"], visibility: Visibility, past: Tensor | None = None
    ) -> tuple[Float[Tensor, "B H T D"], Tensor | None]:
        """Queries as `weights` and `forward` want them, and what later queries need of these.

        For mechanisms whose queries depend on one another. `past` is what this returned for the
        positions before, when they come one at a time: a tensor with rows as those of q.
        """
        return q, None

    def merge_heads(
        self, context: Float[Tensor, "B H T D"], x: Float[Tensor, "B T M"]
    ) -> Float[Tensor, "B T M"]:
        """Heads side by side, as the output projection wants them; x is what queries come from."""
        return context.transpose(1, 2).flatten(2)

    def report(self) -> dict[str, float]:
        """What this mechanism has learned, such as its gamma, for the training log."""
        return {}


def row_entropy(weights: Float[Tensor, "... S"]) -> Float[Tensor, "..."]:
    """Entropy in nats of each row of non-negative weights, divided by its sum; 0 for empty rows."""
    share = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return -torch.xlogy(share, share).sum(-1)
