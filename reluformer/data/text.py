"""Lines of text files, read strictly: UTF-8 only, and only LF ends a line.

U+2028, U+0085, form feed, NUL and a CR inside a line are ordinary characters of it, so the two
sides of a corpus stay aligned whatever they contain. Not part of the text are a CR just before
the LF (files with CRLF line ends) and a byte order mark at the start of a file. Files whose name
ends in `.gz` are decompressed on the way.
"""

import codecs
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NoReturn, cast

import numpy as np

from reluformer.errors import UserError

CHUNK_BYTES = 1 << 20
BOM = "\ufeff"
NUL = "\0"  # an ordinary character of a line that no vocabulary knows
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
EXCERPT_CHARACTERS = 40


@dataclass(frozen=True)
class TextScan:
    """What one pass over a text file finds; `sha256` is of the decompressed text."""

    lines: int
    sha256: str


def plain_or_compressed(path: Path) -> Path:
    """`path` or, if only that is there, its .gz. Raises UserError where both are."""
    compressed = path.with_name(path.name + ".gz")
    if not compressed.exists():
        return path
    if path.exists():
        raise UserError(f"{path} is there, and {compressed} too: remove the one that is not meant")
    return compressed


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a file, without their ends.

    Raises UserError for a file that cannot be read, and for one that is not UTF-8, with the
    line and the byte in it (both counted from 1) where that shows.
    """
    with open_text(path) as file:
        for number, raw in enumerate(file, start=1):
            yield decode_line(raw, path, number)


def decode_line(raw: bytes, where: Path | str, number: int) -> str:
    """Line `number` (from 1) as text, without its end; the first one without a byte order mark.

    `where` is for the error message.
    """
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        line = raw.decode("utf-8")
        return line.removeprefix(BOM) if number == 1 else line
    except UnicodeDecodeError as error:
        position = f"{where}, line {number}, byte {error.start + 1}"
        found = f"0x{raw[error.start]:02x}"
        if number == 1 and raw.startswith(UTF16_MARKS):
            remedy = "the file looks like UTF-16, convert it to UTF-8"
        else:
            remedy = "convert the file to UTF-8 or mend the line"
        raise UserError(f"{position}: not valid UTF-8 ({found}); {remedy}") from None


def describe_nul(line: str, where: str) -> str:
    """A warning about a line that has NUL characters and keeps them."""
    byte = len(line.partition(NUL)[0].encode()) + 1
    return (
        f"warning: {where}, byte {byte}: a NUL character, as in UTF-16 or damaged text; it is read "
        "as an unknown character, and so is every further one"
    )


def scan_text(path: Path) -> TextScan:
    """Count, check and fingerprint a file; an unfinished last line counts as a line.

    Raises UserError as `read_lines` does, in a tenth of the time.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(
            f"{path} is no file but a pipe or a device, and is read more than once: write it to a "
            "file first (reluformer-translate reads a pipe as standard input, without `input`)"
        )
    digest, lines, last = hashlib.sha256(), 0, b"\n"
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_text(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                _raise_for_damage(path)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    if decoder.getstate()[0]:
        _raise_for_damage(path)
    return TextScan(lines=lines + (last != b"\n"), sha256=digest.hexdigest())


def count_lines(path: Path) -> int:
    """Lines of a file, as `read_lines` yields them."""
    return scan_text(path).lines


def read_aligned(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Line pairs of two files that were found to have as many lines."""
    try:
        yield from zip(read_lines(source), read_lines(target), strict=True)
    except ValueError:
        raise UserError(f"{source} or {target} changed while it was read: run again") from None


def iterate_parallel(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    """Aligned line pairs of two files; both are counted before the first pair is given out."""
    check_equal_counts(source, count_lines(source), target, count_lines(target))
    return read_aligned(source, target)


def check_equal_counts(source: Path, source_lines: int, target: Path, target_lines: int) -> None:
    """Raise UserError with both counts, and where the files seem to part, unless they are equal."""
    if source_lines == target_lines:
        return
    line = first_suspicious_line(source, target)
    raise UserError(
        f"{source} has {source_lines:,} lines, but {target} has {target_lines:,}; judging by the "
        f"lines' lengths they part near line {line:,} "
        f"({_excerpt(source, line)} against {_excerpt(target, line)})"
    )


def first_suspicious_line(source: Path, target: Path) -> int:
    """The line (from 1) from which the two sides fit better when one of them is shifted.

    Lines that translate each other are of similar length. With d lines too many on one side,
    lines before the fault fit unshifted and those behind it shifted by d; the fault is put
    where the sum of |log length ratio| over all lines is least.
    """
    longer, shorter = sorted((_log_lengths(source), _log_lengths(target)), key=len, reverse=True)
    shift = len(longer) - len(shorter)
    unshifted = np.abs(longer[: len(shorter)] - shorter)
    shifted = np.abs(longer[shift:] - shorter)
    cost = np.concatenate([[0.0], np.cumsum(unshifted - shifted)])
    return int(np.argmin(cost)) + 1


@contextmanager
def open_text(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, decompressed if it is a `.gz`; UserError if it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"cannot decompress {path}: {error}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _raise_for_damage(path: Path) -> NoReturn:
    for _ in read_lines(path):
        pass
    raise UserError(f"{path} changed while it was read: run again")


def _log_lengths(path: Path) -> np.ndarray:
    with open_text(path) as file:
        lengths = np.fromiter((len(line) for line in file), dtype=np.float32)
    return np.log1p(lengths)


def _excerpt(path: Path, number: int) -> str:
    with open_text(path) as file:
        raw = next(islice(file, number - 1, None), None)
    if raw is None:
        return "end of file"
    text = raw.decode("utf-8", errors="replace").strip()
    return repr(text[:EXCERPT_CHARACTERS]) + ("…" if len(text) > EXCERPT_CHARACTERS else "")
