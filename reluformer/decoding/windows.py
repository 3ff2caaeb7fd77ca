"""Translations of windows, taken apart into sentences and put together at their seams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from reluformer.data.windows import Window
from reluformer.decoding.hypothesis import Hypothesis

Item = TypeVar("Item")
Sentences = list[list[Hypothesis]]  # a ranking, best first, for each sentence of a window


@dataclass
class WindowCounts:
    """What happened to the windows of several sentences, and to the seams of overlapping ones.

    A window is repaired when its translation does not have one non-empty sentence for each of the
    source, or is as long as any in training, and maybe unfinished: it is translated again in two
    halves. At a seam the two windows agree if they translate
    one of the sentences that they share alike. `long` are the sentences with more pieces than the
    model was trained on.
    """

    windows: int = 0
    repaired: int = 0
    seams: int = 0
    agreed: int = 0
    long: int = 0


def join(sentences: Sequence[Sequence[int]], separator: int | None) -> list[int]:
    """The tokens of a window."""
    tokens = list(sentences[0])
    for sentence in sentences[1:]:
        assert separator is not None
        tokens += [separator, *sentence]
    return tokens


def halve(window: list[Item]) -> tuple[list[Item], list[Item]]:
    """The window's first half, and the rest."""
    half = len(window) // 2
    return window[:half], window[half:]


def in_sentences(
    ranking: list[Hypothesis], count: int, separator: int | None, length_penalty: float
) -> Sentences | None:
    """A ranking for each of the window's `count` sentences, or None if its best has not as many.

    A single sentence keeps the whole ranking; among several, each has the best window's.
    """
    if count == 1:
        return [[without(hypothesis, separator) for hypothesis in ranking]]
    apart = take_apart(ranking[0], separator, length_penalty)
    filled = len(apart) == count and all(hypothesis.tokens for hypothesis in apart)
    return [[hypothesis] for hypothesis in apart] if filled else None


def take_apart(
    hypothesis: Hypothesis, separator: int | None, length_penalty: float
) -> list[Hypothesis]:
    """What stands between the separators, with the scores of the separator or EOS behind it."""
    tokens, scores = hypothesis.tokens, hypothesis.token_scores
    sentences, begin = [], 0
    for end in [i for i, token in enumerate(tokens) if token == separator] + [len(tokens)]:
        own = scores[begin : end + 1]
        log_prob = sum(own)
        score = log_prob / len(own) ** length_penalty if own else hypothesis.score
        sentences.append(Hypothesis(tokens[begin:end], score, log_prob, own))
        begin = end + 1
    return sentences


def without(hypothesis: Hypothesis, separator: int | None) -> Hypothesis:
    """The hypothesis of one sentence without separators, which still count in its score."""
    if separator not in hypothesis.tokens:
        return hypothesis
    kept = [i for i, token in enumerate(hypothesis.tokens) if token != separator]
    tokens = [hypothesis.tokens[i] for i in kept]
    scores = [hypothesis.token_scores[i] for i in [*kept, len(hypothesis.tokens)]]
    return Hypothesis(tokens, hypothesis.score, hypothesis.log_prob, scores)


def merge(
    windows: Sequence[Window],
    translations: Sequence[Sentences],
    counts: WindowCounts,
) -> Sentences:
    """One ranking for each sentence, of windows that cover all of them, in order.

    Sentences in two windows come from the earlier one up to the seam and then from the later one.
    """
    merged: Sentences = []
    for window, own in zip(windows, translations, strict=True):
        shared = len(merged) - window.begin
        kept, agreed = seam(merged[window.begin :], own[:shared])
        counts.seams += shared > 0
        counts.agreed += agreed
        merged[window.begin + kept :] = own[kept:]
    return merged


def seam(before: Sentences, after: Sentences) -> tuple[int, bool]:
    """How many of the shared sentences the earlier window keeps, and whether the two agree there.

    Next to the middle, where both have context on either side, among the sentences that both
    translate alike; at the middle if there are none.
    """
    pairs = enumerate(zip(before, after, strict=True))
    alike = [i for i, (old, new) in pairs if old[0].tokens == new[0].tokens]
    middle = len(before) / 2
    if alike:
        return min(alike, key=lambda i: abs(i + 0.5 - middle)), True
    return len(before) // 2, False
