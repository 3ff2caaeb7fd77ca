"""Aligned pairs out of the source texts themselves, where no aligned files are given.

As the tools of the Europarl release do, turns are matched by the IDs of chapter and speaker, and
within a turn sentences are aligned by length, paragraph by paragraph. Differs from them in: a turn
whose numbers of paragraphs differ is aligned as a whole instead of being dropped.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, groupby
from pathlib import Path

from output import Report

from reluformer.console import track
from reluformer.data.processes import map_in_order

from .gale_church import align
from .sentence_splitter import split_sentences
from .source import LANGS, DocumentKey, Turn, document_keys, read_turns, workers_for

Pair = tuple[str, str]
Document = tuple[DocumentKey, list[Pair]]


def align_files(
    folders: Mapping[str, Path],
    files: Sequence[str],
    documents: str,
    workers: int | None,
    counts: Counter[str],
) -> Iterator[Document]:
    """The documents of all files, in order; what was left out and why is added to the counts."""
    aligned = map_in_order(
        partial(align_file, folders, documents), files, workers_for(files, workers)
    )
    for made, left_out in track(aligned, "aligning", len(files)):
        counts.update(left_out)
        yield from made


def align_file(
    folders: Mapping[str, Path], documents: str, name: str
) -> tuple[list[Document], Counter[str]]:
    """One file's documents, and counts of sentences; a language may lack the file."""
    paths = [folders[lang] / name for lang in LANGS]
    source, target = (read_turns(path) if path.exists() else [] for path in paths)
    one_sided = "in_turns_of_one_side" if source and target else "on_days_of_one_side"
    counts: Counter[str] = Counter()
    unmatched = {(turn.chapter, turn.speaker): turn for turn in target}
    aligned: list[Document] = []
    for key, turn in zip(document_keys(name, source, documents), source, strict=True):
        counterpart = unmatched.pop((turn.chapter, turn.speaker), None)
        if counterpart is not None:
            aligned.append((key, align_turn(turn, counterpart, counts)))
        else:
            counts[one_sided] += _count_sentences(turn, LANGS[0])
    counts[one_sided] += sum(_count_sentences(turn, LANGS[1]) for turn in unmatched.values())
    return _joined(aligned), counts


def _joined(parts: list[Document]) -> list[Document]:
    """Parts of the same document as one, without those that are empty."""
    documents = [
        (key, [pair for _, pairs in same for pair in pairs])
        for key, same in groupby(parts, key=lambda part: part[0])
    ]
    return [(key, pairs) for key, pairs in documents if pairs]


def _count_sentences(turn: Turn, lang: str) -> int:
    return sum(len(split_sentences(paragraph, lang)) for paragraph in turn.paragraphs)


def align_turn(source: Turn, target: Turn, counts: Counter[str]) -> list[Pair]:
    """The turn's pairs; sentences that were joined with a neighbour to match are one line."""
    sides = [
        [split_sentences(paragraph, lang) for paragraph in turn.paragraphs]
        for turn, lang in zip((source, target), LANGS, strict=True)
    ]
    if len(sides[0]) != len(sides[1]):
        counts["turns_aligned_as_a_whole"] += 1
        sides = [[list(chain.from_iterable(paragraphs))] for paragraphs in sides]
    paragraphs = zip(sides[0], sides[1], strict=True)
    return [pair for ours, theirs in paragraphs for pair in align_sentences(ours, theirs, counts)]


def align_sentences(source: list[str], target: list[str], counts: Counter[str]) -> Iterator[Pair]:
    """Pairs of sentences that translate each other, judging by the lengths of all."""
    for ours, theirs in align(_lengths(source), _lengths(target)):
        pair = source[ours], target[theirs]
        kind = f"{len(pair[0])}-{len(pair[1])}"
        if all(pair):
            counts[kind] += 1
            yield " ".join(pair[0]), " ".join(pair[1])
        else:
            counts["without_counterpart"] += 1


def _lengths(sentences: list[str]) -> list[int]:
    """Characters without spaces, as the tools of Europarl count."""
    return [len(sentence) - sentence.count(" ") for sentence in sentences]


def summarise(counts: Counter[str]) -> Report:
    """How many pairs were made, of which kinds, and how many sentences left out, and why."""
    kinds = {kind: counts[kind] for kind in ("1-1", "2-1", "1-2", "2-2")}
    reasons = ("without_counterpart", "in_turns_of_one_side", "on_days_of_one_side")
    return {
        "how": "aligned by length",
        "kept": sum(kinds.values()),
        "kinds": kinds,
        "turns_aligned_as_a_whole": counts["turns_aligned_as_a_whole"],
        "dropped": {reason: counts[reason] for reason in reasons},
    }
