"""Which hypotheses go on, and which are finished: pure functions of one step's log-probabilities.

B sentences, K hypotheses of each, V tokens, C candidates. A score is the sum of a hypothesis's
log-probabilities so far; -inf marks a place in the beam that holds no hypothesis.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Candidates:
    """Hypotheses with one more token: where each comes from, the token, its log-probability."""

    parents: Int[Tensor, "B C"]  # index in the beam, 0 to K - 1
    tokens: Int[Tensor, "B C"]
    log_probs: Float[Tensor, "B C"]
    scores: Float[Tensor, "B C"]

    def first(self, count: int) -> "Candidates":
        """The first `count` of each sentence."""
        fields = (self.parents, self.tokens, self.log_probs, self.scores)
        return Candidates(*(field[:, :count] for field in fields))

    def take(self, columns: Int[Tensor, "B K"]) -> "Candidates":
        """These columns of each sentence, in this order."""
        fields = (self.parents, self.tokens, self.log_probs, self.scores)
        return Candidates(*(field.gather(1, columns) for field in fields))


@dataclass(frozen=True, eq=False)
class Step:
    """The first K candidates, of which `finished` says which end here, and the K that go on."""

    ended: Candidates
    finished: Bool[Tensor, "B K"]
    live: Candidates


def best_candidates(log_probs: Float[Tensor, "B K V"], scores: Float[Tensor, "B K"]) -> Candidates:
    """The 2K best continuations of each sentence, best first.

    2K, because up to K of them end the sentence: each hypothesis can end in one way only.

    The vocabulary is read once, in groups of types: the best C candidates are in the C groups whose
    best is best.
    """
    beam_size, vocab_size = log_probs.shape[1:]
    groups = log_probs.unflatten(2, (-1, group_size(vocab_size)))  # (B, K, groups, types)
    num_groups, size = groups.shape[2:]
    count = min(2 * beam_size, beam_size * num_groups)
    tops = (groups.amax(3) + scores[:, :, None]).flatten(1).topk(count).indices
    parents = tops // num_groups
    chosen = groups.flatten(1, 2).gather(1, tops[:, :, None].expand(-1, -1, size))
    sums = (chosen + scores.gather(1, parents)[:, :, None]).flatten(1)
    best = sums.topk(min(2 * beam_size, sums.shape[1]))
    group = best.indices // size
    return Candidates(
        parents=parents.gather(1, group),
        tokens=(tops % num_groups).gather(1, group) * size + best.indices % size,
        log_probs=chosen.flatten(1).gather(1, best.indices),
        scores=best.values,
    )


@cache
def group_size(vocab_size: int) -> int:
    """The divisor that is nearest to the root, as many groups as types in each being cheapest."""
    divisors = (size for size in range(1, vocab_size + 1) if vocab_size % size == 0)
    return min(divisors, key=lambda size: abs(math.log(size**2 / vocab_size)))


def sampled_candidates(
    log_probs: Float[Tensor, "B K V"],
    scores: Float[Tensor, "B K"],
    uniforms: Float[Tensor, "B K"],
    temperature: float,
    top_k: int,
    top_p: float,
) -> Candidates:
    """One continuation of each hypothesis, drawn by inverting the distribution at `uniforms`.

    The distribution is softmax(log_probs / temperature) over the `top_k` likeliest tokens (0: all),
    cut to the fewest likeliest of those that hold `top_p` of the mass (nucleus sampling: Holtzman
    et al. 2020). The log-probabilities returned are the model's own, at temperature 1 and uncut.
    """
    vocab_size = log_probs.shape[2]
    likeliest = log_probs.topk(min(top_k or vocab_size, vocab_size))
    shares = (likeliest.values / temperature).softmax(-1, dtype=torch.float64)
    before = shares.cumsum(-1) - shares
    shares = shares.masked_fill(before >= top_p, 0)
    mass = shares.cumsum(-1)
    drawn = torch.searchsorted(mass, (uniforms * mass[:, :, -1])[:, :, None], right=True)
    # Rounding may lead past the last token that has any mass.
    drawn = drawn.minimum((shares > 0).sum(-1, keepdim=True) - 1).clamp(min=0)
    chosen = likeliest.values.gather(2, drawn)[:, :, 0]
    return Candidates(
        parents=torch.arange(scores.shape[1], device=scores.device).expand_as(scores),
        tokens=likeliest.indices.gather(2, drawn)[:, :, 0],
        log_probs=chosen,
        scores=scores + chosen,
    )


def divide(
    candidates: Candidates, end: int, beam_size: int, num_finished: Int[Tensor, " B"]
) -> Step:
    """Part the candidates that end with token `end` from those that go on.

    A hypothesis finishes where its end of sentence is among the first K candidates, as long as
    fewer than K of its sentence's have finished before (`num_finished`).
    """
    is_end = candidates.tokens == end
    ended = candidates.first(beam_size)
    finished = is_end[:, :beam_size] & (ended.scores > -torch.inf)
    finished &= num_finished[:, None] + finished.cumsum(1) <= beam_size
    going_on = is_end.int().argsort(dim=1, stable=True)[:, :beam_size]
    live = candidates.take(going_on)
    live.scores.masked_fill_(live.tokens == end, -torch.inf)
    return Step(ended, finished, live)
