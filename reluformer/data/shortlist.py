"""Which target types a source type may become, learnt from a corpus: IBM model 1 in NumPy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reluformer.data.corpus import Sequences, Split
from reluformer.data.vocabulary import EOS, Vocabulary

MOST_LINKS = 50_000_000  # from source to target tokens: five seconds of one core, 0.7 GB
CANDIDATES = 200  # target types that the model is fitted to, for each source type
ITERATIONS = 5
MOST_TYPES = 100  # likeliest ones that are kept
COMMON_TYPES = 500  # frequent ones, which any sentence may need

Types = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Shortlist:
    """Target types by source type [source types, K], and [C] for any sentence.

    Of each source type first the one that is spelt alike, then the likeliest ones, best first.
    Where there are fewer, EOS is in their place.
    """

    best: Types
    common: Types


def learn_shortlist(train: Split, source: Vocabulary, target: Vocabulary) -> Shortlist:
    """The MOST_TYPES likeliest of each source type, and the COMMON_TYPES most frequent ones."""
    best, frequencies = likely_types(train, len(source), len(target))
    numbers = {piece: number for number, piece in enumerate(target.pieces(range(len(target))))}
    alike = [numbers.get(piece, EOS) for piece in source.pieces(range(len(source)))]
    common = np.full(COMMON_TYPES, EOS, dtype=np.int32)
    found = np.argsort(-frequencies, kind="stable")[: np.count_nonzero(frequencies)][:COMMON_TYPES]
    common[: len(found)] = found
    return Shortlist(np.column_stack([np.array(alike, dtype=np.int32), best]), common)


def likely_types(train: Split, source_size: int, target_size: int) -> tuple[Types, Indices]:
    """MOST_TYPES for each source type, best first, and how often each target type occurs.

    Candidates are those that stand beside a source type more often than by chance, by their
    log-likelihood ratio (Dunning 1993, in its Poisson form). How likely each is for the source type
    is then model 1 of Brown et al. 1993, section 4, by expectation maximisation. Differs from it
    in: no empty source word.
    """
    pairs = evenly_spread(train.source_lengths, train.target_lengths)
    source, target = _Sentences(train.source, pairs), _Sentences(train.target, pairs)
    frequencies = np.bincount(target.tokens, minlength=target_size)
    best = np.full((source_size, CANDIDATES), EOS, dtype=np.int32)
    links, places = [], []  # which candidate of which type each target token may be
    for source_type, holding in enumerate(source.by_type(source_size)):
        beside = target.places(holding)
        tokens = target.tokens[beside]
        candidates = most_remarkable(np.bincount(tokens, minlength=target_size), frequencies)
        candidates = candidates[:CANDIDATES]
        best[source_type, : len(candidates)] = candidates
        ranks = np.full(target_size, -1, dtype=np.int32)
        ranks[candidates] = np.arange(len(candidates))
        ranks = ranks[tokens]
        links.append(source_type * CANDIDATES + ranks[ranks >= 0])
        places.append(beside[ranks >= 0].astype(np.int32))
    likely = fit_model_1(np.concatenate(links), np.concatenate(places), best.shape)
    order = np.argsort(-likely, axis=1, kind="stable")[:, :MOST_TYPES]
    return np.take_along_axis(best, order, axis=1), frequencies


def evenly_spread(source: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> Indices:
    """Pairs of these lengths, from all of the corpus, that have MOST_LINKS together or fewer."""
    num_links = np.dot(source.astype(np.int64), target.astype(np.int64))
    count = min(len(source), int(len(source) * MOST_LINKS / max(num_links, 1)))
    return np.linspace(0, len(source) - 1, max(count, 1)).astype(np.int64)


def most_remarkable(counts: Indices, frequencies: Indices) -> Indices:
    """Types that occur more often than by their frequencies, most remarkable first."""
    expected = frequencies * (counts.sum() / max(frequencies.sum(), 1))
    types = np.flatnonzero(counts > expected)
    observed, by_chance = counts[types], expected[types]
    ratios = observed * np.log(observed / by_chance) - (observed - by_chance)
    return types[np.argsort(-ratios, kind="stable")]


def fit_model_1(
    links: npt.NDArray[np.integer], places: npt.NDArray[np.integer], shape: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """p(candidate | source type) [source types, candidates], from equal ones.

    The token at places[i] may come from the source type links[i] // candidates, as its candidate
    links[i] % candidates.
    """
    likely = np.ones(shape)
    for _ in range(ITERATIONS):
        share = likely.ravel()[links]
        share /= np.bincount(places, share)[places]
        counts = np.bincount(links, share, minlength=likely.size).reshape(shape)
        likely = counts / counts.sum(1, keepdims=True).clip(min=np.finfo(float).tiny)
    return likely


class _Sentences:
    """One side of some pairs: their tokens, end to end."""

    def __init__(self, sequences: Sequences, ids: Indices) -> None:
        self.tokens, self.lengths = sequences.take(ids)
        self._ends = np.cumsum(self.lengths)

    def by_type(self, size: int) -> list[Indices]:
        """For each type the sentences that hold it, as often as they do."""
        order = np.argsort(self.tokens, kind="stable")
        sentences = np.repeat(np.arange(len(self.lengths)), self.lengths)[order]
        counts = np.bincount(self.tokens, minlength=size)
        return np.split(sentences, np.cumsum(counts)[:-1])

    def places(self, sentences: Indices) -> Indices:
        """Where the tokens of these stand."""
        lengths = self.lengths[sentences]
        before = self._ends[sentences] - np.cumsum(lengths)
        return np.arange(lengths.sum()) + np.repeat(before, lengths)
