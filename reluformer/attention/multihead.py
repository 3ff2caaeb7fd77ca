"""Projections around an attention mechanism; knows none of them by name."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Attention, Penalty
from reluformer.attention.cache import QueryMemory, SourceMemory, TargetMemory
from reluformer.kernels.linear import Linear
from reluformer.kernels.products import batched_product
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
        self.input_projection = Linear(d_model, 3 * d_model)
        self.output_projection = Linear(d_model, d_model)
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
        self,
        x: Float[Tensor, "N 1 M"],
        memory: TargetMemory,
        queries: QueryMemory,
        visibility: Visibility,
    ) -> Float[Tensor, "N 1 M"]:
        """Self-attention of the newest position of N hypotheses over their pasts and themselves.

        `visibility` says which slots of the memory, the newest included, each of them reads.
        """
        q, k, v = (self._split(part) for part in self.input_projection(x).chunk(3, dim=-1))
        memory.write(k, v)
        return self._attend(x, q, memory, queries, visibility)

    def step_across(
        self,
        x: Float[Tensor, "N 1 M"],
        memory: SourceMemory,
        queries: QueryMemory,
        visibility: Visibility,
    ) -> Float[Tensor, "N 1 M"]:
        """Cross-attention of the newest position of N hypotheses to what was projected before."""
        return self._attend(x, self._queries(x), memory, queries, visibility)

    def _attend(
        self,
        x: Float[Tensor, "N 1 M"],
        q: Float[Tensor, "N H 1 D"],
        memory: SourceMemory | TargetMemory,
        queries: QueryMemory,
        visibility: Visibility,
    ) -> Float[Tensor, "N 1 M"]:
        """The hypotheses of one sentence, next to each other in x, as one attention's queries."""
        newest = Visibility(1, visibility.num_keys, ordered=True, device=x.device)
        q, queries.past = self.mechanism.prepare_queries(q, newest, queries.past)
        beams = q.squeeze(2).unflatten(0, (len(memory.keys), -1)).transpose(1, 2)
        weights = self.mechanism.weights(beams, memory.keys, visibility)
        context = batched_product(weights, memory.values)
        context = context.transpose(1, 2).flatten(0, 1).unsqueeze(2)
        return self.output_projection(self.mechanism.merge_heads(context, x))

    def project_memory(
        self, memory: Float[Tensor, "B S M"]
    ) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
        """Keys and values of what is attended to."""
        d_model = self.d_model
        k, v = self.input_projection.part(memory, d_model, 3 * d_model).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def _queries(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B H T D"]:
        return self._split(self.input_projection.part(x, 0, self.d_model))

    def _split(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B H T D"]:
        return x.unflatten(-1, (self.mechanism.num_heads, -1)).transpose(1, 2)
