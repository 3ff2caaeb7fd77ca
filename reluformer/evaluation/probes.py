"""Probes: words of a document that only an earlier sentence allows to translate rightly.

data_prep/embedded.py writes them beside its documents, one JSON object a line.
"""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from reluformer.data.text import read_lines
from reluformer.errors import UserError

DISTANCES = (8, 16, 32, 64, 128, 256, 512, 1024)  # where the next bucket begins, in words
BUCKETS = ("1-7", *(f"{low}-{2 * low - 1}" for low in DISTANCES[:-1]), f"{DISTANCES[-1]}+")
KINDS = ("pronoun", "name", "job", "acronym", "term")
ANSWERS = ("right", "wrong", "neither")


@dataclass(frozen=True)
class Probe:
    """One place to look at in a translation.

    `line` counts from 1 in the text file, `<d>` lines included, and `document` from 1. The
    distances are from `antecedent` to `source`, in sentences and in words of the source side.
    `pair` names two probes whose source sentences are the same and whose right answers are each
    other's wrong ones, so that no system without context gets more than half of them right.
    """

    direction: str  # de-en, en-de
    kind: str  # one of KINDS
    document: int
    line: int
    sentences: int
    words: int
    antecedent: str
    source: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]
    pair: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_probes(path: Path) -> list[Probe]:
    """Those of a file; UserError names the line that is none."""
    probes = []
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number},"
        try:
            entry = json.loads(line)
        except ValueError:
            raise UserError(f"{where} is not JSON: {line[:40]!r}") from None
        probes.append(parse_probe(entry, where))
    return probes


def parse_probe(entry: object, where: str) -> Probe:
    """A line of probes.jsonl; `where` names it in the error."""
    names = [field.name for field in fields(Probe)]
    if not isinstance(entry, Mapping) or sorted(entry) != sorted(names):
        raise UserError(f"{where} is not a probe: it needs {', '.join(names)}")
    for name in ("document", "line", "sentences", "words", "pair"):
        if not isinstance(entry[name], int) or entry[name] < (name != "words"):
            raise UserError(f"{where} is not a probe: `{name}` is {entry[name]!r}")
    for name in ("right", "wrong"):
        words = entry[name]
        if not (isinstance(words, list) and words and all(isinstance(one, str) for one in words)):
            raise UserError(f"{where} is not a probe: `{name}` is {words!r}, not a list of words")
    if entry["kind"] not in KINDS:
        raise UserError(f"{where} is not a probe: `kind` is {entry['kind']!r}")
    lists = {name: tuple(entry[name]) for name in ("right", "wrong")}
    return Probe(**{**entry, **lists})


def verdict(line: str, right: Iterable[str], wrong: Iterable[str]) -> str:
    """right, wrong, or neither: which words stand in the line, upper and lower case alike."""
    words = " ".join(["", *re.findall(r"[^\W_]+", line.lower()), ""])
    found = {
        name: any(f" {word.lower()} " in words for word in wanted)
        for name, wanted in (("right", right), ("wrong", wrong))
    }
    if found["right"] == found["wrong"]:
        return "neither"
    return "right" if found["right"] else "wrong"


def bucket(words: int) -> str:
    """The one of BUCKETS that this distance is in."""
    return BUCKETS[bisect_right(DISTANCES, words)]


@dataclass(frozen=True)
class ProbeCount:
    """How many probes of a kind, with the antecedent so many words back, came out how.

    A probe is right if its line has the right word and not the competing one, wrong the other way
    round, and neither otherwise.
    """

    kind: str
    words: str
    right: int
    wrong: int
    neither: int

    @property
    def total(self) -> int:
        return self.right + self.wrong + self.neither


def count_probes(hypotheses: Sequence[str], probes: Iterable[Probe]) -> list[ProbeCount]:
    """By kind, and within a kind by distance.

    `hypotheses` are the lines of a translated document file, `<d>` lines included.
    """
    counts: dict[tuple[str, str], Counter[str]] = {}
    for probe in sorted(probes, key=lambda probe: (probe.kind, probe.words)):
        if probe.line > len(hypotheses):
            raise UserError(
                f"a probe is on line {probe.line}, but the translation has {len(hypotheses)} lines"
            )
        key = (probe.kind, bucket(probe.words))
        answer = verdict(hypotheses[probe.line - 1], probe.right, probe.wrong)
        counts.setdefault(key, Counter())[answer] += 1
    return [
        ProbeCount(kind, distance, *(found[name] for name in ANSWERS))
        for (kind, distance), found in counts.items()
    ]


def sum_probes(counts: Sequence[ProbeCount], kind: str, words: str) -> ProbeCount:
    """All of them together, under these names."""
    sums = (sum(getattr(count, name) for count in counts) for name in ANSWERS)
    return ProbeCount(kind, words, *sums)
