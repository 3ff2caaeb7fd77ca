"""A parallel text, line n of one side translating line n of the other: opened, measured, written.

Lines may be marks of documents (reluformer.data.documents), the same on both sides. They are copied
as they are and belong to no count of pairs or tokens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path

import numpy as np
import steps
from document_report import describe_documents
from marks import Marks, document_sizes, sum_by_document, tokenise_documents, with_marks
from output import Report
from steps import Fate, Fates, Lengths

from reluformer.console import track
from reluformer.data.documents import parse_mark
from reluformer.data.moses import tokenise_lines
from reluformer.data.text import read_lines
from reluformer.errors import UserError


@dataclass(frozen=True)
class Side:
    """One language of a parallel text: the lines as they came, and as the model will read them."""

    lang: str
    raw: Path
    tokens: Path | None  # Moses tokens in true case, where the text is tokenised
    lowercase: bool
    marked: bool = False  # whether some lines are marks of documents

    @property
    def keeps_raw(self) -> bool:
        """Whether the model's text differs from the untouched text that scoring needs."""
        return self.tokens is not None or self.lowercase

    def lines(self) -> Iterator[str]:
        for line in self._read(self.tokens or self.raw):
            yield line.lower() if self.lowercase and not self._is_mark(line) else line

    def raw_lines(self) -> Iterator[str]:
        return self._read(self.raw)

    def write(self, folder: Path, split: str, chosen: np.ndarray, with_raw: bool) -> None:
        """Write the lines of a mask as <split>.<lang>, and untouched as <split>.raw.<lang>."""
        steps.write_lines(folder / f"{split}.{self.lang}", compress(self.lines(), chosen))
        if with_raw and self.keeps_raw:
            raw_lines = compress(self.raw_lines(), chosen)
            steps.write_lines(folder / f"{split}.raw.{self.lang}", raw_lines)

    def _read(self, path: Path) -> Iterator[str]:
        for line in read_lines(path):
            yield line.strip() if self._is_mark(line) else line

    def _is_mark(self, line: str) -> bool:
        return self.marked and parse_mark(line) is not None


Sides = tuple[Side, Side]


@dataclass(frozen=True)
class Form:
    """How a text is prepared for the model."""

    moses: bool
    lowercase: bool
    workers: int | None


@dataclass(frozen=True)
class Text:
    """Both sides of a parallel text, and what was measured of them, line by line."""

    sides: Sides
    marks: Marks
    lengths: Lengths  # tokens; words, where the text isn't tokenised
    digests: np.ndarray  # (lines,) uint64, equal for equal pairs

    @property
    def pairs(self) -> int:
        return int((~self.marks).sum())

    @property
    def has_documents(self) -> bool:
        return bool(self.marks.any())

    @cached_property
    def words(self) -> Lengths:
        """Words of the untouched lines, whatever was done to the others; 0 for marks."""
        if all(side.tokens is None for side in self.sides):
            return self.lengths
        words = np.zeros_like(self.lengths)
        for side, counts in zip(self.sides, words, strict=True):
            lines = track(side.raw_lines(), f"counting words {side.lang}", len(self.marks))
            counts[:] = np.fromiter((len(line.split()) for line in lines), dtype=np.int32)
        words[:, self.marks] = 0
        return words

    def judge(self, max_length: int | None, max_ratio: float | None) -> Fates:
        """The pairs' fates by their lengths, `steps.judge_lengths`."""
        fates = steps.judge_lengths(self.lengths, max_length, max_ratio)
        fates[self.marks] = Fate.MARK
        return fates

    def write_split(self, folder: Path, split: str, chosen: np.ndarray) -> Report:
        """Write a split's pairs and count them; all splits but train are also kept untouched.

        A document of which pairs are chosen keeps its mark. Raises UserError for a split without
        pairs, as training or scoring on it would fail later.
        """
        chosen = chosen & ~self.marks
        if not chosen.any():
            remedy = "give more text, or less strict filters and smaller splits"
            raise UserError(f"of {self.pairs:,} pairs none is left for {split}; {remedy}")
        for side in self.sides:
            side.write(folder, split, with_marks(chosen, self.marks), with_raw=split != "train")
        tokens = {
            side.lang: int(length[chosen].sum())
            for side, length in zip(self.sides, self.lengths, strict=True)
        }
        counts = {
            "pairs": int(chosen.sum()),
            "tokens": tokens,
            "with_an_empty_side": int((self.lengths[:, chosen].min(axis=0) == 0).sum()),
        }
        return counts | self._count_documents(chosen)

    def _count_documents(self, chosen: np.ndarray) -> Report:
        if not self.has_documents:
            return {}
        sizes = document_sizes(chosen, self.marks)
        words = {
            side.lang: sum_by_document(words * chosen, self.marks)[sizes > 0]
            for side, words in zip(self.sides, self.words, strict=True)
        }
        lengths = describe_documents(sizes[sizes > 0], words)
        return {"documents": int((sizes > 0).sum()), "document_lengths": lengths}


def open_text(files: Mapping[str, Path], form: Form, work: Path, name: str, marks: Marks) -> Text:
    """The text of two files (language -> file), tokenised in work/<name>.<lang> if asked for."""
    marked = bool(marks.any())

    def side(lang: str, raw: Path) -> Side:
        tokens = work / f"{name}.{lang}" if form.moses else None
        if tokens is not None:
            tokenise_file(raw, tokens, lang, form.workers, len(marks), marked)
        return Side(lang, raw, tokens, form.lowercase, marked)

    source, target = (side(lang, path) for lang, path in files.items())
    return measure((source, target), marks)


def tokenise_file(
    raw: Path, tokens: Path, lang: str, workers: int | None, total: int, marked: bool = False
) -> Path:
    """Moses tokens of each line, in a file that is kept if an interrupted run has finished it."""
    if not tokens.exists():
        tokens.parent.mkdir(parents=True, exist_ok=True)
        if marked:
            lines = tokenise_documents(raw, lang, workers)
        else:
            lines = tokenise_lines(read_lines(raw), lang, workers)
        steps.write_lines(tokens, track(lines, f"tokenising {raw.name}", total))
    return tokens


def measure(sides: Sides, marks: Marks) -> Text:
    """Tokens (words, where the text isn't tokenised) of both sides, and a digest of each pair."""
    lengths = np.zeros((2, len(marks)), dtype=np.int32)
    digests = np.zeros(len(marks), dtype=np.uint64)
    pairs = zip(sides[0].lines(), sides[1].lines(), strict=True)
    for number, (source, target) in enumerate(track(pairs, "measuring", len(marks))):
        lengths[:, number] = len(source.split()), len(target.split())
        digests[number] = steps.pair_digest(source, target)
    lengths[:, marks] = 0
    return Text(sides, marks, lengths, digests)


def take_splits(
    opened: Callable[[str], Text],
    judged: Callable[[Text], Fates],
    held_out: Sequence[str],
    folder: Path,
) -> Report:
    """Clean the training pairs; take the held-out splits as they are, and count those in train."""
    text = opened("train")
    fates = judged(text)
    chosen = fates == Fate.TRAIN
    seen = text.digests[chosen]
    counts: Report = {"read": text.pairs, "dropped": steps.count_dropped(fates)}
    counts["train"] = text.write_split(folder, "train", chosen)
    for split in held_out:
        text = opened(split)
        counts[split] = text.write_split(folder, split, ~text.marks)
        leaked = np.isin(text.digests[~text.marks], seen)
        counts[split]["pairs_also_in_train"] = int(leaked.sum())
    return counts
