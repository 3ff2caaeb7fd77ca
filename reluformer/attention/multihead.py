"""Projections around an attention mechanism; knows none of them by name."""

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from reluformer.attention.base import Attention, Penalty
from reluformer.attention.cache import KeyValueCache, QueryMemory
from reluformer.visibility import Visibility


class MultiHeadAttention(nn.Module):
    """Projects to queries, keys and values, lets the mechanism attend, projects back.

    `memory` is what is attended to: the same as x for self-attention, the encoder's output for
    cross-attention. Query, key and value projections are one matrix, so that self-attention
    runs them as one product.
    """

    def __init__(self, d_model: int, mechanism: Attention) -> None:
        super().__init__()
        self.d_model = d_model
        self.mechanism = mechanism
        self.input_projection = nn.Linear(d_model, 3 * d_model)
        self.output_projection = nn.Linear(d_model, d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform, the inputs with gain 1/sqrt(2), biases 0: fairseq's initialisation."""
        for weight in self.input_projection.weight.chunk(3):
            nn.init.xavier_uniform_(weight, gain=1 / math.sqrt(2))
        nn.init.xavier_uniform_(self.output_projection.weight)
        nn.init.zeros_(self.input_projection.bias)
        nn.init.zeros_(self.output_projection.bias)

    def forward(
        self,
        x: Float[Tensor, "B T M"],
        visibility: Visibility,
        memory: Float[Tensor, "B S M"] | None = None,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B T M"], Penalty | None]:
        """Self-attention over x, or cross-attention from x to `memory`."""
        if memory is None:
            q, k, v = (self._split(part) for part in self.input_projection(x).chunk(3, dim=-1))
        else:
            q = self._queries(x)
            k, v = self.project_memory(memory)
        q, _ = self.mechanism.prepare_queries(q, visibility)
        context, penalty = self.mechanism(q, k, v, visibility, with_penalty)
        return self.output_projection(self.mechanism.merge_heads(context, x)), penalty

    def step(
        self, x: Float[Tensor, "N T M"], cache: KeyValueCache, queries: QueryMemory
    ) -> Float[Tensor, "N T M"]:
        """Causal self-attention of the newest T positions over all in the cache and themselves."""
        q, k, v = (self._split(part) for part in self.input_projection(x).chunk(3, dim=-1))
        cache.append(k, v)
        visibility = Visibility(x.shape[1], cache.length, causal=True, device=x.device)
        q, queries.past = self.mechanism.prepare_queries(q, visibility, queries.past)
        context, _ = self.mechanism(q, cache.keys, cache.values, visibility)
        return self.output_projection(self.mechanism.merge_heads(context, x))

    def step_across(
        self,
        x: Float[Tensor, "N 1 M"],
        source: KeyValueCache,
        queries: QueryMemory,
        visibility: Visibility,
    ) -> Float[Tensor, "N 1 M"]:
        """Cross-attention of the newest position of N rows to keys and values projected before.

        The beams of one sentence, which are next to each other in x, become the queries of one
        attention, so that the source's keys and values are never copied per beam.
        """
        newest = Visibility(1, source.length, ordered=True, device=x.device)
        q, queries.past = self.mechanism.prepare_queries(self._queries(x), newest, queries.past)
        beams = q.squeeze(2).unflatten(0, (len(source.keys), -1)).transpose(1, 2)
        context, _ = self.mechanism(beams, source.keys, source.values, visibility)
        context = context.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        return self.output_projection(self.mechanism.merge_heads(context, x))

    def project_memory(
        self, memory: Float[Tensor, "B S M"]
    ) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
        """Keys and values of what is attended to."""
        weight, bias = self.input_projection.weight, self.input_projection.bias
        projected = functional.linear(memory, weight[self.d_model :], bias[self.d_model :])
        k, v = projected.chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def _queries(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B H T D"]:
        weight, bias = self.input_projection.weight, self.input_projection.bias
        return self._split(functional.linear(x, weight[: self.d_model], bias[: self.d_model]))

    def _split(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B H T D"]:
        return x.unflatten(-1, (self.mechanism.num_heads, -1)).transpose(1, 2)
