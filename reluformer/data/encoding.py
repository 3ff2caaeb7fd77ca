"""Aligned text to token files: one split, as a stream, with everything counted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reluformer.console import console, progress_bar
from reluformer.data.binary import TokenFileWriter
from reluformer.data.documents import DocumentCounter, Mark, paired_marks, parse_mark
from reluformer.data.processes import map_in_order
from reluformer.data.text import NUL, describe_nul, read_aligned
from reluformer.data.vocabulary import UNK, Vocabulary
from reluformer.errors import UserError

CHUNK_LINES = 20_000
CHUNK_CHARACTERS = 4_000_000
PARALLEL_LINES = 100_000  # fewer are done before other processes would have started
LONGEST_LINE = 100_000  # characters; splitting what is beyond would take seconds and gigabytes
PERCENTILES = (50, 90, 95, 99)

Tokens = npt.NDArray[np.int32]
Lengths = npt.NDArray[np.int64]
Selection = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Limits:
    """What pairs are to be like; lengths in tokens, without EOS.

    Those that are not are counted, and dropped (or truncated) if `enforced`, as in training;
    validation and test sets stay aligned with their text.
    """

    max_length: int
    too_long: str = "drop"  # or "truncate"
    max_ratio: float | None = None
    enforced: bool = True


@dataclass
class Counts:
    """Pairs beyond the limits, each under the first that applies; lines cut; lines with NULs."""

    empty: int = 0
    ratio: int = 0
    too_long: int = 0
    cut: int = 0
    nul: int = 0


@dataclass(frozen=True)
class Side:
    """One language of a split: where its text is, and where its tokens go."""

    text: Path
    vocabulary: Vocabulary
    output: Path


@dataclass
class Chunk:
    """Aligned lines, and the marks of documents that stood before them, by position."""

    source: list[str] = field(default_factory=list)
    target: list[str] = field(default_factory=list)
    marks: list[tuple[int, Mark]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.source)


@dataclass(frozen=True)
class EncodedChunk:
    """Token ids of a chunk's lines end to end, with each line's number of them; its marks."""

    source: tuple[Tokens, Lengths]
    target: tuple[Tokens, Lengths]
    marks: list[tuple[int, Mark]]


def encode_split(
    source: Side,
    target: Side,
    num_lines: int,
    limits: Limits,
    workers: int,
    documents: Path | None = None,
) -> dict[str, Any]:
    """Write both sides of a split and return what the manifest says about it.

    Large splits are encoded by so many processes. With `documents`, lines `<d>` begin documents,
    and that file says where. A line over 100,000 characters is cut there in any case; that, and NUL
    characters, are counted and said.
    """
    counts, counter, num_read = Counts(), DocumentCounter(), 0
    source_lengths, target_lengths = LengthStatistics(), LengthStatistics()
    encode = partial(encode_chunk, source.vocabulary, target.vocabulary)
    chunks = read_chunks(source.text, target.text, documents is not None, counts)
    with (
        TokenFileWriter(source.output, len(source.vocabulary)) as source_writer,
        TokenFileWriter(target.output, len(target.vocabulary)) as target_writer,
        progress_bar() as bar,
    ):
        task = bar.add_task(source.output.stem, total=num_lines)
        for chunk in map_in_order(encode, chunks, workers if num_lines > PARALLEL_LINES else 1):
            keep = choose(chunk.source[1], chunk.target[1], limits, counts)
            for position, mark in chunk.marks:
                counter.begin(mark, source_writer.num_sequences + int(keep[:position].sum()))
            for writer, lengths, tokens in (
                (source_writer, source_lengths, chunk.source),
                (target_writer, target_lengths, chunk.target),
            ):
                kept = select(*tokens, keep, limits)
                writer.extend(*kept)
                lengths.add(*kept)
            num_read += len(keep) + len(chunk.marks)
            bar.update(task, completed=num_read)
    if num_read != num_lines:
        raise UserError(
            f"{source.text} and {target.text} had {num_lines:,} lines, and {num_read:,} when they "
            "were read again: they are being changed; run again"
        )
    described = {
        "lines": num_lines - counter.marks,
        "sentences": source_writer.num_sequences,
        "enforced": limits.enforced,
        **asdict(counts),
        "source": source_lengths.summary() | checksums(source_writer),
        "target": target_lengths.summary() | checksums(target_writer),
    }
    if documents is not None:
        found = counter.finish(source_writer.num_sequences)
        described["documents"] = counter.summary(found) | {"sha256": found.save(documents)}
    return described


def encode_chunk(source: Vocabulary, target: Vocabulary, chunk: Chunk) -> EncodedChunk:
    return EncodedChunk(
        source.encode_packed(chunk.source), target.encode_packed(chunk.target), chunk.marks
    )


def read_chunks(source: Path, target: Path, documents: bool, counts: Counts) -> Iterator[Chunk]:
    """Aligned lines in pieces of bounded size; those that are marks, apart."""
    chunk = Chunk()
    characters = 0
    for number, (mark, pair) in enumerate(read_pairs(source, target, documents), 1):
        if mark is not None:
            chunk.marks.append((len(chunk), mark))
            continue
        lines = (chunk.source, chunk.target)
        for side, line, path in zip(lines, pair, (source, target), strict=True):
            characters += min(len(line), LONGEST_LINE)
            if NUL in line:
                report_nul(line, path, number, counts)
            side.append(line if len(line) <= LONGEST_LINE else cut(line, path, number, counts))
        if len(chunk) == CHUNK_LINES or characters > CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = Chunk(), 0
    if len(chunk) or chunk.marks:
        yield chunk


def read_pairs(
    source: Path, target: Path, documents: bool
) -> Iterator[tuple[Mark | None, tuple[str, str]]]:
    """Pairs of lines, each with its mark if they are documents and it is one."""
    pairs = read_aligned(source, target)
    if documents:
        yield from paired_marks(pairs, (str(source), str(target)))
        return
    for number, pair in enumerate(pairs):
        if number == 0 and parse_mark(pair[0]) and parse_mark(pair[1]):
            raise UserError(f"{source} is made of documents ({pair[0]}): say `data.documents=true`")
        yield None, pair


def cut(line: str, path: Path, number: int, counts: Counts) -> str:
    """The start of a line that is too long to be a sentence."""
    if counts.cut == 0:
        console.print(
            f"warning: {path}, line {number:,} has {len(line):,} characters and is cut after "
            f"{LONGEST_LINE:,}; further such lines are counted",
            markup=False,
        )
    counts.cut += 1
    return line[:LONGEST_LINE]


def report_nul(line: str, path: Path, number: int, counts: Counts) -> None:
    """Count a line that has NUL characters, and show the first of them."""
    if counts.nul == 0:
        console.print(describe_nul(line, f"{path}, line {number:,}"), markup=False)
    counts.nul += 1


def choose(source: Lengths, target: Lengths, limits: Limits, counts: Counts) -> Selection:
    """Which of the pairs with these lengths are kept; what is beyond the limits is counted."""
    shorter, longer = np.minimum(source, target), np.maximum(source, target)
    empty = shorter == 0
    ratio = ~empty & (longer > (limits.max_ratio or np.inf) * np.maximum(shorter, 1))
    too_long = ~empty & ~ratio & (longer > limits.max_length)
    counts.empty += int(empty.sum())
    counts.ratio += int(ratio.sum())
    counts.too_long += int(too_long.sum())
    if not limits.enforced:
        return np.ones(len(source), dtype=np.bool_)
    return ~(empty | ratio) if limits.too_long == "truncate" else ~(empty | ratio | too_long)


def select(
    tokens: Tokens, lengths: Lengths, keep: Selection, limits: Limits
) -> tuple[Tokens, Lengths]:
    """The kept sequences, end to end, none of them too long if that is enforced."""
    if not limits.enforced or (keep.all() and lengths.max(initial=0) <= limits.max_length):
        return tokens, lengths
    positions = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    wanted = np.repeat(keep, lengths) & (positions < limits.max_length)
    return tokens[wanted], np.minimum(lengths[keep], limits.max_length)


def checksums(writer: TokenFileWriter) -> dict[str, Any]:
    return {"sha256": writer.sha256, "index_crc32": writer.index_crc}


@dataclass
class LengthStatistics:
    """Counts tokens and sentence lengths, in memory that depends on the longest length only."""

    sentences_of_length: Lengths = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    unknown: int = 0

    def add(self, tokens: Tokens, lengths: Lengths) -> None:
        self.unknown += int((tokens == UNK).sum())
        size = max(len(self.sentences_of_length), int(lengths.max(initial=0)) + 1)
        counted = np.bincount(lengths, minlength=size)
        counted[: len(self.sentences_of_length)] += self.sentences_of_length
        self.sentences_of_length = counted

    def summary(self) -> dict[str, Any]:
        """Tokens in all, unknown ones, empty sentences, and lengths by percentile and power of 2.

        The 95th percentile is the least length that 95 % of the sentences do not exceed;
        `histogram` maps each power of two to the sentences longer than half of it, up to it.
        """
        counted = self.sentences_of_length
        up_to = np.cumsum(counted)
        longest = len(counted) - 1
        powers = [1 << bits for bits in range(longest.bit_length() + 1)]
        below = [int(up_to[min(power, longest)]) for power in powers]
        return {
            "tokens": int(np.arange(len(counted)) @ counted),
            "unknown": self.unknown,
            "empty": int(counted[0]),
            "longest": longest,
            "percentiles": {
                str(percent): int(np.searchsorted(up_to, percent / 100 * up_to[-1]))
                for percent in PERCENTILES
            },
            "histogram": {
                str(power): count - before
                for power, count, before in zip(
                    powers, below, [int(counted[0]), *below[:-1]], strict=True
                )
            },
        }
