"""All documents of the Europarl release as two aligned files with marks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import steps
from output import Report

from reluformer.data.documents import Mark

from .align import align_files, summarise
from .pairs import find_documents
from .release import Sources, pair_files
from .source import DocumentKey

Pair = tuple[str, str]


def assemble(
    sources: Sources,
    folders: Mapping[str, Path],
    names: Sequence[str],
    work: Path,
    files: Sequence[Path],
    documents: str,
    alignment: str,
    workers: int | None,
) -> Report:
    """Write the documents of the source texts of these names; return what was left out and why."""
    if alignment == "gale_church":
        counts: Counter[str] = Counter()
        aligned = align_files(folders, names, documents, workers, counts)
        steps.write_parallel(files, marked_lines(aligned))
        return summarise(counts)
    pairs = pair_files(sources, work)
    placed = find_documents(pairs, folders, names, documents, workers)
    steps.write_parallel(files, marked_lines(placed.read(pairs)))
    return placed.report


def marked_lines(documents: Iterable[tuple[DocumentKey, Sequence[Pair]]]) -> Iterator[Pair]:
    """The documents' lines, a mark with its day before each."""
    for key, pairs in documents:
        mark = str(Mark(key.day))
        yield mark, mark
        yield from pairs
