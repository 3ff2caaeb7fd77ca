"""Documents within a parallel text: which lines are their marks, and splits that keep them whole.

A text of single sentences has no marks; everything here then changes nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import tee
from pathlib import Path
from random import Random

import numpy as np
from steps import Fate, Fates

from reluformer.data.documents import MARK, paired_marks, parse_mark
from reluformer.data.moses import tokenise_lines
from reluformer.data.text import iterate_parallel, read_lines
from reluformer.errors import UserError

Marks = np.ndarray  # (lines,) bool: the lines that are no pairs, but marks of documents


def find_marks(source: Path, target: Path) -> Marks:
    """The marks of two aligned files: none, unless one of the files begins with one.

    Raises UserError for files of unequal or no lines, for text that isn't UTF-8, for marks that
    don't stand on the same lines of both sides, and for marks behind a first line that is none.
    """
    pairs = iterate_parallel(source, target)
    starts = [next(read_lines(path), "") for path in (source, target)]
    if any(map(parse_mark, starts)):
        marked = paired_marks(pairs, (str(source), str(target)))
        found = np.fromiter((mark is not None for mark, _ in marked), dtype=bool)
    else:
        found = np.zeros(count_unmarked(pairs, source), dtype=bool)
    if found.all():
        what = "only marks of documents" if found.any() else "no lines"
        raise UserError(f"{source} and {target} hold {what}; nothing to prepare")
    return found


def count_unmarked(pairs: Iterable[tuple[str, str]], source: Path) -> int:
    """How many pairs of lines there are; UserError at one that is the mark of a document."""
    count = 0
    for count, pair in enumerate(pairs, start=1):
        if all("<d" in line and parse_mark(line) for line in pair):
            raise UserError(
                f"line {count:,} of {source} is the mark of a document, `{MARK}`, but the text "
                "does not begin with one: marks stand before their documents, the first on line 1"
            )
    return count


def with_marks(chosen: np.ndarray, marks: Marks) -> np.ndarray:
    """The chosen pairs, and the marks of the documents that they are from."""
    lines = chosen & ~marks
    lines[marks] = document_sizes(chosen, marks) > 0
    return lines


def document_sizes(chosen: np.ndarray, marks: Marks) -> np.ndarray:
    """How many chosen pairs each document has."""
    return sum_by_document(chosen.astype(np.int64), marks)


def sum_by_document(counts: np.ndarray, marks: Marks) -> np.ndarray:
    """Sums of a count of each line, over each document's pairs."""
    pairs = ~marks
    # From 1, as the pairs of a text without marks are in no document.
    numbers = document_numbers(marks)[pairs] + 1
    sums = np.bincount(numbers, counts[pairs], minlength=int(marks.sum()) + 1)
    return sums[1:].astype(np.int64)


def document_numbers(marks: Marks) -> np.ndarray:
    """The document of each line, from 0; a mark is a line of the document that it opens."""
    return np.cumsum(marks) - 1


def split_documents(fates: Fates, marks: Marks, split: Callable[[Fates, np.ndarray], None]) -> None:
    """Split documents as `split` does pairs; it is given their fates and numbers of kept pairs."""
    kept = fates == Fate.TRAIN
    sizes = document_sizes(kept, marks)
    fates_of_documents = np.where(sizes > 0, Fate.TRAIN, Fate.EMPTY).astype(np.uint8)
    split(fates_of_documents, sizes)
    fates[kept] = fates_of_documents[document_numbers(marks)[kept]]


def draw_documents(fates: Fates, sizes: np.ndarray, wanted: Mapping[Fate, int], seed: int) -> None:
    """Draw documents for each split until it has the pairs that are wanted, or somewhat more."""
    drawn = [int(number) for number in np.flatnonzero(fates == Fate.TRAIN)]
    documents, pairs = len(drawn), int(sizes[drawn].sum())
    Random(seed).shuffle(drawn)
    for fate, size in wanted.items():
        held = 0
        while drawn and held < size:
            number = drawn.pop()
            fates[number] = fate
            held += sizes[number]
    if not drawn:
        told = " and ".join(f"`{fate.name.lower()}_size` {size}" for fate, size in wanted.items())
        usable = f"the {documents:,} usable documents ({pairs:,} pairs)"
        raise UserError(f"{told} leave none of {usable} to train on; documents are drawn whole")


def tokenise_documents(path: Path, lang: str, workers: int | None) -> Iterator[str]:
    """Moses tokens of each line of a file, but marks as they are."""
    lines, plain = tee(read_lines(path))
    for line, tokens in zip(lines, tokenise_lines(plain, lang, workers), strict=True):
        mark = parse_mark(line)
        yield tokens if mark is None else str(mark)
