"""Cutting paragraphs into sentences by Moses' rules, with Moses' lists of abbreviations.

A sentence ends at `.`, `?` or `!` (and what closes a quotation or bracket behind it) where white
space and the start of a sentence follow: a capital letter, or after a full stop a digit, behind any
opening quotation mark or bracket. A single full stop does not count behind an abbreviation, an
initial, or a number that the language writes with a full stop ("am 3. Oktober").

Source: split-sentences.perl of Moses and of the Europarl tools. Differs from it in: one pass over
the possible ends instead of several rewritings; alphabets without capitals are not cut at all.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from sacremoses.corpus import NonbreakingPrefixes

NUMERIC_ONLY = "#NUMERIC_ONLY#"  # how the lists mark what is no end before a number only

# Some quotation marks open in one language and close in another.
CLOSING = "'\"«»“”’)\\]"
OPENING = "'\"«»„“”‘(\\[¿¡"
END = re.compile(
    rf"(?P<stop>[.?!]+)(?P<close>(?:\s?[{CLOSING}])*)\s+(?=(?P<open>[{OPENING}]*\s?)(?P<start>\w))"
)
ACRONYM = re.compile(r"\.[^\W\d_]+$")  # the U.S, the z.B
WORD = re.compile(r"[\w.\-]*$")


@dataclass(frozen=True)
class Abbreviations:
    always: frozenset[str]  # "Mr", and in German "17"
    before_numbers: frozenset[str]  # "Art", "No"


@cache
def abbreviations(lang: str) -> Abbreviations:
    """Moses' lists for a language; those of English where Moses has none."""
    prefixes = [prefix.partition(NUMERIC_ONLY) for prefix in NonbreakingPrefixes().words(lang)]
    return Abbreviations(
        always=frozenset(word.strip() for word, mark, _ in prefixes if not mark),
        before_numbers=frozenset(word.strip() for word, mark, _ in prefixes if mark),
    )


def split_sentences(paragraph: str, lang: str) -> list[str]:
    """The sentences of a paragraph, white space in them made single spaces."""
    text = " ".join(paragraph.split())
    starts = [0, *_sentence_starts(text, abbreviations(lang)), len(text)]
    sentences = (text[i:j].strip() for i, j in pairwise(starts))
    return [sentence for sentence in sentences if sentence]


def _sentence_starts(text: str, known: Abbreviations) -> Iterator[int]:
    for end in END.finditer(text):
        start = end["start"]
        if not (start.isupper() or (start.isdigit() and end["stop"] == ".")):
            continue
        single_stop = end["stop"] == "." and not end["close"]
        if single_stop and not end["open"] and _is_abbreviated(text, end.start(), start, known):
            continue
        yield end.end()


def _is_abbreviated(text: str, stop: int, start: str, known: Abbreviations) -> bool:
    """Whether the full stop at a position belongs to the word before it."""
    found = WORD.search(text, max(0, stop - 40), stop)
    word = found[0] if found else ""
    if word in known.always or (start.isdigit() and word in known.before_numbers):
        return True
    return ACRONYM.search(word) is not None and word.rpartition(".")[2].isupper()
