"""What the recipes share: judging pairs, splitting them, and writing the splits."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import compress
from pathlib import Path
from random import Random

import numpy as np
from output import Report

from reluformer.console import console, track
from reluformer.data.moses import tokenise_lines
from reluformer.data.text import iterate_parallel, read_lines
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


def mark_leaked(fates: Fates, digests: np.ndarray) -> None:
    """Pairs equal to one of a later split become LEAKED: train gives way to valid, both to test."""
    for later, earlier in ((Fate.TEST, (Fate.TRAIN, Fate.VALID)), (Fate.VALID, (Fate.TRAIN,))):
        held_out = np.unique(digests[fates == later])
        fates[np.isin(fates, earlier) & np.isin(digests, held_out)] = Fate.LEAKED


def count_dropped(fates: Fates) -> dict[str, int]:
    counts = np.bincount(fates, minlength=len(Fate))
    return {fate.name.lower(): int(counts[fate]) for fate in Fate if fate > Fate.TEST}


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


@dataclass(frozen=True)
class Side:
    """One language of a parallel text: the lines as they came, and as the model will read them."""

    lang: str
    raw: Path
    tokens: Path | None  # Moses tokens in true case, where the text is tokenised
    lowercase: bool

    @property
    def keeps_raw(self) -> bool:
        """Whether the model's text differs from the untouched text that scoring needs."""
        return self.tokens is not None or self.lowercase

    def lines(self) -> Iterator[str]:
        for line in read_lines(self.tokens or self.raw):
            yield line.lower() if self.lowercase else line

    def write(self, folder: Path, split: str, chosen: np.ndarray, with_raw: bool) -> None:
        """Write the lines of a mask as <split>.<lang>, and untouched as <split>.raw.<lang>."""
        write_lines(folder / f"{split}.{self.lang}", compress(self.lines(), chosen))
        if with_raw and self.keeps_raw:
            raw_lines = compress(read_lines(self.raw), chosen)
            write_lines(folder / f"{split}.raw.{self.lang}", raw_lines)


Sides = tuple[Side, Side]


def count_pairs(source: Path, target: Path) -> int:
    """Pairs of two aligned files; UserError for unequal or no lines, or text that isn't UTF-8."""
    total = sum(1 for _ in iterate_parallel(source, target))
    if total == 0:
        raise UserError(f"{source} and {target} hold no lines; nothing to prepare")
    return total


def tokenise_file(raw: Path, tokens: Path, lang: str, workers: int | None, total: int) -> Path:
    """Moses tokens of each line, in a file that is kept if an interrupted run has finished it."""
    if not tokens.exists():
        tokens.parent.mkdir(parents=True, exist_ok=True)
        lines = tokenise_lines(read_lines(raw), lang, workers)
        write_lines(tokens, track(lines, f"tokenising {raw.name}", total))
    return tokens


def measure(sides: Sides, total: int) -> tuple[Lengths, np.ndarray]:
    """Tokens (words, where the text isn't tokenised) of both sides, and a digest of each pair."""
    lengths = np.zeros((2, total), dtype=np.int32)
    digests = np.zeros(total, dtype=np.uint64)
    pairs = zip(sides[0].lines(), sides[1].lines(), strict=True)
    for number, (source, target) in enumerate(track(pairs, "measuring", total)):
        lengths[:, number] = len(source.split()), len(target.split())
        digests[number] = pair_digest(source, target)
    return lengths, digests


def write_split(
    sides: Sides, folder: Path, split: str, chosen: np.ndarray, lengths: Lengths
) -> Report:
    """Write a split's pairs and count them; all splits but train are also kept untouched.

    Raises UserError for a split without pairs, as training or scoring on it would fail later.
    """
    if not chosen.any():
        remedy = "give more text, or less strict filters and smaller splits"
        raise UserError(f"of {len(chosen):,} pairs none is left for {split}; {remedy}")
    for side in sides:
        side.write(folder, split, chosen, with_raw=split != "train")
    tokens = {
        side.lang: int(length[chosen].sum()) for side, length in zip(sides, lengths, strict=True)
    }
    return {
        "pairs": int(chosen.sum()),
        "tokens": tokens,
        "with_an_empty_side": int((lengths[:, chosen].min(axis=0) == 0).sum()),
    }


def print_counts(counts: Report) -> None:
    """One line per split, and what was dropped from the training text and why."""
    for split, count in counts.items():
        if isinstance(count, dict) and "pairs" in count:
            tokens = ", ".join(f"{number:,} {lang}" for lang, number in count["tokens"].items())
            notes = "".join(
                f", {number:,} {key.replace('_', ' ')}"
                for key, number in count.items()
                if key not in ("pairs", "tokens") and number
            )
            console.print(f"{split}: {count['pairs']:,} pairs, tokens {tokens}{notes}")
    reasons = [
        f"{number:,} {key.replace('_', ' ')}" for key, number in counts["dropped"].items() if number
    ]
    console.print(f"of {counts['read']:,} pairs read, dropped: {', '.join(reasons) or 'none'}")
