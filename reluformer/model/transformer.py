"""The encoder-decoder: whole sequences in training, one position at a time in decoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from reluformer.attention.base import Penalty
from reluformer.attention.cache import Ancestry, LayerMemory, SourceMemory
from reluformer.model.embedding import Embedding
from reluformer.model.layers import DecoderLayer, EncoderLayer
from reluformer.visibility import Visibility

ENCODER_SELF, DECODER_SELF, CROSS = SITES = (
    "encoder_self_attention",
    "decoder_self_attention",
    "cross_attention",
)


@dataclass(frozen=True, eq=False)
class EncoderOutput:
    """The encoded source: `states` [B, S, M] and how many positions of each sentence are real."""

    states: Tensor
    lengths: Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """Decoder states [B, T, M] before the output projection; penalties of each layer by site."""

    states: Tensor
    penalties: Mapping[str, list[Penalty]]


class DecoderCache:
    """What decoding remembers: the memory of each layer, and whose each position is."""

    def __init__(self, sources: list[SourceMemory], lengths: Int[Tensor, " B"]) -> None:
        self.ancestry = Ancestry(len(lengths), lengths.device)
        self.layers = [LayerMemory(source, self.ancestry) for source in sources]
        self.source_lengths = lengths
        self.length = 0

    def extend(self) -> tuple[Visibility, Visibility]:
        """A step further: what the newest positions read of the target and of the source."""
        self.ancestry.extend()
        for layer in self.layers:
            layer.target.reserve()
        self.length += 1
        chosen, lengths = self.ancestry.visible, self.source_lengths
        beams, num_slots, device = *chosen.shape[2:], lengths.device
        own = Visibility(beams, num_slots, ordered=True, device=device, chosen=chosen)
        num_keys = self.layers[0].source.keys.shape[2]
        return own, Visibility(beams, num_keys, key_lengths=lengths, device=device)

    def select(self, rows: Int[Tensor, "B K"], sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, and for each the hypotheses in these rows, in this order.

        A row may be kept more than once, so that there are more beams than before. `sentences`
        must be ascending: sentences are dropped, never reordered.
        """
        self.ancestry.select(rows)
        for layer in self.layers:
            layer.self_queries.select(rows)
            layer.cross_queries.select(rows)
        if len(sentences) != len(self.source_lengths):
            for layer in self.layers:
                layer.source.select(sentences)
                layer.target.select(sentences)
            self.source_lengths = self.source_lengths.index_select(0, sentences)


class Transformer(nn.Module):
    """Encoder and decoder stacks with embeddings; `reluformer.config.build` puts one together.

    Source: Vaswani et al. 2017, post-norm or pre-norm. Pre-norm stacks end in a layer norm.
    """

    def __init__(
        self,
        source_embedding: Embedding,
        target_embedding: Embedding,
        encoder_layers: list[EncoderLayer],
        decoder_layers: list[DecoderLayer],
        output_projection: nn.Linear,
        pre_norm: bool,
    ) -> None:
        super().__init__()
        d_model = output_projection.in_features
        self.source_embedding = source_embedding
        self.target_embedding = target_embedding
        self.encoder_layers = nn.ModuleList(encoder_layers)
        self.decoder_layers = nn.ModuleList(decoder_layers)
        self.encoder_norm = nn.LayerNorm(d_model) if pre_norm else nn.Identity()
        self.decoder_norm = nn.LayerNorm(d_model) if pre_norm else nn.Identity()
        self.output_projection = output_projection
        self.recompute = False  # in training, layers keep their input only and run again backward

    @property
    def max_positions(self) -> int:
        """The longest source or target, end-of-sentence included, in pieces."""
        return len(self.source_embedding.positions)

    def extend_positions(self, num_positions: int) -> None:
        """Have at least so many positions, though the model may never have seen the new ones."""
        for embedding in (self.source_embedding, self.target_embedding):
            embedding.extend(num_positions)

    @property
    def encoder_stack(self) -> list[EncoderLayer]:
        """The encoder's layers, with their type."""
        return cast("list[EncoderLayer]", list(self.encoder_layers))

    @property
    def decoder_stack(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.decoder_layers))

    @property
    def target_vocab_size(self) -> int:
        return self.output_projection.out_features

    def forward(
        self,
        src_tokens: Int[Tensor, "B S"],
        src_lengths: Int[Tensor, " B"],
        prev_output_tokens: Int[Tensor, "B T"],
        tgt_lengths: Int[Tensor, " B"],
        with_penalty: bool = False,
    ) -> Output:
        """Decoder states of all target positions, each knowing the ones before it only."""
        encoded, encoder_penalties = self._encode(src_tokens, src_lengths, with_penalty)
        num_sources, num_targets = src_tokens.shape[1], prev_output_tokens.shape[1]
        device = src_tokens.device
        causal = Visibility(
            num_targets, num_targets, tgt_lengths, tgt_lengths, causal=True, device=device
        )
        cross = Visibility(
            num_targets, num_sources, src_lengths, tgt_lengths, ordered=True, device=device
        )
        penalties: dict[str, list[Penalty]] = {site: [] for site in SITES}
        penalties[ENCODER_SELF] = encoder_penalties
        x = self.target_embedding(prev_output_tokens)
        for layer in self.decoder_layers:
            x, self_penalty, cross_penalty = self._run(
                layer, x, encoded.states, causal, cross, with_penalty
            )
            if self_penalty is not None:
                penalties[DECODER_SELF].append(self_penalty)
            if cross_penalty is not None:
                penalties[CROSS].append(cross_penalty)
        return Output(self.decoder_norm(x), penalties)

    def encode(
        self, src_tokens: Int[Tensor, "B S"], src_lengths: Int[Tensor, " B"]
    ) -> EncoderOutput:
        return self._encode(src_tokens, src_lengths, with_penalty=False)[0]

    def _encode(
        self, src_tokens: Tensor, src_lengths: Tensor, with_penalty: bool
    ) -> tuple[EncoderOutput, list[Penalty]]:
        num_sources = src_tokens.shape[1]
        visibility = Visibility(
            num_sources, num_sources, src_lengths, src_lengths, device=src_tokens.device
        )
        penalties = []
        x = self.source_embedding(src_tokens)
        for layer in self.encoder_layers:
            x, penalty = self._run(layer, x, visibility, with_penalty)
            if penalty is not None:
                penalties.append(penalty)
        return EncoderOutput(self.encoder_norm(x), src_lengths), penalties

    def _run(self, layer: nn.Module, *inputs: Any) -> Any:
        """A layer's outputs; with `recompute`, without what it needs for its backward pass.

        Source: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
        """
        if self.recompute and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *inputs, use_reentrant=False)
        return layer(*inputs)

    def start(self, encoded: EncoderOutput) -> DecoderCache:
        """An empty cache with one row for each sentence, the source projected once."""
        sources = [
            SourceMemory(*layer.cross_attention.project_memory(encoded.states))
            for layer in self.decoder_stack
        ]
        return DecoderCache(sources, encoded.lengths)

    def step(self, tokens: Int[Tensor, " N"], cache: DecoderCache) -> Float[Tensor, "N V"]:
        """Logits of the token after these, which stand at `cache.length`; advances the cache."""
        return self.logits(self.step_states(tokens, cache))

    def step_states(self, tokens: Int[Tensor, " N"], cache: DecoderCache) -> Float[Tensor, "N M"]:
        """As `step`, before the output projection."""
        x = self.target_embedding(tokens[:, None], first=cache.length)
        own, cross = cache.extend()
        for layer, memory in zip(self.decoder_stack, cache.layers, strict=True):
            x = layer.step(x, memory, own, cross)
        states: Tensor = self.decoder_norm(x)[:, 0]
        return states

    def logits(self, states: Float[Tensor, "*B M"]) -> Float[Tensor, "*B V"]:
        """Scores over the target vocabulary, in float32."""
        return self.output_projection(states).float()


def count_parameters(model: nn.Module) -> int:
    """Trainable weights; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
