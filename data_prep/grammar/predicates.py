"""Draws clauses with sein: what somebody or something is like, how old, or where."""

from dataclasses import replace

from . import numerals
from .clauses import Clauses
from .drawing import THINGS
from .lexicon import Adjective, Pair
from .phrases import Adverbial, Clause, Name, NounPhrase, Phrase, Predicate, Tense

_TOPICS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("human",), 45),
    (THINGS, 35),
    (("place", "idea", "event"), 20),
)


class Predicates(Clauses):
    """Draws clauses with sein."""

    def being(self, when: str, subject: Phrase | None = None) -> Clause:
        """Das Haus ist alt, war sehr teuer, ist größer als ...; jemand ist Ärztin, zu Hause."""
        chance = self.chance
        if subject is None:
            subject = self._topic(chance.pick(chance.weighted(_TOPICS)))
        tense = {"past": Tense.PAST, "future": Tense.FUTURE}.get(when, Tense.PRESENT)
        negation = "not" if chance.maybe(0.15) else ""
        predicate = self._predicate(subject, negation)
        adverbials: tuple[Adverbial, ...] = ()
        if tense is Tense.PAST and not predicate.than and chance.maybe(0.25):
            adverbials = self._time(chance.common(self.lexicon.adverbs["past"]))
        drawn = Clause(
            subject, predicate=predicate, tense=tense, negation=negation, adverbials=adverbials
        )
        return replace(drawn, front="time" if adverbials and chance.maybe(0.4) else "subject")

    def _topic(self, kind: str) -> Phrase:
        if kind == "human":
            person = self.person()
            if isinstance(person, NounPhrase) and person.determiner in ("indef", "count"):
                return replace(person, determiner="def")
            return person
        return self.noun_phrase((kind,), plural=0.0 if kind == "place" else 0.18, definite=True)

    def _predicate(self, subject: Phrase, negation: str) -> Predicate:
        chance = self.chance
        human = not isinstance(subject, NounPhrase) or subject.noun.human
        if human and chance.maybe(0.15):
            return Predicate(place=self.where())
        named = isinstance(subject, Name) and subject.number == "sg"
        if named and not negation and chance.maybe(0.2):
            number = chance.between(18, 99)
            years = (
                f"{numerals.german_number(number)} Jahre alt",
                f"{numerals.english_number(number)} years old",
            )
            return Predicate(place=years)
        adjective = self.adjective_for(subject)
        if adjective.german_comparative and not negation and chance.maybe(0.2):
            return Predicate(adjective, self._comparable(subject), as_than=chance.maybe(0.35))
        degrees: list[Pair] = [("sehr", "very"), ("ziemlich", "quite")]
        if adjective.kind in ("common", "thing", "vehicle"):
            degrees.insert(1, ("zu", "too"))
        gradable = bool(adjective.german_comparative)
        degree = chance.common(degrees) if gradable and chance.maybe(0.3) else None
        if negation and degree and degree[0] == "ziemlich":
            degree = None
        return Predicate(adjective, degree=degree)

    def adjective_for(self, subject: Phrase) -> Adjective:
        if isinstance(subject, NounPhrase):
            return self.adjective(subject.noun)
        return self.chance.common(self.lexicon.adjectives["person"])

    def _comparable(self, subject: Phrase) -> Phrase:
        if not isinstance(subject, NounPhrase):
            return self.name()
        return self.noun_phrase((subject.noun.kind,), heavy=False, plural=0.0, definite=True)
