"""The aligned files of Europarl have no documents; each pair finds its own in the source texts.

Both sides of each pair are looked up in the source texts of their language, independently. As pairs
are in the order of the text (whatever the order of the days), a document is certain where both
sides agree, and where the pairs before and behind are of the same document. Pairs of which neither
holds are left out.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
from output import Report

from reluformer.console import track
from reluformer.data.processes import map_in_order
from reluformer.data.text import count_lines, iterate_parallel
from reluformer.errors import UserError

from .fingerprints import fingerprints
from .placing import UNKNOWN, Pieces, Source, agree, contradict, place
from .source import LANGS, DocumentKey, document_keys, is_tag, read_turns, workers_for

Pair = tuple[str, str]


class Fault(IntEnum):
    """Why a pair has no document; the names are the keys of the report."""

    NONE = 0
    EMPTY_SIDE = 1
    MARKUP = 2
    SIDES_DISAGREE = 3
    NOT_FOUND = 4


@dataclass(frozen=True)
class Placed:
    """The lines of the aligned files in their documents."""

    documents: np.ndarray  # (lines,) int64, numbers of documents, or UNKNOWN
    keys: Sequence[DocumentKey]
    report: Report

    def read(self, files: Mapping[str, Path]) -> Iterator[tuple[DocumentKey, list[Pair]]]:
        """The documents with their pairs, in the order of the aligned files."""
        pairs = iterate_parallel(*(files[lang] for lang in LANGS))
        placed = zip(self.documents.tolist(), pairs, strict=True)
        kept = (item for item in placed if item[0] != UNKNOWN)
        for number, group in groupby(kept, key=lambda item: item[0]):
            lines = [(source.strip(), target.strip()) for _, (source, target) in group]
            yield self.keys[number], lines


def find_documents(
    files: Mapping[str, Path],
    folders: Mapping[str, Path],
    names: Sequence[str],
    documents: str,
    workers: int | None,
) -> Placed:
    """Place the pairs of aligned files in the source texts of these names.

    Raises UserError if not a single pair is found.
    """
    numbers: dict[DocumentKey, int] = {}
    faults, sides = read_pairs(files)
    by_language = []
    for lang, pieces in zip(LANGS, sides, strict=True):
        reading = partial(read_file, folders[lang], documents)
        read = map_in_order(reading, names, workers_for(names, workers))
        source = join(track(read, f"reading {lang}", len(names)), numbers)
        by_language.append(place(pieces, source, len(faults)))
    found = np.where(faults == Fault.NONE, agree(*by_language), UNKNOWN)
    lost = (faults == Fault.NONE) & (found == UNKNOWN)
    faults[lost] = np.where(contradict(*by_language)[lost], Fault.SIDES_DISAGREE, Fault.NOT_FOUND)
    if not (found != UNKNOWN).any():
        aligned, texts = (" and ".join(map(str, paths.values())) for paths in (files, folders))
        raise UserError(f"no line of {aligned} stands in {texts}; are both of the same release?")
    report = {
        "how": "placed in the source texts",
        "read": len(faults),
        "kept": int((found != UNKNOWN).sum()),
        "dropped": {fault.name.lower(): int((faults == fault).sum()) for fault in list(Fault)[1:]},
    }
    return Placed(found, list(numbers), report)


def read_pairs(files: Mapping[str, Path]) -> tuple[np.ndarray, list[Pieces]]:
    """Each line's fault, if it is without text, and the pieces of both sides."""
    source, target = (files[lang] for lang in LANGS)
    faults = array("B")
    prints, owners = (array("Q"), array("Q")), (array("q"), array("q"))
    lines = track(iterate_parallel(source, target), "reading pairs", count_lines(source))
    for number, pair in enumerate(lines):
        faults.append(_fault(pair))
        if faults[-1] == Fault.NONE:
            for side, line in enumerate(pair):
                found = list(fingerprints(line))
                prints[side].extend(found)
                owners[side].extend([number] * len(found))
    sides = [Pieces(*map(np.array, both)) for both in zip(prints, owners, strict=True)]
    return np.array(faults), sides


def _fault(pair: Pair) -> Fault:
    if not all(line.strip() for line in pair):
        return Fault.EMPTY_SIDE
    return Fault.MARKUP if any(map(is_tag, pair)) else Fault.NONE


def read_file(
    folder: Path, documents: str, name: str
) -> tuple[list[DocumentKey], np.ndarray, np.ndarray]:
    """A file's documents, its pieces' fingerprints, and which of the documents each is from."""
    path = folder / name
    turns = read_turns(path) if path.exists() else []
    keys = document_keys(name, turns, documents)
    prints, owners = array("Q"), array("q")
    for number, turn in enumerate(turns):
        for paragraph in turn.paragraphs:
            found = list(fingerprints(paragraph))
            prints.extend(found)
            owners.extend([number] * len(found))
    return keys, np.array(prints, dtype=np.uint64), np.array(owners, dtype=np.int64)


def join(
    parts: Iterable[tuple[list[DocumentKey], np.ndarray, np.ndarray]],
    numbers: dict[DocumentKey, int],
) -> Source:
    """All files of a language as one; documents get numbers, those of the other language's too."""
    prints, owners, files = [], [], []
    for file, (keys, file_prints, file_owners) in enumerate(parts):
        known = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
        prints.append(file_prints)
        owners.append(known[file_owners])
        files.append(np.full(len(file_prints), file))
    pieces = Pieces(np.concatenate(prints), np.concatenate(owners))
    return Source(pieces, np.concatenate(files))
