"""Decoding with a few target types for each sentence, instead of the whole vocabulary."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reluformer.data.shortlist import Shortlist
from reluformer.data.vocabulary import BOS, EOS, PAD, UNK
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.model.transformer import DecoderCache, EncoderOutput, Transformer

SPECIAL = [PAD, BOS, EOS, UNK]  # 0 to 3: the search knows them by these numbers
MULTIPLE = 64  # of which there are as many types: the search reads them in equal groups


class ShortlistedModel:
    """A model for one batch that gives logits to the shortlists of its sentences only.

    Its tokens are places in `types` [U], those of all its sentences, the special ones first. A
    sentence has -inf for what is not its own, and so the same translation in any batch, in fp32: in
    bf16 types often have equal logits, and which of them is first depends on where they are.
    """

    def __init__(
        self, model: Transformer, src_tokens: Int[Tensor, "B S"], shortlist: Shortlist
    ) -> None:
        best = torch.from_numpy(shortlist.best[src_tokens.cpu().numpy()]).long().flatten(1)
        allowed = torch.zeros(len(best), model.target_vocab_size, dtype=torch.bool)
        allowed.scatter_(1, best, True)
        allowed[:, shortlist.common] = True
        allowed[:, SPECIAL] = True
        types = allowed.any(0).nonzero()[:, 0]
        more = (0, -len(types) % MULTIPLE)  # nobody's
        self.model = model
        self.types = nn.functional.pad(types, more).to(src_tokens.device)
        self._allowed = nn.functional.pad(allowed[:, types], more).to(src_tokens.device)
        self._output_layer = with_outputs(model.output_projection, self.types)

    @property
    def max_positions(self) -> int:
        return self.model.max_positions

    def encode(
        self, src_tokens: Int[Tensor, "B S"], src_lengths: Int[Tensor, " B"]
    ) -> EncoderOutput:
        return self.model.encode(src_tokens, src_lengths)

    def start(self, encoded: EncoderOutput) -> "ShortlistedCache":
        return ShortlistedCache(self.model.start(encoded), self._allowed)

    def step(self, tokens: Int[Tensor, " N"], cache: "ShortlistedCache") -> Float[Tensor, "N U"]:
        states = self.model.step_states(self.types[tokens], cache.inner)
        logits = self._output_layer(states).float().unflatten(0, (len(cache.allowed), -1))
        return logits.masked_fill_(~cache.allowed[:, None], -torch.inf).flatten(0, 1)

    def restore(self, rankings: Sequence[Sequence[Hypothesis]]) -> list[list[Hypothesis]]:
        """The hypotheses with the model's own tokens."""
        types = self.types.tolist()
        return [
            [replace(one, tokens=[types[token] for token in one.tokens]) for one in ranking]
            for ranking in rankings
        ]


class ShortlistedCache:
    """The model's cache, and which types [B, U] each sentence may have."""

    def __init__(self, inner: DecoderCache, allowed: Bool[Tensor, "B U"]) -> None:
        self.inner = inner
        self.allowed = allowed

    def select(self, rows: Int[Tensor, "B K"], sentences: Int[Tensor, " B"]) -> None:
        self.inner.select(rows, sentences)
        if len(sentences) != len(self.allowed):
            self.allowed = self.allowed.index_select(0, sentences)


def with_outputs(layer: nn.Module, outputs: Int[Tensor, " U"]) -> nn.Module:
    """The linear layer, of whatever precision, with no other outputs than these."""
    chosen = copy.copy(layer)
    for kind in ("_parameters", "_buffers"):
        tensors = getattr(layer, kind)
        few = {name: None if one is None else one[outputs] for name, one in tensors.items()}
        setattr(chosen, kind, few)
    chosen.out_features = len(outputs)  # type: ignore[assignment]
    chosen._parts = {}  # type: ignore[assignment]
    return chosen
