"""What the recipes share: judging pairs, splitting them, and saying what became of them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from enum import IntEnum
from pathlib import Path
from random import Random

import numpy as np
from output import Report

from reluformer.console import console
from reluformer.errors import UserError

Lengths = np.ndarray  # (2, lines) int32, tokens of source and target
Fates = np.ndarray  # (lines,) uint8, one `Fate` per pair


class Fate(IntEnum):
    """What becomes of a pair; the names are the keys of the report."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    EMPTY = 3
    TOO_LONG = 4
    BAD_RATIO = 5
    DUPLICATE = 6
    LEAKED = 7
    UNUSED = 8  # in a split's share of the text, but beyond the size that was asked for
    MARK = 9  # no pair at all, but the mark of a document


DROPPED = (Fate.EMPTY, Fate.TOO_LONG, Fate.BAD_RATIO, Fate.DUPLICATE, Fate.LEAKED)


# ---- Judging and splitting: pure functions of lengths and digests ----


def judge_lengths(lengths: Lengths, max_length: int | None, max_ratio: float | None) -> Fates:
    """Moses' clean-corpus-n: 1 to `max_length` tokens a side, neither `max_ratio` times longer."""
    shorter, longer = lengths.min(axis=0), lengths.max(axis=0)
    fates = np.full(lengths.shape[1], Fate.TRAIN, dtype=np.uint8)
    if max_ratio is not None:
        fates[longer > max_ratio * shorter] = Fate.BAD_RATIO
    if max_length is not None:
        fates[longer > max_length] = Fate.TOO_LONG
    fates[shorter == 0] = Fate.EMPTY
    return fates


def mark_duplicates(fates: Fates, digests: np.ndarray) -> None:
    """Of equal pairs still kept, all but the first become DUPLICATE."""
    kept = np.flatnonzero(fates == Fate.TRAIN)
    _, first = np.unique(digests[kept], return_index=True)
    repeated = np.ones(len(kept), dtype=bool)
    repeated[first] = False
    fates[kept[repeated]] = Fate.DUPLICATE


def split_every_nth(fates: Fates, n: int, turns: tuple[Fate, ...]) -> None:
    """Of the kept pairs numbers n, 2n, 3n, ... (from 1) go to the splits in `turns`, in turn."""
    nth = np.flatnonzero(fates == Fate.TRAIN)[n - 1 :: n]
    for turn, fate in enumerate(turns):
        fates[nth[turn :: len(turns)]] = fate


def split_randomly(fates: Fates, sizes: Mapping[Fate, int], seed: int) -> None:
    """Draw so many of the kept pairs for each split, without replacement."""
    kept = np.flatnonzero(fates == Fate.TRAIN)
    if len(kept) <= sum(sizes.values()):
        wanted = " and ".join(f"`{fate.name.lower()}_size` {size}" for fate, size in sizes.items())
        raise UserError(f"{wanted} leave none of the {len(kept)} usable pairs to train on")
    drawn = iter(Random(seed).sample(range(len(kept)), sum(sizes.values())))
    for fate, size in sizes.items():
        for _ in range(size):
            fates[kept[next(drawn)]] = fate


def mark_leaked(fates: Fates, digests: np.ndarray, documents: bool) -> None:
    """Pairs equal to one of a later split become LEAKED: train gives way to valid, both to test.

    Of documents only train gives way, as those held out stay whole.
    """
    before_test = (Fate.TRAIN,) if documents else (Fate.TRAIN, Fate.VALID)
    for later, earlier in ((Fate.TEST, before_test), (Fate.VALID, (Fate.TRAIN,))):
        held_out = np.unique(digests[fates == later])
        fates[np.isin(fates, earlier) & np.isin(digests, held_out)] = Fate.LEAKED


def count_dropped(fates: Fates) -> dict[str, int]:
    counts = np.bincount(fates, minlength=len(Fate))
    return {fate.name.lower(): int(counts[fate]) for fate in DROPPED}


# ---- Lines ----


def pair_digest(source: str, target: str) -> int:
    """64 bits of a pair: two different pairs of a million are taken as equal with odds of 3e-8."""
    joined = f"{source}\n{target}".encode()
    return int.from_bytes(hashlib.blake2b(joined, digest_size=8).digest(), "little")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file that appears under its name only when it is complete."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
    partial.replace(path)


def write_parallel(paths: Sequence[Path], pairs: Iterable[tuple[str, str]]) -> None:
    """Write two aligned files at once; they appear under their names only when complete."""
    partials = [path.with_name(path.name + ".partial") for path in paths]
    with ExitStack() as stack:
        files = [
            stack.enter_context(partial.open("w", encoding="utf-8", newline="\n"))
            for partial in partials
        ]
        for pair in pairs:
            for file, line in zip(files, pair, strict=True):
                file.write(line + "\n")
    for partial, path in zip(partials, paths, strict=True):
        partial.replace(path)


def print_counts(counts: Report) -> None:
    """One line per split, and what was dropped from the training text and why."""
    for split, count in counts.items():
        if isinstance(count, dict) and "pairs" in count:
            tokens = ", ".join(f"{number:,} {lang}" for lang, number in count["tokens"].items())
            documents = f" in {count['documents']:,} documents" if "documents" in count else ""
            notes = "".join(
                f", {number:,} {key.replace('_', ' ')}"
                for key, number in count.items()
                if key not in ("pairs", "tokens", "documents", "document_lengths") and number
            )
            console.print(f"{split}: {count['pairs']:,} pairs{documents}, tokens {tokens}{notes}")
    reasons = [
        f"{number:,} {key.replace('_', ' ')}" for key, number in counts["dropped"].items() if number
    ]
    console.print(f"of {counts['read']:,} pairs read, dropped: {', '.join(reasons) or 'none'}")
