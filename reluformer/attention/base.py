"""The contract between a multi-head layer and an attention mechanism."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.visibility import Visibility


@dataclass(frozen=True)
class Traits:
    """Promises a mechanism makes, and denials: the property tests hold it to both.

    normalised: the weights of every row that sees a key sum to 1.
    non_negative: no weight is below 0.
    exact_zeros: some weights are exactly 0.
    shift_invariant: a number added to all scores of a row changes nothing.
    """

    normalised: bool
    non_negative: bool
    exact_zeros: bool
    shift_invariant: bool


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
    faster that agrees with `weights(...) @ v`.
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
        return q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)

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

    def merge_heads(self, context: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T M"]:
        """Heads side by side, as the output projection wants them."""
        return context.transpose(1, 2).flatten(2)


def row_entropy(weights: Float[Tensor, "... S"]) -> Float[Tensor, "..."]:
    """Entropy in nats of each row of non-negative weights, divided by its sum; 0 for empty rows."""
    share = weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return -torch.xlogy(share, share).sum(-1)
