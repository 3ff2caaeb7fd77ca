"""Draws what a verb takes: objects, people, places, prices."""

from . import english, german, numerals
from .drawing import PEOPLE, THINGS, Drawing
from .lexicon import Frame, Pair, Verb
from .phrases import Complement, Fixed, NounPhrase, Phrase, Pronoun
from .reference import HE, ME, SHE, WE, YOU


class Arguments(Drawing):
    """Draws complements."""

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
            pool = [(ME, 6.0), (WE, 3), (YOU, 2)] + (
                [(HE, 5), (SHE, 5)] if self.scope.pronouns else []
            )
            first, second = subject.person == 1, subject.person == 2
            banned = {1: first, 2: second, 3: subject.person == 3 and isinstance(subject, Pronoun)}
            allowed = [item for item in pool if not banned[item[0].person]]
            if allowed:
                return self.chance.weighted(allowed)
        if form == "name" and self.scope.people != "n":
            return self.name()
        return self.noun_phrase((self.chance.weighted(PEOPLE),), subject)

    def town(self) -> Pair:
        """in Berlin"""
        german_name, english_name = self._on_the_map("city")
        return f"in {german_name}", f"in {english_name}"

    def where(self, kinds: tuple[str, ...] = ()) -> Pair:
        """im Garten = in the garden; with kinds, one of these places"""
        form = (
            "noun"
            if kinds
            else self.chance.weighted([("noun", 60), ("city", 25), ("country", 5), ("adverb", 15)])
        )
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
