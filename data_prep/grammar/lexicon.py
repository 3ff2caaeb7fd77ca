"""The words: tables/*.txt read into nouns, verbs, adjectives and fixed expressions."""

from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

from . import english_forms, german_forms

TABLES = Path(__file__).parent / "tables"

Pair = tuple[str, str]  # German, English

_CASES = ("acc", "dat", "where", "goal", "price", "duration")


@dataclass(frozen=True)
class Noun:
    """A noun; `plural` is empty for a mass noun, `gender` is one of m, f, n."""

    german: str
    gender: str
    german_plural: str
    english: str
    english_plural: str
    kind: str
    weak: bool = False
    where: Pair | None = None  # prepositions: im Garten = in the garden
    goal: Pair | None = None  # in den Garten = into the garden

    @property
    def human(self) -> bool:
        return self.kind in ("person", "family", "job")


@dataclass(frozen=True)
class Adjective:
    german: str
    english: str
    kind: str
    german_comparative: str = ""  # empty: has none
    english_comparative: str = ""


@dataclass(frozen=True)
class Frame:
    """What a verb may take: a case (acc, dat), a preposition with its case, a place or a goal."""

    case: str  # acc, dat, or a kind of fixed words: where, goal, price, duration
    german_preposition: str
    kinds: tuple[str, ...]
    english_preposition: str
    optional: bool


@dataclass(frozen=True)
class Verb:
    german: german_forms.VerbForms
    english: english_forms.VerbForms
    subjects: tuple[str, ...]
    frames: tuple[Frame, ...]
    flags: frozenset[str]

    @property
    def passive(self) -> bool:
        plain_object = any(f.case == "acc" and not f.german_preposition for f in self.frames)
        return plain_object and not self.flags & {"plain", "state", "point"}


@dataclass(frozen=True)
class Lexicon:
    """All tables; lists keep the order of the files, which is the order of frequency."""

    nouns: list[Noun]
    groups: dict[str, list[Noun]]
    verbs: list[Verb]
    special_verbs: list[Verb]  # never drawn, only used by name
    adjectives: dict[str, list[Adjective]]
    names: dict[str, list[Pair]]
    compounds: dict[str, list[Pair]]
    adverbs: dict[str, list[Pair]]
    frames: dict[str, list[Pair]]
    _by_kinds: dict[tuple[str, ...], list[Noun]] = field(default_factory=dict)

    def nouns_of(self, kinds: tuple[str, ...]) -> list[Noun]:
        """The nouns of these kinds, most frequent of each kind first."""
        if kinds not in self._by_kinds:
            lists = [self.groups[kind] for kind in kinds]
            longest = max(map(len, lists))
            mixed = [nouns[i] for i in range(longest) for nouns in lists if i < len(nouns)]
            self._by_kinds[kinds] = list(dict.fromkeys(mixed))
        return self._by_kinds[kinds]

    def verbs_with_object(self, kind: str) -> list[Verb]:
        """Verbs that take one thing of this kind, and nothing else."""
        return [
            verb
            for verb in self.verbs
            if len(verb.frames) == 1
            and verb.frames[0].case == "acc"
            and not verb.frames[0].german_preposition
            and kind in verb.frames[0].kinds
        ]

    @cached_property
    def verb_named(self) -> dict[str, Verb]:
        return {verb.german.citation: verb for verb in (*self.verbs, *self.special_verbs)}

    @cached_property
    def noun_named(self) -> dict[str, Noun]:
        return {noun.german: noun for noun in self.nouns}


@cache
def read_table(name: str) -> dict[str, list[str]]:
    """The lines of a table by section, without comments and empty lines."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in (TABLES / name).read_text(encoding="utf-8").split("\n"):
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
            sections[current] = []
        elif line and not line.startswith("#"):
            sections[current].append(line)
    return sections


def _halves(text: str, separator: str = "=") -> Pair:
    left, found, right = text.partition(separator)
    return left.strip(), right.strip() if found else left.strip()


def parse_noun(line: str, kind: str) -> Noun:
    """`der Garten, Gärten = garden, gardens : in, in = in, into`"""
    words, _, prepositions = line.partition(" : ")
    german, english = _halves(words)
    singular, _, plural = german.partition(", ")
    english_singular, _, english_plural = english.partition(", ")
    article, _, noun = singular.partition(" ")
    gender = {"der": "m", "die": "f", "das": "n"}[article]
    parsed = Noun(
        noun.rstrip("*"), gender, plural, english_singular, english_plural, kind, noun.endswith("*")
    )
    if not prepositions:
        return parsed
    german, english = _halves(prepositions)
    where, goal = zip(german.split(", "), english.split(", "), strict=True)
    return replace(parsed, where=where, goal=goal)


def _parse_adjective(line: str, kind: str) -> Adjective:
    """`alt, älter = old, older`; `wichtig, wichtiger = important`; `rot! = red`"""
    german, english = _halves(line)
    if german.endswith("!"):
        return Adjective(german[:-1], english, kind)
    positive, _, comparative = german.partition(", ")
    base, _, more = english.partition(", ")
    return Adjective(positive, base, kind, comparative, more or f"more {base}")


def _parse_frame(text: str) -> Frame:
    """`acc thing food`, `auf acc human = for`, `(dat human = to)`, `where`, `goal`"""
    optional = text.startswith("(")
    german, _, english = text.strip("()").partition(" = ")
    words = german.split()
    preposition = "" if words[0] in _CASES else words.pop(0)
    return Frame(words[0], preposition, tuple(words[1:]), english, optional)


def _parse_verb(line: str) -> Verb:
    forms, subjects, frames, flags = (part.strip() for part in line.split(" | "))
    german, english = _halves(forms)
    return Verb(
        german_forms.verb_forms(german),
        english_forms.verb_forms(english),
        tuple(subjects.split()),
        tuple(_parse_frame(part.strip()) for part in frames.split(";") if part.strip() != "-"),
        frozenset(flags.split()),
    )


def _read_nouns() -> tuple[list[Noun], dict[str, list[Noun]]]:
    sections = read_table("nouns.txt")
    narrower = dict(_halves(line, ":") for line in sections["groups"])
    groups = {
        kind: [parse_noun(line, kind) for line in lines]
        for kind, lines in sections.items()
        if kind not in ("", "groups")
    }
    nouns = [noun for group in groups.values() for noun in group]
    named = {noun.german: noun for noun in nouns}
    groups |= {kind: [named[word] for word in words.split()] for kind, words in narrower.items()}
    return nouns, groups


def load_lexicon() -> Lexicon:
    """Read all tables."""
    nouns, groups = _read_nouns()

    def pairs(table: str) -> dict[str, list[Pair]]:
        sections = read_table(table)
        return {section: [_halves(line) for line in sections[section]] for section in sections}

    verbs = read_table("verbs.txt")
    adjectives = read_table("adjectives.txt")
    return Lexicon(
        nouns,
        groups,
        [_parse_verb(line) for line in verbs[""]],
        [_parse_verb(line) for line in verbs["special"]],
        {kind: [_parse_adjective(line, kind) for line in adjectives[kind]] for kind in adjectives},
        pairs("names.txt"),
        pairs("compounds.txt"),
        pairs("adverbs.txt"),
        pairs("frames.txt"),
    )
