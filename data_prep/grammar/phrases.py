"""Meanings: what a sentence says, before it is said in either language."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .lexicon import Adjective, Frame, Noun, Pair, Verb


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun: German gender for agreement, English gender (m, f, n) by meaning."""

    person: int
    number: str = "sg"
    gender: str = ""
    english_gender: str = ""
    polite: bool = False


@dataclass(frozen=True)
class Name:
    """A proper name; `title` is `Herr`/`Mr` and the like."""

    words: Pair
    gender: str
    title: Pair = ("", "")
    person: int = 3
    number: str = "sg"


@dataclass(frozen=True)
class Interrogative:
    """wer, wen, wem = who; was = what."""

    human: bool
    person: int = 3
    number: str = "sg"


@dataclass(frozen=True)
class Relative:
    """The relative pronoun that stands for `antecedent` in its clause."""

    antecedent: NounPhrase

    person = 3

    @property
    def number(self) -> str:
        return self.antecedent.number


@dataclass(frozen=True)
class Owner:
    """Features of a possessor, for mein/my to Ihr/your."""

    person: int
    number: str
    gender: str  # German
    english_gender: str
    polite: bool = False


@dataclass(frozen=True)
class NounPhrase:
    """`determiner`: def, indef, none, dies, jed, welch, poss, count."""

    noun: Noun
    number: str = "sg"
    determiner: str = "def"
    adjectives: tuple[Adjective, ...] = ()
    owner: Owner | None = None
    possessor: Phrase | None = None  # a name before the noun, another noun in the genitive after it
    count: int = 0
    digits: bool = False
    relative: Clause | None = None

    person = 3

    @property
    def agreement(self) -> str:
        return "pl" if self.number == "pl" else self.noun.gender

    @property
    def indefinite(self) -> bool:
        """Whether its negation is kein."""
        return self.determiner in ("indef", "none")


@dataclass(frozen=True)
class Fixed:
    """Words that do not inflect, such as `45 Euro`."""

    words: Pair
    person: int = 3
    number: str = "sg"


Phrase = Pronoun | Name | Interrogative | Relative | NounPhrase | Fixed


@dataclass(frozen=True)
class Complement:
    """A phrase in the slot that the verb's frame gives it."""

    frame: Frame
    phrase: Phrase

    @property
    def plain(self) -> bool:
        """Whether this is the direct object, which alone kein can negate."""
        return self.frame.case == "acc" and not self.frame.german_preposition


@dataclass(frozen=True)
class Adverbial:
    """`kind`: time, frequency, manner, place."""

    kind: str
    words: Pair


class Tense(Enum):
    """PAST is said with the perfect in German and PERFECT (schon) in both."""

    PRESENT = "present"
    PAST = "past"
    PRETERITE = "preterite"
    PERFECT = "perfect"
    FUTURE = "future"
    GOING = "going"  # German present, English will: Morgen fahre ich = Tomorrow I will travel


@dataclass(frozen=True)
class Clause:
    """One finite clause; `front` names what stands before the German verb.

    `front`: subject, object, question, or the kind of an adverbial. `progressive` is how English
    says the present. `negation`: empty, not, not yet, never. `modal`: can, must, want, may, should,
    would like, gladly (gern).
    """

    subject: Phrase
    verb: Verb | None = None  # None: sein
    complements: tuple[Complement, ...] = ()
    predicate: Predicate | None = None
    adverbials: tuple[Adverbial, ...] = ()
    tense: Tense = Tense.PRESENT
    modal: str = ""
    negation: str = ""
    front: str = "subject"
    progressive: bool = False
    passive: bool = False
    question: Pair | None = None  # wann = when, in front

    @property
    def swapped(self) -> bool:
        return self.verb is not None and "swap" in self.verb.flags


@dataclass(frozen=True)
class Predicate:
    """What follows sein: an adjective, perhaps compared, a phrase in the nominative, a place."""

    adjective: Adjective | None = None
    than: Phrase | None = None  # älter als der Mann
    as_than: bool = False  # so alt wie der Mann
    phrase: Phrase | None = None
    place: Pair | None = None
    degree: Pair | None = None  # sehr = very
