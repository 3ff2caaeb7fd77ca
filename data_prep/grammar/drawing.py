"""Draws people and things at random, within the limits of a scope."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .chance import Chance
from .lexicon import Adjective, Lexicon, Noun, Pair
from .phrases import Name, NounPhrase, Phrase, Pronoun
from .reference import HE, ME, POLITE, SHE, THEY, WE, YOU, owner_of

THINGS = ("thing", "garment", "furniture", "vehicle", "device", "text", "instrument")
PEOPLE = (("person", 5.0), ("job", 5.0), ("family", 3.0))
_ONE_EACH = ("Vater", "Großvater", "Großmutter")
_COLOURED = ("vehicle", "furniture", "garment", "thing")
_ATTRIBUTES = {
    "person": ("person", "common"),
    "family": ("person",),
    "job": ("person", "common"),
    "animal": ("animal", "common"),
    "food": ("food",),
    "drink": ("food",),
    "text": ("idea", "common"),
    "vehicle": ("vehicle", "thing", "common"),
    "furniture": ("thing", "common"),
    "device": ("thing", "common"),
    "garment": ("thing", "common"),
    "thing": ("thing", "common"),
    "instrument": ("thing", "common"),
    "opening": ("common",),
    "idea": ("idea",),
    "event": ("idea",),
    "place": ("place", "common"),
    "company": ("common",),
}


class UnsayableError(Exception):
    """The scope leaves no word for what was wanted; draw something else."""


@dataclass(frozen=True)
class Scope:
    """What may be spoken of, so that a document can keep its references clear.

    `people` and `things` are the genders in which a single one may be mentioned; plurals always
    may. `pronouns`: whether er, sie and they may be used for people nobody has introduced.
    """

    people: str = "mfn"
    things: str = "mfn"
    pronouns: bool = True

    def admits(self, noun: Noun) -> bool:
        return noun.gender in (self.people if noun.human else self.things)


class Drawing:
    """One speaker's choices."""

    def __init__(self, lexicon: Lexicon, chance: Chance, scope: Scope | None = None) -> None:
        self.lexicon = lexicon
        self.chance = chance
        self.scope = scope or Scope()

    # People

    def subject(self, kinds: Sequence[str]) -> Phrase:
        """A subject of one of the kinds; `human` comes as pronoun, name or noun."""
        kind = self.chance.common(kinds)
        if kind in ("human", "any"):
            return self.person()
        return self.noun_phrase((kind,), plural=0.0 if kind == "place" else 0.18)

    def person(self) -> Phrase:
        chance = self.chance
        form = chance.weighted([("pronoun", 40), ("name", 25), ("noun", 35)])
        if form == "pronoun":
            pool = [(ME, 30.0), (WE, 15), (YOU, 8)]
            if self.scope.pronouns:
                pool += [(HE, 15), (SHE, 15), (THEY, 8)]
            return chance.weighted(pool)
        if form == "name" and (self.scope.people != "n"):
            return self.name()
        return self.noun_phrase((chance.weighted(PEOPLE),))

    def name(self) -> Name:
        genders = [gender for gender in "fm" if gender in self.scope.people]
        if not genders:
            raise UnsayableError
        gender = self.chance.pick(genders)
        if self.chance.maybe(0.25):
            surname = self.chance.common(self.lexicon.names["surnames"])
            title = ("Frau", "Ms") if gender == "f" else ("Herr", "Mr")
            return Name(surname, gender, title)
        first = self.chance.common(self.lexicon.names["women" if gender == "f" else "men"])
        if len(genders) == 2 and self.chance.maybe(0.1):
            other = self.chance.common(self.lexicon.names["men" if gender == "f" else "women"])
            both = (f"{first[0]} und {other[0]}", f"{first[1]} and {other[1]}")
            return Name(both, "", number="pl")
        return Name(first, gender)

    # Nouns

    def noun(self, kinds: tuple[str, ...], plural: float) -> tuple[Noun, str]:
        """A noun with a number that the scope admits; `plural` is the share of plurals."""
        nouns = self.lexicon.nouns_of(kinds)
        for _ in range(12):
            noun = self.chance.common(nouns)
            single = not noun.german_plural or noun.german in _ONE_EACH
            many = not single and self.chance.maybe(plural)
            if many or self.scope.admits(noun):
                return self._compound(noun), "pl" if many else "sg"
            if not single and plural and self.chance.maybe(0.5):
                return noun, "pl"
        raise UnsayableError

    def _compound(self, noun: Noun) -> Noun:
        """Now and then joined with a first part: Küchenlampe = kitchen lamp."""
        if not self.chance.maybe(0.08):
            return noun
        groups = self.lexicon.groups
        lists = [
            parts
            for kinds, parts in self.lexicon.compounds.items()
            if any(noun in groups[kind] for kind in kinds.split())
        ]
        if not lists:
            return noun
        return compound(self.chance.common(self.chance.pick(lists)), noun)

    def noun_phrase(
        self,
        kinds: tuple[str, ...],
        subject: Phrase | None = None,
        heavy: bool = True,
        plural: float = 0.18,
        definite: bool = False,
    ) -> NounPhrase:
        """`subject`: this is an object in a clause of that subject; `heavy`: may take adjectives,
        a possessor or a relative clause."""
        noun, number = self.noun(kinds, plural)
        determiner = self._determiner(noun, number, subject is not None)
        if definite and determiner in ("indef", "count", "jed"):
            determiner = "def"
        owner = None
        possessor: Phrase | None = None
        if determiner == "poss":
            owner = owner_of(subject) if subject is not None and self.chance.maybe(0.7) else None
            owner = owner or owner_of(self._speaker(subject))
            if noun.kind == "family" and self.chance.maybe(0.2):
                possessor, owner, determiner = self._name_owner(), None, "def"
        elif determiner == "def" and not noun.human and heavy and self.chance.maybe(0.07):
            possessor = self._possessor()
        count = 0
        if determiner == "count":
            count = self.chance.log_between(2, 99)
        adjectives = self._adjectives(noun) if heavy else ()
        digits = count > 12 and self.chance.maybe(0.5)
        return NounPhrase(noun, number, determiner, adjectives, owner, possessor, count, digits)

    def _speaker(self, subject: Phrase | None) -> Phrase:
        """Whose thing it is if not the subject's: mine, ours, or that of who is spoken to."""
        polite = isinstance(subject, Pronoun) and subject.polite
        return self.chance.weighted([(ME, 6.0), (WE, 3), (POLITE if polite else YOU, 2)])

    def _determiner(self, noun: Noun, number: str, is_object: bool) -> str:
        if noun.kind == "family":
            return "poss"
        if not noun.german_plural:
            return self.chance.weighted([("none", 6), ("def", 4), ("poss", 1)])
        owned = 12 if noun.kind in (*THINGS, "person", "animal", "food", "drink") else 3
        own = 0 if noun.german in ("Mann", "Frau") else owned  # mein Mann is my husband
        bare = 0 if noun.human and number == "pl" else 32 if is_object else 12
        weights = [("def", 50.0), ("indef", bare), ("dies", 6), ("poss", own)]
        if number == "pl":
            weights.append(("count", 14))
        elif not is_object:
            weights.append(("jed", 2))
        return self.chance.weighted(weights)

    def _adjectives(self, noun: Noun) -> tuple[Adjective, ...]:
        if not self.chance.maybe(0.37):
            return ()
        first = self.adjective(noun)
        if noun.kind in _COLOURED and self.chance.maybe(0.15):
            return (first, self.chance.common(self.lexicon.adjectives["colour"]))
        return (first,)

    def adjective(self, noun: Noun) -> Adjective:
        kinds = _ATTRIBUTES[noun.kind]
        kind = self.chance.pick(kinds)
        return self.chance.common(self.lexicon.adjectives[kind])

    def _possessor(self) -> Phrase:
        if self.chance.maybe(0.5):
            return self._name_owner()
        return self.noun_phrase(("job",), heavy=False, plural=0.1, definite=True)

    def _name_owner(self) -> Name:
        """A name that takes a plain s."""
        genders = [gender for gender in "fm" if gender in self.scope.people]
        if not genders:
            raise UnsayableError
        gender = self.chance.pick(genders)
        names = self.lexicon.names["women" if gender == "f" else "men"]
        plain = [name for name in names if not name[0].endswith(("s", "x", "z"))]
        return Name(self.chance.common(plain), gender)


def compound(first: Pair, noun: Noun) -> Noun:
    """Küchen + Lampe = kitchen lamp"""
    return replace(
        noun,
        german=first[0] + noun.german.lower(),
        german_plural=first[0] + noun.german_plural.lower() if noun.german_plural else "",
        english=f"{first[1]} {noun.english}",
        english_plural=f"{first[1]} {noun.english_plural}",
    )
