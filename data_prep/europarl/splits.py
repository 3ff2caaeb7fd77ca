"""Splits of a text of documents by their days, and what they have in common."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
import steps
from marks import Marks, document_numbers
from output import Report
from parallel_text import Text
from steps import Fate, Fates

from reluformer.console import track
from reluformer.data.documents import parse_mark
from reluformer.data.text import read_lines
from reluformer.errors import UserError

from .fingerprints import fingerprint

DAY = re.compile(r"\d\d(-\d\d(-\d\d)?)?")
LONG_SENTENCE = 6  # words, from which on it is unlikely to be said twice


@dataclass(frozen=True)
class Days:
    """The days of a held-out split, as 00-10-04 or the beginning of one."""

    beginnings: Sequence[str]
    most_documents: int | None = None  # from the first on, so that neighbours stay together

    def __contains__(self, day: str) -> bool:
        return day.startswith(tuple(self.beginnings))


HeldOut = Mapping[Fate, Days]


def check_days(held_out: HeldOut) -> None:
    """Raise UserError for what can be no beginning of a day, and days that are in two splits."""
    for fate, days in held_out.items():
        for beginning in days.beginnings:
            if not DAY.fullmatch(beginning):
                rule = "must be days or beginnings of them, such as 00-10"
                raise UserError(f"`{fate.name.lower()}_days` {rule}, but one is {beginning!r}")
        for other_fate, other in held_out.items():
            shared = [day for day in days.beginnings if day in other and fate != other_fate]
            if shared:
                raise UserError(f"`valid_days` and `test_days` share {shared[0]}")


def check_days_exist(held_out: HeldOut, days: Sequence[str]) -> None:
    """Raise UserError for a beginning that no day has, as its split would lack text unnoticed."""
    for fate, wanted in held_out.items():
        for beginning in wanted.beginnings:
            if not any(day.startswith(beginning) for day in days):
                setting = f"`{fate.name.lower()}_days`"
                there = f"there are days from {days[0]} to {days[-1]}"
                raise UserError(f"no day of the text begins with {beginning} of {setting}; {there}")


def read_days(path: Path, marks: Marks) -> list[str]:
    """The day of each document of a text, from its marks."""
    lines = compress(read_lines(path), marks)
    return [mark.session for mark in map(parse_mark, lines) if mark is not None]


def split_by_day(text: Text, fates: Fates, days: Sequence[str], held_out: HeldOut) -> None:
    """Give the held-out splits their days, whatever the pairs' lengths; the rest stays."""
    of_documents = np.full(len(days), Fate.TRAIN, dtype=np.uint8)
    for fate, wanted in held_out.items():
        numbers = np.flatnonzero([day in wanted for day in days])
        of_documents[numbers] = Fate.UNUSED
        of_documents[numbers[: wanted.most_documents]] = fate
    of_pairs = of_documents[document_numbers(text.marks)]
    taken = ~text.marks & (of_pairs != Fate.TRAIN)
    fates[taken] = of_pairs[taken]


def write_splits(text: Text, fates: Fates, folder: Path) -> Report:
    """Write train, valid and test, count them, and what valid and test share with train."""
    counts: Report = {"read": text.pairs, "dropped": steps.count_dropped(fates)}
    counts["dropped"]["unused"] = int((fates == Fate.UNUSED).sum())
    for fate in (Fate.TRAIN, Fate.VALID, Fate.TEST):
        split = fate.name.lower()
        counts[split] = text.write_split(folder, split, fates == fate)
    in_train = fates == Fate.TRAIN
    prints = sentence_prints(text)
    for fate in (Fate.VALID, Fate.TEST):
        chosen, count = fates == fate, counts[fate.name.lower()]
        count["pairs_also_in_train"] = _recurring(text.digests, chosen, in_train)
        for side, sentences in zip(text.sides, prints, strict=True):
            long = sentences != 0
            recurring = _recurring(sentences, chosen & long, in_train & long)
            count[f"long_sentences_{side.lang}_also_in_train"] = recurring
    return counts


def sentence_prints(text: Text) -> np.ndarray:
    """(2, lines) uint64 fingerprints of the long sentences of both sides, 0 for all others."""
    prints = np.zeros(text.lengths.shape, dtype=np.uint64)
    for side, words, row in zip(text.sides, text.words, prints, strict=True):
        lines = track(side.raw_lines(), f"comparing {side.lang}", len(row))
        for number, line in enumerate(lines):
            if words[number] >= LONG_SENTENCE:
                row[number] = fingerprint(line)
    return prints


def _recurring(values: np.ndarray, chosen: np.ndarray, known: np.ndarray) -> int:
    return int(np.isin(values[chosen], values[known]).sum())
