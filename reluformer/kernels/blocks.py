"""How the scores of pointwise attention are cut into blocks, and the weights of any block.

A block is all scores of some heads of some short sentences, or a tile of those of a long one.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reluformer.kernels.problem import Problem
from reluformer.kernels.products import batched_product, reads_views
from reluformer.visibility import Visibility

Place = tuple[slice, ...]
# Scores in a block: 2 MB of float32, so that the calls for one take a small part of its time. Of
# long sequences half a square of them, as that touches few queries and keys, unless causal.
BLOCK = 2**19
SIDE = 2**10
ZERO_AT_ZERO = ("relu", "relu_squared", "gelu", "identity")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda z: functional.relu(z, inplace=True),
    "relu_squared": lambda z: functional.relu(z).square_(),
    "gelu": functional.gelu,
    "softplus": functional.softplus,
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Block:
    """All heads of some sentences or some heads of one; some of their queries, of their keys."""

    number: int
    sentences: slice
    heads: slice
    rows: slice
    columns: slice

    @property
    def queries(self) -> Place:
        return self.sentences, self.heads, self.rows

    @property
    def keys(self) -> Place:
        return self.sentences, self.heads, self.columns

    @property
    def pairs(self) -> Place:
        return self.sentences, self.heads, self.rows, self.columns


class Weights:
    """Computes the weights of any block, the same each time, dropout included."""

    def __init__(
        self, q: Tensor, k: Tensor, gain: Tensor, offset: Tensor | None, problem: Problem
    ) -> None:
        self.batch, self.num_heads, self.num_queries, head_dim = q.shape
        self.num_keys = k.shape[-2]
        self.problem = problem
        self.activation = problem.activation
        # A real query of causal self-attention never sees a padded key.
        square = problem.causal and problem.query_lengths is problem.key_lengths
        square = square and self.num_queries == self.num_keys
        lengths = None if square else problem.key_lengths
        visibility = Visibility(
            self.num_queries, self.num_keys, lengths, None, problem.causal, device=q.device
        )
        n = visibility.num_visible
        kind = torch.promote_types(q.dtype, torch.float32)
        factor = gain.to(kind)[:, None, None] * n.clamp(min=1).to(kind).pow(-problem.alpha)
        relu = self.activation == "relu"  # c relu(z) = relu(c z)
        self.context_factor = None if relu else factor.to(q.dtype)
        self.score_factor = factor if relu else torch.ones_like(factor)
        if offset is not None:
            self.score_factor = self.score_factor * (n > 1)
        self.offset = None if offset is None else wide(offset[..., None] * self.score_factor)
        query_factor = (self.score_factor * problem.scale).expand(*q.shape[:3], 1)
        key_mask = visibility.key_mask(k)
        # Factors and masks go into what is smaller: queries and keys, or planes of their scores.
        self.query_factor: Tensor | None = None
        self.key_mask: Tensor | None = None
        self.plane_factor: Tensor | None = None
        self.visible: Tensor | None = None
        if self.num_keys > head_dim:
            self.query_factor, self.key_mask = query_factor, key_mask
            self.queries = multiplied(q, query_factor)
            self.keys = k if key_mask is None else multiplied(k, key_mask)
            # A key of zeros has weight 0 of its own accord, where h(0) = 0 and nothing is shifted.
            if offset is None and self.activation in ZERO_AT_ZERO:
                key_mask = None
        else:
            self.queries, self.keys, self.plane_factor = q, k, query_factor
        if key_mask is not None:
            self.visible = key_mask.transpose(2, 3)
        self.views = reads_views(q, k.transpose(2, 3))
        self.queries, self.keys = self.laid_out(self.queries), self.laid_out(self.keys)
        self.seed = 0 if problem.seed is None else int(problem.seed)

    def blocks(self) -> Iterator[Block]:
        """All of them, but those parts of causal attention in which no query sees a key."""
        rows, columns, num_heads = self.num_queries, self.num_keys, max(self.num_heads, 1)
        sentences, heads, height = 1, 1, min(rows, SIDE)
        width = max(BLOCK // max(height, 1), 1)
        if self.problem.causal:  # stripes, which end where the last of their queries sees no more
            height, width = max(16, BLOCK // max(columns, 1)), columns
        if is_whole(self.num_queries, self.num_keys):
            heads, height, width = BLOCK // (rows * columns), rows, columns
            sentences, heads = max(heads // num_heads, 1), min(heads, num_heads)
        places = itertools.product(
            range(0, self.batch, sentences),
            range(0, self.num_heads, heads),
            range(0, rows, max(height, 1)),
            range(0, columns, max(width, 1)),
        )
        for number, (sentence, head, row, column) in enumerate(places):
            end = min(row + height, rows)
            seen = min(end + columns - rows, columns) if self.problem.causal else columns
            if column < seen:
                yield Block(
                    number,
                    slice(sentence, min(sentence + sentences, self.batch)),
                    slice(head, min(head + heads, self.num_heads)),
                    slice(row, end),
                    slice(column, min(column + width, seen)),
                )

    def laid_out(self, x: Tensor) -> Tensor:
        """As products want it: where rows are not read in place, they are copied once."""
        return x if self.views else x.contiguous()

    def scores(self, block: Block, out: Tensor | None = None) -> Float[Tensor, "B H T S"]:
        """z in float32 at least, rounded as queries are; for relu times the factor. Not masked."""
        keys = self.keys[block.keys].transpose(2, 3)
        z = wide(batched_product(self.queries[block.queries], keys, out=out))
        if self.plane_factor is not None:
            z.mul_(self.plane_factor[block.queries])
        return z if self.offset is None else z.sub_(self.offset[block.queries])

    def mask(self, values: Tensor, block: Block) -> Tensor:
        """Zero, in place, for what a query may not read."""
        if self.problem.causal:
            last = self.num_keys - self.num_queries + block.rows.start  # that the first query sees
            if block.columns.stop > last + 1:
                values.tril_(last - block.columns.start)
        if self.visible is not None:
            values.mul_(self.visible[block.sentences, :, :, block.columns])
        return values

    def kept(self, block: Block, like: Tensor) -> Tensor | None:
        """1 / (1 - p) where dropout keeps a weight, 0 elsewhere; None without dropout."""
        p = self.problem.dropout
        if p == 0:
            return None
        generator = torch.Generator(like.device)
        generator.manual_seed(self.seed + 1_000_003 * block.number)
        return torch.empty_like(like).bernoulli_(1 - p, generator=generator).div_(1 - p)


def is_whole(num_queries: int, num_keys: int) -> bool:
    """Whether a block holds all queries and keys of its heads, and there are some."""
    return 0 < num_queries * num_keys <= BLOCK


def multiplied(x: Float[Tensor, "B H T D"], factor: Tensor) -> Float[Tensor, "B H T D"]:
    """x times what broadcasts to it, laid out in one pass over memory."""
    out = x.new_empty(x.shape)
    return torch.mul(x, factor.to(x.dtype), out=out)


def wide(tensor: Tensor) -> Tensor:
    """In float32, if it has fewer bits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
