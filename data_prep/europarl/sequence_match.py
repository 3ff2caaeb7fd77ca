"""Finding one sequence within another, where both have gaps and many elements repeat.

Elements that occur once in both sequences are anchors; of these, the longest run that stands in the
same order in both counts, so that a stray one misleads nobody. Between anchors the same is done
again, after neighbours of what was found already have been matched. This is the patience diff of
version control systems (Bram Cohen), on numbers instead of lines.
"""

from bisect import bisect_right

import numpy as np

Gap = tuple[int, int, int, int]  # first and last + 1 in one sequence, then in the other


def match_sequences(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """For each of our elements the index of its equal in the other sequence, -1 where none is.

    The indices increase. Takes time and memory in proportion to the sequences, but for sorting.
    """
    found = np.full(len(ours), -1, dtype=np.int64)
    gaps: list[Gap] = [(0, len(ours), 0, len(theirs))]
    while gaps:
        first, last, low, high = _match_ends(ours, theirs, found, gaps.pop())
        if first == last or low == high:
            continue
        mine, others = unique_matches(ours[first:last], theirs[low:high])
        in_order = longest_run(others)
        mine, others = mine[in_order] + first, others[in_order] + low
        found[mine] = others
        if len(mine):
            gaps += _between(mine, others, (first, last, low, high))
    return found


def unique_matches(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in both sequences, in our order, of what occurs once in each."""
    (our_values, our_places), (their_values, their_places) = _unique(ours), _unique(theirs)
    _, mine, others = np.intersect1d(
        our_values, their_values, assume_unique=True, return_indices=True
    )
    order = np.argsort(our_places[mine])
    return our_places[mine][order], their_places[others][order]


def longest_run(numbers: np.ndarray) -> np.ndarray:
    """Indices of the longest subsequence of numbers that never decreases (the first, of equals)."""
    smallest: list[int] = []  # the last number of the best run of each length
    ends: list[int] = []  # and its index
    before = np.full(len(numbers), -1, dtype=np.int64)
    for index, number in enumerate(numbers.tolist()):
        length = bisect_right(smallest, number)
        if length:
            before[index] = ends[length - 1]
        smallest[length : length + 1] = [number]
        ends[length : length + 1] = [index]
    run = np.zeros(len(ends), dtype=np.int64)
    index = ends[-1] if ends else -1
    for place in range(len(ends) - 1, -1, -1):
        run[place] = index
        index = int(before[index])
    return run


def _unique(sequence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, positions, counts = np.unique(sequence, return_index=True, return_counts=True)
    return values[counts == 1], positions[counts == 1]


def _match_ends(ours: np.ndarray, theirs: np.ndarray, found: np.ndarray, gap: Gap) -> Gap:
    """Match what a gap begins and ends with, as it is next to what was matched; return the rest."""
    first, last, low, high = gap
    while first < last and low < high and ours[first] == theirs[low]:
        found[first] = low
        first, low = first + 1, low + 1
    while first < last and low < high and ours[last - 1] == theirs[high - 1]:
        last, high = last - 1, high - 1
        found[last] = high
    return first, last, low, high


def _between(mine: np.ndarray, others: np.ndarray, gap: Gap) -> list[Gap]:
    """The gaps before, between and behind anchors, but for those that lack elements."""
    first, last, low, high = gap
    starts = np.concatenate([[first], mine + 1]), np.concatenate([[low], others + 1])
    ends = np.concatenate([mine, [last]]), np.concatenate([others, [high]])
    wanted = np.flatnonzero((starts[0] < ends[0]) & (starts[1] < ends[1]))
    bounds = np.stack([starts[0], ends[0], starts[1], ends[1]], axis=1)[wanted]
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in bounds.tolist()]
