"""Translating files and streams, buffer by buffer."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice, repeat
from pathlib import Path
from time import perf_counter
from typing import Any, BinaryIO

from reluformer.console import console, progress_bar
from reluformer.data.documents import parse_mark
from reluformer.data.text import check_equal_counts, decode_line, read_lines, scan_text
from reluformer.decoding.formats import Format
from reluformer.decoding.output import Write, destination
from reluformer.decoding.translate import Translator, buffers
from reluformer.decoding.windows import WindowCounts
from reluformer.errors import UserError
from reluformer.model.transformer import Transformer


@dataclass(frozen=True)
class Input:
    """A source file, and a reference file of as many lines where there is one."""

    path: Path
    reference: Path | None
    lines: int
    digest: str

    @classmethod
    def scan(cls, path: Path, reference: Path | None) -> "Input":
        """Count and fingerprint the files; UserError if they cannot be read or do not match."""
        found = scan_text(path)
        if not found.lines:
            raise UserError(f"{path} is empty: there is nothing to translate")
        digest = found.sha256
        if reference is not None:
            scanned = scan_text(reference)
            check_equal_counts(path, found.lines, reference, scanned.lines)
            digest += scanned.sha256
        return cls(path, reference, found.lines, digest)

    def pairs(self, start: int) -> Iterator[tuple[str, str | None]]:
        """Each line and its reference, from line `start` (from 0) on."""
        references = repeat(None) if self.reference is None else read_lines(self.reference)
        return islice(zip(read_lines(self.path), references, strict=False), start, None)


@dataclass(frozen=True)
class Timing:
    """How many lines were translated in how many seconds; loading the model does not count.

    Of a translation that was stopped and continued, only the last part, but all of its windows.
    """

    lines: int
    seconds: float
    windows: WindowCounts

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.seconds


def translate_file(
    translator: Translator, source: Input, form: Format, buffer_lines: int, output: Path | None
) -> Timing:
    """Translate a file to a file, or to standard output if there is none.

    While it is written, the output is called <output>.partial. Stopped and started again with
    the same input, model and settings, it goes on behind the last finished buffer, and only what
    is left to do is timed.
    """
    settings = {"input": source.digest, "format": form.__name__, **describe(translator)}
    if translator.windows.length:  # no window goes on behind its buffer
        settings["buffer_lines"] = buffer_lines
    with destination(output, fingerprint(settings)) as (write, done, notes), progress_bar() as bar:
        translator.counts = WindowCounts(**notes)
        started = perf_counter()
        if done:
            there = f"{output}: {done:,} of {source.lines:,} lines are there, going on"
            console.print(there, markup=False)
        task = bar.add_task("translating", total=source.lines, completed=done)
        translate_pairs(
            translator,
            source.pairs(done),
            form,
            buffer_lines,
            write,
            done,
            lambda count: bar.advance(task, count),
        )
        timing = Timing(source.lines - done, perf_counter() - started, translator.counts)
    console.print(
        f"{timing.lines:,} lines in {timing.seconds:.1f} s, {timing.lines_per_second:.1f} lines/s"
    )
    if counts := describe_counts(translator.counts):
        console.print(counts)
    return timing


def describe_counts(counts: WindowCounts) -> str:
    """What a reader wants to know of windows and of long sentences, if there were any."""
    said = []
    if counts.windows:
        share = counts.repaired / counts.windows
        said.append(
            f"{counts.windows:,} windows, {counts.repaired:,} of them repaired ({share:.1%})"
        )
    if counts.seams:
        said.append(f"the windows agree at {counts.agreed:,} of {counts.seams:,} seams")
    if counts.long:
        said.append(f"{counts.long:,} sentences were longer than any in training")
    return "; ".join(said)


def translate_stream(
    translator: Translator, stream: BinaryIO, form: Format, buffer_lines: int, output: Path | None
) -> None:
    """Translate standard input, `buffer_lines` at a time, as they come."""
    lines = (decode_line(raw, "<stdin>", number) for number, raw in enumerate(stream, start=1))
    with destination(output, None) as (write, _, _):
        translate_pairs(translator, zip(lines, repeat(None)), form, buffer_lines, write)


def translate_pairs(
    translator: Translator,
    pairs: Iterable[tuple[str, str | None]],
    form: Format,
    buffer_lines: int,
    write: Write,
    done: int = 0,
    advance: Callable[[int], object] = lambda count: None,
) -> None:
    """Translate lines, of which `done` went before, and write them buffer by buffer."""
    for buffer in buffers(pairs, buffer_lines, lambda pair: parse_mark(pair[0]) is not None):
        translations = translator.translate([line for line, _ in buffer], done + 1, advance)
        done += len(buffer)
        references = (reference for _, reference in buffer)
        write("".join(map(form, translations, references)), done, asdict(translator.counts))


def describe(translator: Translator) -> dict[str, Any]:
    """All that decides a translation, apart from the input."""
    return {
        "weights": weights_digest(translator.model),
        "source_vocabulary": translator.source_vocabulary.digest,
        "target_vocabulary": translator.target_vocabulary.digest,
        "treatment": asdict(translator.treatment),
        "windows": {**asdict(translator.windows), "overlap": translator.overlap},
        "long_input": [translator.long_input, translator.trained_length],
        "length_ratio": translator.length_ratio,
        "options": asdict(translator.options),
    }


def fingerprint(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def weights_digest(model: Transformer) -> str:
    """SHA-256 of all weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy())
    return digest.hexdigest()
