"""The per-day source texts of Europarl: txt/<lang>/ep-YY-MM-DD.txt, later ones by chapter.

Text stands between tags that are alone on their lines: `<CHAPTER ID=..>` (the next line is its
title), `<SPEAKER ID=.. NAME=".." LANGUAGE="..">` and `<P>`. IDs are quoted or not, attributes stand
in any order, and an ID may occur again; it is no XML. Source: statmt.org/europarl, release v7.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from reluformer.data.processes import available_cores
from reluformer.data.text import read_lines
from reluformer.errors import UserError

LANGS = ("de", "en")
FEW_FILES = 20  # read before other processes would have started
FILE_NAME = re.compile(r"ep-(\d\d)(-\d\d-\d\d)(?:-\d+)*\.txt")
TAG = re.compile(r"\s*<(CHAPTER|SPEAKER|P)\b([^>]*)>?(.*)", re.IGNORECASE)
OTHER_TAG = re.compile(r"\s*</?[A-Za-z][^<>]*>\s*")
ID = re.compile(r"\bID\s*=\s*[\"']?\s*([^\s\"'>]+)", re.IGNORECASE)


class DocumentKey(NamedTuple):
    """Names a document in both languages; `speaker` is empty where chapters are documents."""

    file: str
    chapter: str
    speaker: str

    @property
    def day(self) -> str:
        return day_of(self.file)


@dataclass(frozen=True)
class Turn:
    """What one speaker says in a chapter, or what stands before the first (`speaker` is empty)."""

    chapter: str
    speaker: str
    paragraphs: list[str] = field(default_factory=list)  # lines within one are kept apart


def is_tag(line: str) -> bool:
    """Whether a line is markup, not text; aligned files have a few such lines too."""
    return TAG.match(line) is not None or OTHER_TAG.fullmatch(line) is not None


def day_of(name: str) -> str:
    """The day of a file, as 00-10-04."""
    found = FILE_NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no name of a source text")
    return found[1] + found[2]


def list_days(folders: Mapping[str, Path]) -> list[str]:
    """Names of the files in either language's folder, the oldest day first.

    Raises UserError for a folder without any, and if the two share none.
    """
    names = {lang: {p.name for p in folder.glob("ep-*.txt")} for lang, folder in folders.items()}
    for lang, folder in folders.items():
        names[lang] = {name for name in names[lang] if FILE_NAME.fullmatch(name)}
        if not names[lang]:
            raise UserError(f"{folder} holds no source texts, such as ep-00-01-17.txt")
    if not set.intersection(*names.values()):
        both = " and ".join(map(str, folders.values()))
        raise UserError(f"{both} share no day, so their texts don't translate each other")
    return sorted(set.union(*names.values()), key=_age)


def _age(name: str) -> tuple[bool, str]:
    """Sorts the twentieth century's days, 96 to 99, before those of the next."""
    return name < "ep-50", name


def read_turns(path: Path) -> list[Turn]:
    """The turns of a file that have text; an ID that occurs again becomes 4.2, then 4.3."""
    turns = [Turn("", "")]
    seen: Counter[tuple[str, ...]] = Counter()
    begins_paragraph = True
    for line in read_lines(path):
        tag = TAG.match(line)
        if tag and tag[1].upper() == "CHAPTER":
            turns.append(Turn(_distinct(seen, _id(tag[2])), ""))
        elif tag and tag[1].upper() == "SPEAKER":
            chapter = turns[-1].chapter
            turns.append(Turn(chapter, _distinct(seen, chapter, _id(tag[2]))))
        text = (tag[3] if tag else line).strip()
        begins_paragraph |= tag is not None or not text
        if text and not OTHER_TAG.fullmatch(text):
            _add_line(turns[-1].paragraphs, text, begins_paragraph)
            begins_paragraph = False
    return [turn for turn in turns if turn.paragraphs]


def _id(attributes: str) -> str:
    """The ID without leading zeros; `?` where there is none."""
    found = ID.search(attributes)
    return (found[1].lstrip("0") or "0") if found else "?"


def _distinct(seen: Counter[tuple[str, ...]], *ids: str) -> str:
    seen[ids] += 1
    return ids[-1] if seen[ids] == 1 else f"{ids[-1]}.{seen[ids]}"


def _add_line(paragraphs: list[str], line: str, begins_paragraph: bool) -> None:
    if begins_paragraph:
        paragraphs.append(line)
    else:
        paragraphs[-1] += "\n" + line


def document_keys(file: str, turns: Sequence[Turn], documents: str) -> list[DocumentKey]:
    """The document of each turn: its chapter, or itself if `documents` is "speaker".

    What stands before a chapter's first speaker, its title, opens that speaker's document.
    """
    if documents == "chapter":
        return [DocumentKey(file, turn.chapter, "") for turn in turns]
    following = [*turns, Turn("", "")][1:]
    speakers = [
        turn.speaker or (behind.speaker if behind.chapter == turn.chapter else "")
        for turn, behind in zip(turns, following, strict=True)
    ]
    return [
        DocumentKey(file, turn.chapter, speaker)
        for turn, speaker in zip(turns, speakers, strict=True)
    ]


def workers_for(files: Sequence[str], workers: int | None) -> int:
    """Processes to read files with (None: one for each core); a few files are read by this one."""
    return min(workers or available_cores(), len(files) // FEW_FILES)
