"""Documents: a line `<d>` before each in the text, on the same lines of both languages.

`<d 09-04-21>` gives the document a session, such as the day on which it was spoken: neighbouring
documents of one session may be joined into longer ones. All documents without a name are of one
session.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from reluformer.durable import write_whole
from reluformer.errors import UserError

Numbers = npt.NDArray[np.int64]

MARK = "<d>"
_MARK = re.compile(r"<d(?P<session> [^<>]*)?>")


@dataclass(frozen=True)
class Mark:
    """The start of a document; `session` is empty where none is named."""

    session: str = ""

    def __str__(self) -> str:
        return f"<d {self.session}>" if self.session else MARK


def parse_mark(line: str) -> Mark | None:
    """The mark that a line consists of, spaces around it aside; None for a line of text."""
    found = _MARK.fullmatch(line.strip())
    return Mark((found["session"] or "").strip(" ")) if found else None


def has_marks(lines: Iterable[str]) -> bool:
    """Whether a text is made of documents: its first line is a mark."""
    first = next(iter(lines), None)
    return first is not None and parse_mark(first) is not None


def paired_marks(
    pairs: Iterable[tuple[str, str]], names: tuple[str, str]
) -> Iterator[tuple[Mark | None, tuple[str, str]]]:
    """Each pair of lines, with the mark if it is one; `names` of the sides are for errors.

    Raises UserError if only one side has a mark, the two differ, or the text does not begin with
    one.
    """
    for number, pair in enumerate(pairs, start=1):
        marks = parse_mark(pair[0]), parse_mark(pair[1])
        if marks[0] != marks[1]:
            shown = " and ".join(repr(line.strip()[:40]) for line in pair)
            raise UserError(
                f"line {number:,} of {names[0]} and of {names[1]} must be the same mark of a "
                f"document or no mark, but they are {shown}"
            )
        if number == 1 and marks[0] is None:
            raise UserError(f"{names[0]} must begin with a mark of a document, `{MARK}`")
        yield marks[0], pair


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents of a split of `num_sentences`, none of them empty.

    `starts` are the numbers of their first sentences (from 0, ascending); `sessions` number the
    sessions, so that neighbours of one session have the same number.
    """

    starts: Numbers
    sessions: Numbers
    num_sentences: int

    def __len__(self) -> int:
        return len(self.starts)

    def borders(self, joined: bool = False) -> Numbers:
        """Where each document begins and the last one ends; of whole sessions, if `joined`."""
        starts = self.starts
        if joined:
            starts = starts[np.diff(self.sessions, prepend=-1) != 0]
        return np.append(starts, self.num_sentences)

    def save(self, path: Path) -> str:
        """Write the two rows of numbers as `path`, a .npy file, whole; its SHA-256."""
        buffer = io.BytesIO()
        np.save(buffer, np.stack([self.starts, self.sessions]))
        write_whole(path, buffer.getvalue())
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    @classmethod
    def load(cls, path: Path, num_sentences: int, sha256: str) -> "Documents":
        """Raises UserError if the file is missing or not the one with this checksum."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise UserError(
                f"{path} is damaged or of another corpus: its hash is not the manifest's; make the "
                "corpus again"
            )
        try:
            rows = np.load(io.BytesIO(content), allow_pickle=False)
            starts, sessions = rows
            steps = np.diff(starts, prepend=-1, append=num_sentences)
            whole = rows.dtype == np.int64 and rows.ndim == 2 and bool((steps > 0).all())
        except (ValueError, TypeError, AttributeError, EOFError, MemoryError, BadZipFile):
            whole = False
        if not whole:
            raise UserError(f"{path} does not say where documents begin; make the corpus again")
        return cls(starts, sessions, num_sentences)


@dataclass
class DocumentCounter:
    """Collects where documents begin while sentences are kept or dropped."""

    starts: list[int] = field(default_factory=list)
    sessions: list[int] = field(default_factory=list)
    marks: int = 0
    _session: str | None = None

    def begin(self, mark: Mark, sentence: int) -> None:
        """A document begins at this sentence, in place of one of which nothing was kept."""
        number = self.sessions[-1] if self.sessions else -1
        if self.starts and self.starts[-1] == sentence:
            self.starts.pop()
            self.sessions.pop()
        self.starts.append(sentence)
        self.sessions.append(number + (mark.session != self._session))
        self._session = mark.session
        self.marks += 1

    def finish(self, num_sentences: int) -> Documents:
        """All documents in which a sentence was kept."""
        starts = np.array(self.starts, dtype=np.int64)
        kept = starts < num_sentences
        sessions = np.array(self.sessions, dtype=np.int64)
        return Documents(starts[kept], sessions[kept], num_sentences)

    def summary(self, documents: Documents) -> dict[str, Any]:
        """Documents, their sessions, and those in which nothing was kept."""
        return {
            "count": len(documents),
            "sessions": len(np.unique(documents.sessions)),
            "empty": self.marks - len(documents),
        }
