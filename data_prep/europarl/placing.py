"""Placing pairs of sentences in the documents of source texts, by fingerprints of their pieces.

Pairs and source texts are in the same order within a file, but either may lack parts of the other,
short sentences recur, and the order of the files is not told.
"""

from dataclasses import dataclass

import numpy as np

from .sequence_match import longest_run, match_sequences, unique_matches

UNKNOWN = -1


@dataclass(frozen=True)
class Pieces:
    """Fingerprints of a text's pieces in order, and what each is from (a document or a pair)."""

    prints: np.ndarray  # (pieces,) uint64
    owners: np.ndarray  # (pieces,) int64


@dataclass(frozen=True)
class Source:
    """One language's source texts."""

    pieces: Pieces  # owners: numbers of documents
    files: np.ndarray  # (pieces,) int64, the file of each


def place(pairs: Pieces, source: Source, total: int) -> np.ndarray:
    """The document of each of `total` pairs by one language; UNKNOWN where nothing is found."""
    order = order_of_files(pairs, source)
    prints, owners = source.pieces.prints[order], source.pieces.owners[order]
    matched = match_sequences(pairs.prints, prints)
    hits = matched >= 0
    return _common(owners[matched[hits]], pairs.owners[hits], total)


def order_of_files(pairs: Pieces, source: Source) -> np.ndarray:
    """The source's pieces, files in the order in which the pairs go through them.

    That order is not told; files are placed by where, on average, what occurs in them alone is.
    """
    mine, others = unique_matches(pairs.prints, source.pieces.prints)
    files = int(source.files.max(initial=-1)) + 1
    middles = medians(mine, source.files[others], files)
    return np.argsort(middles[source.files], kind="stable")


def medians(values: np.ndarray, groups: np.ndarray, number_of_groups: int) -> np.ndarray:
    """The middle one of each group's values, the lower of two; infinity for an empty group."""
    order = np.lexsort((values, groups))
    sizes = np.bincount(groups, minlength=number_of_groups)
    starts = np.cumsum(sizes) - sizes
    middles = np.full(number_of_groups, np.inf)
    filled = sizes > 0
    middles[filled] = values[order][(starts + (sizes - 1) // 2)[filled]]
    return middles


def _common(documents: np.ndarray, pairs: np.ndarray, total: int) -> np.ndarray:
    """The document of each pair whose found pieces are all of one."""
    least = np.full(total, np.iinfo(np.int64).max)
    most = np.full(total, UNKNOWN)
    np.minimum.at(least, pairs, documents)
    np.maximum.at(most, pairs, documents)
    return np.where(least == most, most, UNKNOWN)


def agree(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The documents by both sides, which may know less than the other but not otherwise.

    Every document becomes one uninterrupted run of pairs; pairs that neither side finds are of the
    document of those before and behind, if that is one.
    """
    known = np.where(one == UNKNOWN, other, one)
    known[contradict(one, other)] = UNKNOWN
    return fill_between(keep_in_order(known))


def contradict(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one != UNKNOWN) & (other != UNKNOWN) & (one != other)


def keep_in_order(documents: np.ndarray) -> np.ndarray:
    """The documents without those that interrupt others."""
    known = np.flatnonzero(documents != UNKNOWN)
    number_of_documents = int(documents.max(initial=-1)) + 1
    middles = medians(known, documents[known], number_of_documents)
    kept = known[longest_run(middles[documents[known]])]
    in_order = np.full_like(documents, UNKNOWN)
    in_order[kept] = documents[kept]
    return in_order


def fill_between(documents: np.ndarray) -> np.ndarray:
    """Unknown documents between two pairs of the same one are that one too."""
    known = np.flatnonzero(documents != UNKNOWN)
    behind = np.searchsorted(known, np.arange(len(documents)))
    inside = (behind > 0) & (behind < len(known))
    before, after = known[behind[inside] - 1], known[behind[inside]]
    filled = documents.copy()
    filled[inside] = np.where(
        documents[before] == documents[after], documents[before], documents[inside]
    )
    return filled
