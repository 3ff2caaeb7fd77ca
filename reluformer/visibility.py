"""Who may read whom in attention, as one immutable value with one meaning."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """functools.cached_property that torch.compile can trace: without the lock of Python 3.11's.

    What is computed in a graph is not kept, so that the first layer's graph serves all others.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__
        self.name = compute.__name__

    def __get__(self, owner: Any, kind: type) -> Value:
        if owner is None:
            return cast("Value", self)  # of the class, for help()
        value = self.compute(owner)
        if not torch.compiler.is_compiling():
            owner.__dict__[self.name] = value
        return value


@dataclass(frozen=True, eq=False)
class Visibility:
    """Which of `num_keys` keys each of `num_queries` queries may read.

    Sequences are padded on the right: of sentence b, the first `key_lengths[b]` keys and the
    first `query_lengths[b]` queries are real (None: all of them). With `causal`, query t reads
    keys up to its own position; queries are the last `num_queries` of `num_keys` positions
    (aligned bottom right), so that one decoding step is the last row of the whole square.
    With `ordered`, queries follow one another in time and none may depend on a later one, be it
    through keys (`causal`, which implies it) or through the queries themselves: a decoder's
    cross-attention is ordered though it reads the whole source.

    With `chosen`, that is what each query reads, and nothing else counts: the newest positions of
    a beam's hypotheses read their own ancestors among the positions of all of them.

    n, everywhere in this project, is the number of keys visible to one query: padding never
    counts, and in causal attention it grows along the sentence.
    """

    num_queries: int
    num_keys: int
    key_lengths: Int[Tensor, " B"] | None = None
    query_lengths: Int[Tensor, " B"] | None = None
    causal: bool = False
    ordered: bool = False
    device: torch.device | str = "cpu"
    chosen: Bool[Tensor, "B 1 T S"] | None = None

    @Cached
    def key_is_visible(self) -> Bool[Tensor, "B S"] | None:
        """Real keys, causality aside; None where every key is real."""
        if self.key_lengths is None:
            return None
        return torch.arange(self.num_keys, device=self.device) < self.key_lengths[:, None]

    @Cached
    def query_is_real(self) -> Bool[Tensor, "#B 1 T"]:
        """Queries that are not padding, with a place for the heads."""
        queries = torch.arange(self.num_queries, device=self.device)
        if self.query_lengths is None:
            return torch.ones_like(queries, dtype=torch.bool)[None, None]
        return (queries < self.query_lengths[:, None])[:, None]

    @Cached
    def num_visible(self) -> Int[Tensor, "#B 1 #T 1"]:
        """n: the keys visible to each query; 0 for a query that sees none."""
        if self.chosen is not None:
            return self.chosen.sum(-1, keepdim=True)
        if self.causal:
            first = self.num_keys - self.num_queries + 1
            n = torch.arange(first, self.num_keys + 1, device=self.device)[None, None, :, None]
            n = n.clamp(min=0)
        else:
            n = torch.full((1, 1, 1, 1), self.num_keys, device=self.device)
        if self.key_lengths is not None:
            n = torch.minimum(n, self.key_lengths[:, None, None, None])
        return n

    @Cached
    def dense(self) -> Bool[Tensor, "#B 1 #T S"]:
        """The whole picture, True where the query may read the key."""
        if self.chosen is not None:
            return self.chosen
        keys = torch.arange(self.num_keys, device=self.device)
        return keys < self.num_visible

    def part(self, begin: int, end: int) -> "Visibility":
        """Of the queries from begin to end (exclusive) alone; if causal, with the keys up to the
        last one's."""
        num_keys = max(self.num_keys - (self.num_queries - end if self.causal else 0), 0)
        lengths = self.query_lengths
        return replace(
            self,
            num_queries=end - begin,
            num_keys=num_keys,
            key_lengths=None if self.key_lengths is None else self.key_lengths.clamp(max=num_keys),
            query_lengths=None if lengths is None else (lengths - begin).clamp(0, end - begin),
            chosen=None if self.chosen is None else self.chosen[:, :, begin:end],
        )

    def key_mask(self, like: Tensor) -> Float[Tensor, "B 1 S 1"] | None:
        """1 for real keys, 0 for padding, to multiply [B, H, S, D] with; None without padding."""
        if self.key_is_visible is None:
            return None
        return self.key_is_visible[:, None, :, None].to(like.dtype)
