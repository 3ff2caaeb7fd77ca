"""Documents as windows: neighbouring sentences packed into sequences of bounded length.

A window is `sentence <sep> sentence <sep> ... sentence` on either side, as many sentences as fit,
so that its translation can be taken apart again. Source: Bao et al. 2021, section 4.1 (greedy
packing). Differs from it in: a symbol of its own between sentences, so that EOS ends a window.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from reluformer.checks import check_not_negative, check_positive
from reluformer.data.binary import Ids
from reluformer.data.corpus import Corpus, Sequences, Split
from reluformer.errors import UserError

# Of growing windows the first ones: two or three sentences.
SHORTEST_WINDOW = 32


@dataclass
class WindowOptions:
    """How sentences are put together; `length` null: each one for itself.

    The first `sentence_updates` of training are on single sentences all the same, and in the
    `growth_updates` after them windows grow to `length`, doubling from SHORTEST_WINDOW or above.
    """

    length: int | None = None
    join: bool = False
    sentence_updates: int = 0
    growth_updates: int = 0

    def __post_init__(self) -> None:
        if self.length is not None:
            check_positive("windows.length", self.length)
        for name in ("join", "sentence_updates", "growth_updates"):
            check_not_negative(f"windows.{name}", getattr(self, name))
            if getattr(self, name) and self.length is None:
                raise UserError(f"`windows.{name}` is for windows: give `windows.length` too")
        if self.growth_updates and not self.growing_lengths:
            raise UserError(
                f"`windows.growth_updates` is for a `windows.length` of {2 * SHORTEST_WINDOW} and "
                f"more, but that is {self.length}"
            )

    @property
    def growing_lengths(self) -> list[int]:
        """The lengths before the full one, each twice the one before."""
        lengths, length = [], (self.length or 0) // 2
        while length >= SHORTEST_WINDOW:
            lengths.append(length)
            length //= 2
        return lengths[::-1]

    def earlier(self) -> list[tuple["WindowOptions", int]]:
        """What is trained on before the windows of full length, and in how many updates."""
        stages = [(WindowOptions(), self.sentence_updates)] if self.sentence_updates else []
        if self.growth_updates:
            lengths = self.growing_lengths
            ends = [self.growth_updates * i // len(lengths) for i in range(len(lengths) + 1)]
            stages += [
                (WindowOptions(length, self.join), end - begin)
                for length, begin, end in zip(lengths, ends, ends[1:], strict=False)
            ]
        return stages


@dataclass(frozen=True)
class Window:
    """Sentences begin, begin + 1, ..., end - 1."""

    begin: int
    end: int


def cut_windows(
    sides: Sequence[npt.NDArray[np.integer]], borders: Sequence[int], length: int, overlap: int = 0
) -> list[Window]:
    """Windows of at most `length` positions on every side, none of them across a border.

    `sides` are the lengths of all sentences in tokens; a window takes them, a separator between
    two and an EOS. `borders` are where documents begin, and the end. A window begins with the last
    `overlap` sentences of the one before in its document, fewer if nothing new would fit. A
    sentence that is too long by itself is in no window with others, and has one of its own.
    """
    totals = [np.concatenate([[0], np.cumsum(side + 1)]).tolist() for side in sides]
    windows = []
    for first, last in pairwise(borders):
        begin, done = first, first  # `done`: the sentences before are in a window
        while done < last:
            fit = [bisect_right(total, total[begin] + length) - 1 for total in totals]
            end = min(*fit, last)
            if end <= done and begin < done:
                begin += 1
                continue
            end = max(end, done + 1)
            windows.append(Window(begin, end))
            done = end
            begin = max(done - overlap, begin + 1)
    return windows


class WindowedSequences:
    """Windows of one side of a split, as sequences."""

    def __init__(self, sentences: Sequences, windows: list[Window], separator: int) -> None:
        self.sentences = sentences
        self.separator = separator
        self._begins = np.array([window.begin for window in windows], dtype=np.int64)
        self._ends = np.array([window.end for window in windows], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._begins)

    @property
    def num_sentences(self) -> int:
        """Sentences in all windows together."""
        return int((self._ends - self._begins).sum())

    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of every window, separators included, without BOS and EOS."""
        totals = np.concatenate([[0], np.cumsum(self.sentences.lengths() + 1, dtype=np.int64)])
        return (totals[self._ends] - totals[self._begins] - 1).astype(np.int32)

    def take(self, ids: npt.NDArray[np.integer]) -> tuple[Ids, Ids]:
        """The windows `ids`, end to end, and the length of each in tokens."""
        begins, ends = self._begins[ids], self._ends[ids]
        counts = ends - begins
        behind = np.cumsum(counts)
        numbers = np.arange(behind[-1]) + np.repeat(ends - behind, counts)
        tokens, lengths = self.sentences.take(numbers)
        ends_of_sentences = np.cumsum(lengths)
        inside = np.delete(ends_of_sentences, behind - 1)  # a window's last one has no separator
        joined = np.insert(tokens, inside, self.separator)
        totals = np.add.reduceat(lengths, behind - counts) + counts - 1
        return joined, totals


def open_windows(corpus: Corpus, name: str, options: WindowOptions) -> Split:
    """A split as windows of its documents, or sentence by sentence where no length is given.

    Sentences that do not fit into a window are left out. Raises UserError if the corpus has no
    documents.
    """
    split, separator = corpus.split(name), corpus.target_vocabulary.separator
    if options.length is None:
        return split
    if split.documents is None or separator is None:
        raise UserError(
            "`windows.length` is for corpora of documents: preprocess text that has a line `<d>` "
            "before each document with `data.documents=true`"
        )
    sides = split.source.lengths(), split.target.lengths()
    borders = split.documents.borders(options.join).tolist()
    windows = [
        window
        for window in cut_windows(sides, borders, options.length)
        if window.end - window.begin > 1
        or max(side[window.begin] for side in sides) < options.length
    ]
    if not windows:
        raise UserError(
            f"no sentence of the {name} split fits `windows.length` {options.length}: raise it"
        )
    return replace(
        split,
        source=WindowedSequences(split.source, windows, separator),
        target=WindowedSequences(split.target, windows, separator),
        documents=None,
    )
