"""Aligning sentences by their lengths alone.

Source: Gale and Church (1993), A program for aligning sentences in bilingual corpora, Computational
Linguistics 19(1), sections 3.2 to 3.4 and Table 5. Differs from it in: costs are exact logarithms
(the program rounds them to hundredths), and in long texts only alignments near the diagonal of
lengths are looked at. As in the program, the two directions of a kind each get the kind's whole
prior.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import erfc, inf, log, pi, sqrt

# Sentences of source and target that translate each other, and how often (Table 5).
PRIORS = {
    (1, 1): 0.89,
    (1, 0): 0.0099,
    (0, 1): 0.0099,
    (2, 1): 0.089,
    (1, 2): 0.089,
    (2, 2): 0.011,
}
VARIANCE = 6.8  # of the target's characters, for each character of the source
BAND = 50  # target sentences looked at on each side of where the lengths put a source sentence
FAR = 35.0  # standard deviations from which on erfc is too small for a float

Bead = tuple[slice, slice]  # sentences of the source and of the target that translate each other

_MOVES = tuple((source, target, -log(prior)) for (source, target), prior in PRIORS.items())


def length_cost(source: int, target: int) -> float:
    """-ln of the chance that so many characters translate so many, or numbers even less alike.

    The difference is normal, its variance that of the mean length; one target character is expected
    for each source character.
    """
    if source == target:
        return 0.0
    deviations = abs(target - source) / sqrt(VARIANCE * (source + target) / 2)
    if deviations < FAR:
        return -log(erfc(deviations / sqrt(2)))
    return deviations**2 / 2 + log(deviations * sqrt(pi / 2))  # erfc's own asymptote


def align(source: Sequence[int], target: Sequence[int]) -> list[Bead]:
    """The likeliest alignment of two texts, given each sentence's number of characters.

    The beads cover both texts in order, at most two sentences a side in each.
    """
    ends = _ends(source), _ends(target)
    back: list[dict[int, tuple[int, int]]] = []
    costs: list[dict[int, float]] = []
    for i in range(len(ends[0])):
        costs.append({})
        back.append({})
        for j in _near_the_diagonal(i, *ends):
            best, move = (0.0, (0, 0)) if i == j == 0 else (inf, (0, 0))
            for from_source, from_target, prior_cost in _MOVES:
                if from_source > i or from_target > j:
                    continue
                before = costs[i - from_source].get(j - from_target, inf) + prior_cost
                if before < best:
                    characters = (
                        ends[0][i] - ends[0][i - from_source],
                        ends[1][j] - ends[1][j - from_target],
                    )
                    cost = before + length_cost(*characters)
                    if cost < best:
                        best, move = cost, (from_source, from_target)
            costs[i][j] = best
            back[i][j] = move
        # Beads reach back two sentences, no further.
        if i >= 2:
            costs[i - 2] = {}
    return _trace(back, len(source), len(target))


def _ends(lengths: Sequence[int]) -> list[int]:
    return [0, *accumulate(lengths)]


def _near_the_diagonal(i: int, source: list[int], target: list[int]) -> range:
    """The target sentences that may end where source sentence i does.

    As it spans all that the lengths put beside sentence i + 1 too, neighbouring ranges overlap, and
    some alignment is always found.
    """
    total = max(source[-1], 1), max(target[-1], 1)
    here, behind = source[i], source[min(i + 1, len(source) - 1)]
    first = bisect_left(target, here * total[1] // total[0]) - BAND
    last = bisect_right(target, behind * total[1] // total[0] + 1) + BAND
    if i == len(source) - 1:
        last = len(target)
    return range(max(first, 0), min(last + 1, len(target)))


def _trace(back: list[dict[int, tuple[int, int]]], i: int, j: int) -> list[Bead]:
    beads: list[Bead] = []
    while i or j:
        sources, targets = back[i][j]
        beads.append((slice(i - sources, i), slice(j - targets, j)))
        i, j = i - sources, j - targets
    return beads[::-1]
