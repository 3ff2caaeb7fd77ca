"""Draws when something happens, and the tense, modal verb and negation that go with it."""

from dataclasses import dataclass

from . import numerals
from .arguments import Arguments
from .lexicon import Pair, Verb
from .phrases import Adverbial, Phrase, Pronoun, Tense

_NEW_YEAR, _LAST_YEAR = 1901, 2019
_UNITS = (("Tagen", "days"), ("Wochen", "weeks"), ("Jahren", "years"), ("Monaten", "months"))
_PAST_MODALS = (("can", 30.0), ("must", 40), ("want", 40), ("may", 15))
_MODALS = (
    ("can", 25.0),
    ("must", 30),
    ("want", 25),
    ("may", 12),
    ("should", 12),
    ("would like", 20),
    ("gladly", 15),
)


@dataclass(frozen=True)
class Setting:
    """When something is said to happen, in the grammar of both languages."""

    tense: Tense
    adverbials: tuple[Adverbial, ...] = ()
    progressive: bool = False
    negation: str = ""
    modal: str = ""


class Settings(Arguments):
    """Draws settings."""

    def setting(self, verb: Verb, subject: Phrase, when: str) -> Setting:
        """`when`: past, present, future; lasting states have no future."""
        willing = verb.subjects[0] == "human" and not {"state", "swap"} & verb.flags
        if willing and self.chance.maybe(0.2):
            return self._modal(when, "point" in verb.flags)
        return self.simple_setting(verb, subject, when)

    def simple_setting(self, verb: Verb, subject: Phrase, when: str) -> Setting:
        """Without a modal verb."""
        state = "state" in verb.flags
        if when == "past":
            return self._past(subject, state)
        if when == "present" or state:
            return self._present(state or "point" in verb.flags)
        negation = "not" if self.chance.maybe(0.1) else ""
        if self.chance.maybe(0.5):
            return Setting(Tense.GOING, self._time(self.future_time()), negation=negation)
        adverbials = self._time(self.future_time()) if self.chance.maybe(0.5) else ()
        return Setting(Tense.FUTURE, adverbials, negation=negation)

    def _past(self, subject: Phrase, state: bool) -> Setting:
        third = subject.person == 3 and not isinstance(subject, Pronoun)
        if third and self.chance.maybe(0.25):
            return Setting(Tense.PRETERITE, self._time(self._date_of_old()))
        if not state and self.chance.maybe(0.15):
            return Setting(Tense.PERFECT, negation=self.chance.pick(("", "not yet", "never")))
        adverbials: tuple[Adverbial, ...] = ()
        if self.chance.maybe(0.3 if state else 0.65):
            adverbials = self._time(("damals", "at that time") if state else self.past_time())
        negation = "not" if self.chance.maybe(0.13) else ""
        return Setting(Tense.PAST, adverbials, negation=negation)

    def _present(self, simple: bool) -> Setting:
        if simple:
            return Setting(Tense.PRESENT, negation="not" if self.chance.maybe(0.2) else "")
        form = self.chance.weighted([("habit", 25), ("frequency", 25), ("now", 15), ("", 35)])
        if form == "frequency":
            adverb = self.chance.common(self.lexicon.adverbs["frequency"])
            return Setting(Tense.PRESENT, (Adverbial("frequency", adverb),))
        if form:
            adverbials = self._time(self.chance.common(self.lexicon.adverbs[form]))
            return Setting(Tense.PRESENT, adverbials, progressive=form == "now")
        negation = "not" if self.chance.maybe(0.15) else ""
        return Setting(Tense.PRESENT, progressive=True, negation=negation)

    def _modal(self, when: str, point: bool) -> Setting:
        negation = "not" if self.chance.maybe(0.2) else ""
        if when == "past":
            modal = self.chance.weighted(_PAST_MODALS)
            adverbials = self._time(self.past_time()) if self.chance.maybe(0.35) else ()
            return Setting(Tense.PAST, adverbials, negation=negation, modal=modal)
        modal = self.chance.weighted(_MODALS[:-1] if point else _MODALS)  # gern, not on a sudden
        later = when == "future" and modal != "gladly"
        adverbials = self._time(self.future_time()) if later else ()
        return Setting(Tense.PRESENT, adverbials, negation=negation, modal=modal)

    @staticmethod
    def _time(words: Pair) -> tuple[Adverbial, ...]:
        return (Adverbial("time", words),)

    def past_time(self) -> Pair:
        form = self.chance.weighted([("word", 60), ("ago", 20), ("clock", 20)])
        if form == "word":
            return self.chance.common(self.lexicon.adverbs["past"])
        if form == "clock":
            return self._appointment()
        unit = self.chance.common(_UNITS)
        number = self.chance.log_between(2, 30)
        return (
            f"vor {numerals.german_number(number)} {unit[0]}",
            f"{numerals.english_number(number)} {unit[1]} ago",
        )

    def future_time(self) -> Pair:
        if self.chance.maybe(0.7):
            return self.chance.common(self.lexicon.adverbs["future"])
        return self._appointment()

    def _appointment(self) -> Pair:
        """A weekday, a date or a time of day, with no say on past or future."""
        form = self.chance.weighted([("weekday", 45), ("clock", 35), ("date", 20)])
        german, english = self.chance.pick(numerals.WEEKDAYS)
        time = numerals.clock(self.chance.between(1, 12), self.chance.pick((0, 0, 15, 30, 45)))
        if form == "weekday":
            return f"am {german}", f"on {english}"
        if form == "date":
            return numerals.date(self.chance.between(1, 28), self.chance.below(12))
        if self.chance.maybe(0.3):
            return f"am {german} {time[0]}", f"{time[1]} on {english}"
        return time

    def _date_of_old(self) -> Pair:
        year = self.chance.between(_NEW_YEAR, _LAST_YEAR)
        if self.chance.maybe(0.7):
            return f"im Jahr {year}", f"in {year}"
        german, english = numerals.date(self.chance.between(1, 28), self.chance.below(12))
        return f"{german} {year}", f"{english} {year}"
