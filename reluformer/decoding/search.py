"""Beam search, greedy search and sampling over any model that decodes one step at a time.

The rule. A sentence's beam holds K live hypotheses. At each step their continuations are ranked by
log-probability; those that end the sentence and rank among the first K are finished, the K best
others live on. The search of a sentence ends when K hypotheses have finished, or at its longest
length, where every live hypothesis must end; the `n_best` finished ones with the highest
log-probability / length^length_penalty are returned (length counts the end of sentence). That is
fairseq's rule, and with K = 1 it is greedy search.

Stopping early loses nothing: log-probabilities only fall as a hypothesis grows, so a live one can
at best reach (its log-probability now) / (longest length)^length_penalty. Once that is no better
than the n-th best finished one, the rest of the search could not change the answer, and the
sentence leaves the batch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reluformer.data.vocabulary import BOS, EOS, PAD, UNK
from reluformer.decoding.beam import Step, best_candidates, divide, sampled_candidates
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.decoding.options import DecodeOptions

NEVER = [PAD, BOS, UNK]  # no hypothesis holds these


class Cache(Protocol):
    """What a model remembers of the hypotheses so far."""

    def select(self, rows: Int[Tensor, "B K"], sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, and of each the hypotheses in these rows, in this order."""


class StepwiseModel(Protocol):
    """A model in evaluation mode that gives the logits of one more token at a time.

    It starts with one row for each sentence, which the search then has continue as its beams.
    """

    @property
    def max_positions(self) -> int: ...
    def encode(self, src_tokens: Tensor, src_lengths: Tensor) -> Any: ...
    def start(self, encoded: Any) -> Any: ...
    def step(self, tokens: Tensor, cache: Any) -> Tensor: ...


@torch.no_grad()
def translate_batch(
    model: StepwiseModel,
    src_tokens: Int[Tensor, "B S"],
    src_lengths: Int[Tensor, " B"],
    options: DecodeOptions,
    sentence_ids: Sequence[int] | None = None,
    most_pieces: int | None = None,
) -> list[list[Hypothesis]]:
    """For each sentence its `options.n_best` hypotheses, best first.

    None has more than `most_pieces`, or more than the model has positions for.
    `sentence_ids` (default: 0, 1, ...) seed the sampling together with `options.seed`, so that a
    sentence's samples do not depend on the batch it is in. A model that gives no finite
    probability (NaN weights) yields an empty hypothesis with score -inf.
    """
    ids = range(len(src_lengths)) if sentence_ids is None else sentence_ids
    limits = longest_lengths(src_lengths, options, model.max_positions)
    if most_pieces is not None:
        limits = limits.clamp(max=most_pieces)
    search = Search(limits, options, ids)
    cache = model.start(model.encode(src_tokens, src_lengths))
    while search.num_sentences:
        log_probs = model.step(search.last_tokens, cache).log_softmax(-1)
        cache.select(*search.advance(log_probs))
    return search.results


def longest_lengths(
    src_lengths: Int[Tensor, " B"], options: DecodeOptions, max_positions: int
) -> Int[Tensor, " B"]:
    """max_len_a * source length (with its end of sentence) + max_len_b, as far as positions go."""
    lengths = src_lengths.double() * options.max_len_a + options.max_len_b
    return lengths.long().clamp(max=max_positions - 1)


class Search:
    """The hypotheses of all sentences still searched; `results` gathers those that are done.

    Tensors are [B, K, ...] for live hypotheses and [B, M, ...] for the M = n_best finished ones,
    with L places for tokens, the end of sentence included; unused finished places score -inf.
    """

    def __init__(
        self, limits: Int[Tensor, " B"], options: DecodeOptions, sentence_ids: Sequence[int]
    ) -> None:
        device, num_sentences = limits.device, len(limits)
        beam_size, n_best = options.beam_size, options.n_best
        width = int(limits.max()) + 1 if num_sentences else 1
        self.options = options
        self.shortest_limit = int(limits.min()) if num_sentences else 0
        self.length = 0
        self.results: list[list[Hypothesis]] = [[] for _ in range(num_sentences)]
        self.state = {
            "sentence": torch.arange(num_sentences, device=device),
            "limit": limits,
            "num_finished": torch.zeros_like(limits),
            "tokens": torch.full((num_sentences, beam_size, width), BOS, device=device),
            "log_probs": torch.zeros(num_sentences, beam_size, width, device=device),
            "scores": torch.full((num_sentences, beam_size), -torch.inf, device=device),
            "best_tokens": torch.full((num_sentences, n_best, width), EOS, device=device),
            "best_log_probs": torch.zeros(num_sentences, n_best, width, device=device),
            "best_scores": torch.full((num_sentences, n_best), -torch.inf, device=device),
            "best_lengths": torch.zeros(num_sentences, n_best, dtype=torch.long, device=device),
        }
        # All K places start from the same token, so beam search uses only the first of them.
        self.state["scores"][:, : beam_size if options.sampling else 1] = 0
        if options.sampling:
            self.state["uniforms"] = _uniforms(limits, options, sentence_ids)

    @property
    def num_sentences(self) -> int:
        return len(self.state["sentence"])

    @property
    def last_tokens(self) -> Int[Tensor, " N"]:
        """What the model reads next: one token for each row; at first, one for each sentence."""
        tokens = self.state["tokens"]
        return tokens[:, :, self.length - 1].flatten() if self.length else tokens[:, 0, 0]

    def advance(self, log_probs: Float[Tensor, "N V"]) -> tuple[Int[Tensor, "B K"], Tensor]:
        """Take one step; return the rows and sentences that the cache must keep."""
        state = self.state
        by_sentence = self._constrain(log_probs.unflatten(0, (self.num_sentences, -1)))
        num_rows = by_sentence.shape[1]
        step = self._choose(by_sentence.expand(-1, self.options.beam_size, -1))
        if step.finished.is_cuda or step.finished.any():  # asking a GPU takes longer
            self._finish(step)
        self._grow(step)
        done = self._done()
        rows = torch.arange(self.num_sentences, device=done.device)[:, None] * num_rows
        rows = rows + step.live.parents % num_rows
        self.length += 1
        if not done.any():
            return rows, torch.arange(len(rows), device=rows.device)
        self._collect(done)
        kept = (~done).nonzero()[:, 0]
        self.state = {name: tensor.index_select(0, kept) for name, tensor in state.items()}
        return rows[kept], kept

    def _constrain(self, log_probs: Float[Tensor, "B K V"]) -> Float[Tensor, "B K V"]:
        """Rule out special tokens, too early ends, and all but the end at the longest length."""
        for token in NEVER:
            log_probs[:, :, token] = -torch.inf
        at_limit = (self.state["limit"] == self.length)[:, None]
        if self.length < self.options.min_length:
            log_probs[:, :, EOS].masked_fill_(~at_limit, -torch.inf)
        if self.length >= self.shortest_limit and (at_limit.is_cuda or at_limit.any()):
            log_probs[:, :, :EOS].masked_fill_(at_limit[..., None], -torch.inf)
            log_probs[:, :, EOS + 1 :].masked_fill_(at_limit[..., None], -torch.inf)
        return log_probs

    def _choose(self, log_probs: Float[Tensor, "B K V"]) -> Step:
        options, scores = self.options, self.state["scores"]
        if options.sampling:
            uniforms = self.state["uniforms"][:, :, self.length]
            candidates = sampled_candidates(
                log_probs, scores, uniforms, options.temperature, options.top_k, options.top_p
            )
        else:
            candidates = best_candidates(log_probs, scores)
        return divide(candidates, EOS, options.beam_size, self.state["num_finished"])

    def _finish(self, step: Step) -> None:
        """Merge the hypotheses that end here into the n best of their sentences."""
        state, n_best = self.state, self.options.n_best
        tokens, log_probs = self._extended(step.ended.parents, EOS, step.ended.log_probs)
        scores = step.ended.scores / (self.length + 1) ** self.options.length_penalty
        ended = {
            "best_tokens": tokens,
            "best_log_probs": log_probs,
            "best_scores": scores.masked_fill(~step.finished, -torch.inf),
            "best_lengths": torch.full_like(step.ended.tokens, self.length + 1),
        }
        merged = {name: torch.cat([state[name], new], 1) for name, new in ended.items()}
        # A stable sort: among equals the earlier one stays.
        order = merged["best_scores"].sort(dim=1, descending=True, stable=True).indices[:, :n_best]
        state.update({name: _take(tensor, order) for name, tensor in merged.items()})
        state["num_finished"] += step.finished.sum(1)

    def _grow(self, step: Step) -> None:
        live = step.live
        self.state["tokens"], self.state["log_probs"] = self._extended(
            live.parents, live.tokens, live.log_probs
        )
        self.state["scores"] = live.scores

    def _extended(
        self, parents: Int[Tensor, "B K"], tokens: Tensor | int, log_probs: Float[Tensor, "B K"]
    ) -> tuple[Int[Tensor, "B K L"], Float[Tensor, "B K L"]]:
        """The parents' tokens and log-probabilities with one more of each."""
        all_tokens = _take(self.state["tokens"], parents)
        all_log_probs = _take(self.state["log_probs"], parents)
        all_tokens[:, :, self.length] = tokens
        all_log_probs[:, :, self.length] = log_probs
        return all_tokens, all_log_probs

    def _done(self) -> Bool[Tensor, " B"]:
        """Sentences whose n best can change no more (the module's docstring says why)."""
        state, options = self.state, self.options
        reachable = state["scores"].amax(1) / (state["limit"] + 1) ** options.length_penalty
        settled = reachable <= state["best_scores"][:, -1]
        full = state["num_finished"] >= options.beam_size
        return settled | full | (state["limit"] == self.length)

    def _collect(self, done: Bool[Tensor, " B"]) -> None:
        """Move the n best of the sentences that are done to `results`."""
        names = ("sentence", "best_scores", "best_lengths", "best_tokens", "best_log_probs")
        columns = [self.state[name][done].tolist() for name in names]
        for sentence, scores, lengths, tokens, log_probs in zip(*columns, strict=True):
            ranked = zip(scores, lengths, tokens, log_probs, strict=True)
            self.results[sentence] = [
                Hypothesis(tokens[: length - 1], score, sum(log_probs[:length]), log_probs[:length])
                for score, length, tokens, log_probs in ranked
                if score > -torch.inf
            ] or [Hypothesis([], -torch.inf, -torch.inf, [])]


def _take(tensor: Tensor, columns: Int[Tensor, "B K"]) -> Tensor:
    """tensor[b, columns[b, k], ...] for each sentence b and place k."""
    places = columns.reshape(*columns.shape, *[1] * (tensor.ndim - 2))
    return tensor.gather(1, places.expand(-1, -1, *tensor.shape[2:]))


def _uniforms(
    limits: Int[Tensor, " B"], options: DecodeOptions, sentence_ids: Sequence[int]
) -> Float[Tensor, "B K L"]:
    """One number in [0, 1) for each token that may be drawn, from the sentence's own stream."""
    width = int(limits.max()) + 1 if len(limits) else 1
    uniforms = np.empty((len(limits), width, options.beam_size))
    for row, sentence_id in enumerate(sentence_ids):
        uniforms[row] = np.random.default_rng((options.seed, sentence_id)).random(
            uniforms.shape[1:]
        )
    return torch.from_numpy(uniforms).transpose(1, 2).to(limits.device)
