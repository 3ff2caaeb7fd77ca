"""Draws phrases and clauses at random, within the limits of a scope."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import english, german, numerals
from .chance import Chance
from .lexicon import Adjective, Frame, Lexicon, Noun, Pair, Verb
from .phrases import (
    Complement,
    Fixed,
    Name,
    NounPhrase,
    Owner,
    Phrase,
    Pronoun,
    Relative,
)

I = Pronoun(1)
YOU = Pronoun(2)
WE = Pronoun(1, "pl")
THEY = Pronoun(3, "pl")
POLITE = Pronoun(2, polite=True)
HE = Pronoun(3, "sg", "m", "m")
SHE = Pronoun(3, "sg", "f", "f")

THINGS = ("thing", "garment", "furniture", "vehicle", "device", "text", "instrument")
_PEOPLE = (("person", 5.0), ("job", 5.0), ("family", 3.0))
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


class Unsayable(Exception):
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

    def person(self, exclude: Phrase | None = None) -> Phrase:
        chance = self.chance
        form = chance.weighted([("pronoun", 40), ("name", 25), ("noun", 35)])
        if form == "pronoun":
            pool = [(I, 30.0), (WE, 15), (YOU, 8)]
            if self.scope.pronouns:
                pool += [(HE, 15), (SHE, 15), (THEY, 8)]
            return chance.weighted([item for item in pool if item[0] != exclude])
        if form == "name" and (self.scope.people != "n"):
            return self.name()
        return self.noun_phrase((chance.weighted(_PEOPLE),))

    def name(self) -> Name:
        genders = [gender for gender in "fm" if gender in self.scope.people]
        if not genders:
            raise Unsayable
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
        raise Unsayable

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
        return self.chance.weighted([(I, 6.0), (WE, 3), (POLITE if polite else YOU, 2)])

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
        else:
            weights += [("jed", 1)]
        return self.chance.weighted(weights)

    def _adjectives(self, noun: Noun) -> tuple[Adjective, ...]:
        if not self.chance.maybe(0.3):
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
        return self.noun_phrase(("job",), heavy=False, plural=0.1)

    def _name_owner(self) -> Name:
        """A name that takes a plain s."""
        genders = [gender for gender in "fm" if gender in self.scope.people]
        if not genders:
            raise Unsayable
        gender = self.chance.pick(genders)
        names = self.lexicon.names["women" if gender == "f" else "men"]
        plain = [name for name in names if not name[0].endswith(("s", "x", "z"))]
        return Name(self.chance.common(plain), gender)

    # Complements

    def complements(self, verb: Verb, subject: Phrase) -> tuple[Complement, ...]:
        drawn = []
        for frame in verb.frames:
            if not frame.optional or self.chance.maybe(0.4):
                drawn.append(Complement(frame, self.argument(frame, subject)))
        return tuple(drawn)

    def argument(self, frame: Frame, subject: Phrase) -> Phrase:
        match frame.case:
            case "where":
                return Fixed(self.where())
            case "goal":
                return Fixed(self.goal("city" in frame.kinds))
            case "price":
                return Fixed(self._price())
            case "duration":
                return Fixed(self._duration())
        kind = self.chance.common(frame.kinds)
        if kind == "any":
            kind = "human" if self.chance.maybe(0.4) else self.chance.pick(THINGS)
        if kind == "human":
            return self._human_object(subject)
        return self.noun_phrase((kind,), subject, plural=0.0 if kind == "place" else 0.18)

    def _human_object(self, subject: Phrase) -> Phrase:
        form = self.chance.weighted([("pronoun", 25), ("name", 25), ("noun", 50)])
        if form == "pronoun":
            pool = [(I, 6.0), (WE, 3), (YOU, 2)] + ([(HE, 5), (SHE, 5)] if self.scope.pronouns else [])
            first, second = subject.person == 1, subject.person == 2
            banned = {1: first, 2: second, 3: subject.person == 3 and isinstance(subject, Pronoun)}
            allowed = [item for item in pool if not banned[item[0].person]]
            if allowed:
                return self.chance.weighted(allowed)
        if form == "name" and self.scope.people != "n":
            return self.name()
        return self.noun_phrase((self.chance.weighted(_PEOPLE),), subject)

    def town(self) -> Pair:
        """in Berlin"""
        german_name, english_name = self._on_the_map("city")
        return f"in {german_name}", f"in {english_name}"

    def where(self, kinds: tuple[str, ...] = ()) -> Pair:
        """im Garten = in the garden; with kinds, one of these places"""
        form = "noun" if kinds else self.chance.weighted([("noun", 60), ("city", 25), ("country", 5), ("adverb", 15)])
        if form == "noun":
            place = self._place(kinds or ("place",))
            assert place.noun.where
            return self._at(place, place.noun.where, "dat")
        if form == "adverb":
            return self.chance.common(self.lexicon.adverbs["where"])
        there = self._on_the_map(form)
        return f"in {there[0].replace('die ', 'der ')}", f"in {there[1]}"

    def goal(self, far: bool) -> Pair:
        """in den Garten = into the garden; nach Berlin = to Berlin"""
        weights = [("noun", 15.0 if far else 75), ("city", 55 if far else 10), ("adverb", 15)]
        form = self.chance.weighted([*weights, ("country", 15 if far else 3)])
        if form == "noun":
            place = self._place(("place",))
            assert place.noun.goal
            return self._at(place, place.noun.goal, "dat" if place.noun.goal[0] == "zu" else "acc")
        if form == "adverb":
            return self.chance.common(self.lexicon.adverbs["goal"])
        there = self._on_the_map(form)
        return f"{'in' if there[0].startswith('die ') else 'nach'} {there[0]}", f"to {there[1]}"

    def _on_the_map(self, form: str) -> Pair:
        return self.chance.common(self.lexicon.names["cities" if form == "city" else "countries"])

    def _place(self, kinds: tuple[str, ...]) -> NounPhrase:
        noun, number = self.noun(kinds, 0.0)
        adjectives = self._adjectives(noun) if self.chance.maybe(0.5) else ()
        return NounPhrase(noun, number, "def", adjectives)

    @staticmethod
    def _at(place: NounPhrase, prepositions: Pair, case: str) -> Pair:
        words = german.prepositional(prepositions[0], place, case)
        return words, f"{prepositions[1]} {english.phrase(place, False)}"

    def _price(self) -> Pair:
        euros = self.chance.log_between(2, 20_000)
        return numerals.price(euros, self.chance.pick((0, 50, 99)) if euros < 100 else 0)

    def _duration(self) -> Pair:
        unit = self.chance.pick((("Stunden", "hours"), ("Minuten", "minutes"), ("Tage", "days")))
        number = self.chance.log_between(2, 60)
        return (
            f"{numerals.german_number(number)} {unit[0]}",
            f"{numerals.english_number(number)} {unit[1]}",
        )


def compound(first: Pair, noun: Noun) -> Noun:
    """Küchen + Lampe = kitchen lamp"""
    return replace(
        noun,
        german=first[0] + noun.german.lower(),
        german_plural=first[0] + noun.german_plural.lower() if noun.german_plural else "",
        english=f"{first[1]} {noun.english}",
        english_plural=f"{first[1]} {noun.english_plural}",
    )


def owner_of(phrase: Phrase) -> Owner | None:
    """Whose things `sein`, `ihr`, `mein` are when this is the subject; None where it is unclear."""
    match phrase:
        case Pronoun():
            return Owner(
                phrase.person, phrase.number, phrase.gender, phrase.english_gender, phrase.polite
            )
        case Name() if phrase.gender:
            return Owner(3, "sg", phrase.gender, phrase.gender)
        case NounPhrase(noun=noun) if phrase.number == "pl" and noun.human:
            return Owner(3, "pl", "", "")
        case NounPhrase(noun=noun) if noun.human and noun.gender != "n":
            return Owner(3, "sg", noun.gender, noun.gender)
        case Relative():
            return owner_of(phrase.antecedent)
    return None


def pronoun_for(phrase: Phrase) -> Pronoun | None:
    """The personal pronoun that takes up this phrase; None where it is unclear."""
    match phrase:
        case Pronoun():
            return phrase
        case Name() if phrase.number == "pl":
            return THEY
        case Name():
            return Pronoun(3, "sg", phrase.gender, phrase.gender)
        case NounPhrase() if phrase.number == "pl":
            return THEY
        case NounPhrase(noun=noun) if not noun.human:
            return Pronoun(3, "sg", noun.gender, "n")
        case NounPhrase(noun=noun) if noun.gender != "n":
            return Pronoun(3, "sg", noun.gender, noun.gender)
    return None

