"""Draws clauses at random: a verb, what it takes, when, how and where."""

from dataclasses import dataclass, replace

from . import numerals
from .drawing import THINGS, Drawing
from .lexicon import Adjective, Frame, Pair, Verb
from .phrases import (
    Adverbial,
    Clause,
    Complement,
    Name,
    NounPhrase,
    Phrase,
    Predicate,
    Pronoun,
    Relative,
    Tense,
)

_NEW_YEAR, _LAST_YEAR = 1901, 2019
_UNITS = (("Tagen", "days"), ("Wochen", "weeks"), ("Jahren", "years"), ("Monaten", "months"))


@dataclass(frozen=True)
class Setting:
    """When something is said to happen, in the grammar of both languages."""

    tense: Tense
    adverbials: tuple[Adverbial, ...] = ()
    progressive: bool = False
    negation: str = ""


class Clauses(Drawing):
    """Draws whole clauses."""

    def clause(
        self,
        when: str = "",
        subject: Phrase | None = None,
        verb: Verb | None = None,
        extras: bool = True,
        relatives: bool = True,
    ) -> Clause:
        """`when`: past, present, future, or drawn; `extras`: adverbs of manner and place."""
        verb = verb or self.verb_for(subject)
        subject = subject or self.subject(verb.subjects)
        when = when or self.chance.weighted([("past", 48), ("present", 32), ("future", 20)])
        complements = self.complements(verb, subject)
        modal = self._modal(verb, subject, when)
        if modal:
            setting = self._modal_setting(modal, when)
        else:
            setting = self._setting(verb, subject, when)
        if not self._may_negate(setting, complements):
            setting = replace(setting, negation="")
        adverbials = setting.adverbials
        if extras and not setting.negation:
            adverbials += self._extras(verb, subject, complements)
        drawn = Clause(
            subject,
            verb,
            complements,
            adverbials=adverbials,
            tense=setting.tense,
            modal=modal,
            negation=setting.negation,
            progressive=setting.progressive,
        )
        if relatives and not setting.negation and self.chance.maybe(0.2):
            drawn = self._with_relative(drawn)
        return replace(drawn, front=self._front(drawn))

    def verb_for(self, subject: Phrase | None) -> Verb:
        """Any verb, or one that this subject can be the subject of."""
        while True:
            verb = self.chance.common(self.lexicon.verbs)
            if subject is None or _fits(subject, verb.subjects):
                return verb

    # Time

    def _setting(self, verb: Verb, subject: Phrase, when: str) -> Setting:
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
        adverbials = ()
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

    # Modal verbs

    def _modal(self, verb: Verb, subject: Phrase, when: str) -> str:
        willing = verb.subjects[0] == "human" and not {"state", "swap"} & verb.flags
        if not willing or not self.chance.maybe(0.2):
            return ""
        if when == "past":
            return self.chance.weighted([("can", 30), ("must", 40), ("want", 40), ("may", 15)])
        return self.chance.weighted(
            [("can", 25), ("must", 30), ("want", 25), ("may", 12), ("should", 12)]
            + [("would like", 20), ("gladly", 15)]
        )

    def _modal_setting(self, modal: str, when: str) -> Setting:
        negation = "not" if self.chance.maybe(0.2) else ""
        if when == "past":
            adverbials = self._time(self.past_time()) if self.chance.maybe(0.35) else ()
            return Setting(Tense.PAST, adverbials, negation=negation)
        later = when == "future" and modal != "gladly"
        adverbials = self._time(self.future_time()) if later else ()
        return Setting(Tense.PRESENT, adverbials, negation=negation)

    @staticmethod
    def _may_negate(setting: Setting, complements: tuple[Complement, ...]) -> bool:
        """Each, these three and the like do not go well with not."""
        awkward = ("jed", "count")
        phrases = [c.phrase for c in complements if isinstance(c.phrase, NounPhrase)]
        return not any(phrase.determiner in awkward for phrase in phrases)

    # Manner, place, relative clauses, word order

    def _extras(
        self, verb: Verb, subject: Phrase, complements: tuple[Complement, ...]
    ) -> tuple[Adverbial, ...]:
        drawn: list[Adverbial] = []
        if {"city"} & {kind for frame in verb.frames for kind in frame.kinds}:
            if verb.german.infinitive == "fahren" and self.chance.maybe(0.45):
                drawn.append(Adverbial("manner", self._transport()))
        elif verb.subjects == ("human",) and "state" not in verb.flags and self.chance.maybe(0.1):
            drawn.append(Adverbial("manner", self.chance.common(self.lexicon.adverbs["manner"])))
        if "place" in verb.flags and self.chance.maybe(0.25):
            drawn.append(Adverbial("place", self.where()))
        return tuple(drawn)

    def _transport(self) -> Pair:
        nouns = self.lexicon.nouns_of(("vehicle",))
        noun = self.chance.common([noun for noun in nouns if self.scope.admits(noun)] or nouns)
        article = "der" if noun.gender == "f" else "dem"
        return f"mit {article} {noun.german}", f"by {noun.english}"

    def _front(self, drawn: Clause) -> str:
        """Mostly the subject; an adverbial or an object otherwise."""
        kinds = {adverbial.kind for adverbial in drawn.adverbials}
        gerade = any(a.words[0] == "gerade" for a in drawn.adverbials)
        if "time" in kinds and not gerade and self.chance.maybe(0.4):
            return "time"
        if "place" in kinds and self.chance.maybe(0.15):
            return "place"
        if not drawn.negation and not drawn.swapped and self.chance.maybe(0.12):
            objects = [c.phrase for c in drawn.complements if _plain_object(c)]
            if objects and not isinstance(objects[0], Pronoun) and clear(drawn.subject, objects[0]):
                return "object"
        return "subject"

    def _with_relative(self, drawn: Clause) -> Clause:
        """With a relative clause on the subject or, when nothing follows it, the object."""
        if isinstance(drawn.subject, NounPhrase) and _bare(drawn.subject):
            return replace(drawn, subject=self.with_relative(drawn.subject))
        if not drawn.complements or drawn.adverbials or drawn.swapped:
            return drawn
        last = drawn.complements[-1]
        if not isinstance(last.phrase, NounPhrase) or not _bare(last.phrase):
            return drawn
        new = Complement(last.frame, self.with_relative(last.phrase))
        return replace(drawn, complements=(*drawn.complements[:-1], new))

    def with_relative(self, phrase: NounPhrase) -> NounPhrase:
        """The phrase with a clause about it."""
        for _ in range(20):
            verb = self.chance.common(self.lexicon.verbs)
            role = self.chance.pick(("subject", "object"))
            if "swap" in verb.flags:
                continue
            when = "past" if self.chance.maybe(0.7) else "present"
            if role == "subject" and _fits(phrase, verb.subjects):
                subject = Relative(phrase)
                inner = self.clause(when, subject, verb, extras=False, relatives=False)
                return replace(phrase, relative=_unhurried(inner, when))
            frame = next((f for f in verb.frames if f.case in ("acc", "dat")), None)
            if role == "object" and frame and _fits(phrase, frame.kinds):
                return replace(phrase, relative=self._object_relative(phrase, verb, frame, when))
        return phrase

    def _object_relative(
        self, phrase: NounPhrase, verb: Verb, frame: Frame, when: str
    ) -> Clause:
        subject = self.person()
        inner = self.clause(when, subject, verb, extras=False, relatives=False)
        others = tuple(c for c in inner.complements if c.frame is not frame)
        gap = Complement(frame, Relative(phrase))
        negation = "" if inner.negation in ("not", "not yet") else inner.negation
        inner = replace(inner, complements=(gap, *others), negation=negation)
        return _unhurried(inner, when)

    # To be

    def being(self, when: str, subject: Phrase | None = None) -> Clause:
        """Das Haus ist alt, war sehr teuer, ist größer als ...; jemand ist Ärztin, zu Hause."""
        chance = self.chance
        if subject is None:
            kinds = chance.weighted([(("human",), 45), (THINGS, 35), (("place", "idea", "event"), 20)])
            subject = self._topic(chance.pick(kinds))
        tense = {"past": Tense.PAST, "future": Tense.FUTURE}.get(when, Tense.PRESENT)
        negation = "not" if chance.maybe(0.15) else ""
        predicate = self._predicate(subject, negation)
        adverbials = ()
        if tense is Tense.PAST and not predicate.than and chance.maybe(0.25):
            adverbials = self._time(chance.common(self.lexicon.adverbs["past"]))
        drawn = Clause(
            subject, predicate=predicate, tense=tense, negation=negation, adverbials=adverbials
        )
        return replace(drawn, front="time" if adverbials and chance.maybe(0.4) else "subject")

    def _topic(self, kind: str) -> Phrase:
        if kind == "human":
            return self.person()
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
            than = self._comparable(subject)
            if than is not None:
                return Predicate(adjective, than, as_than=chance.maybe(0.35))
        degrees: list[Pair] = [("sehr", "very"), ("ziemlich", "quite")]
        if adjective.kind in ("common", "thing", "vehicle"):
            degrees.insert(1, ("zu", "too"))
        gradable = bool(adjective.german_comparative)
        degree = chance.common(degrees) if gradable and chance.maybe(0.3) else None
        return Predicate(adjective, degree=degree)

    def adjective_for(self, subject: Phrase) -> Adjective:
        if isinstance(subject, NounPhrase):
            return self.adjective(subject.noun)
        return self.chance.common(self.lexicon.adjectives["person"])

    def _comparable(self, subject: Phrase) -> Phrase | None:
        if not isinstance(subject, NounPhrase):
            return self.person(exclude=subject) if subject.person == 3 else self.name()
        return self.noun_phrase((subject.noun.kind,), heavy=False, plural=0.0, definite=True)


def _fits(phrase: Phrase, kinds: tuple[str, ...]) -> bool:
    """Whether the phrase belongs to one of the kinds."""
    match phrase:
        case Relative():
            return _fits(phrase.antecedent, kinds)
        case NounPhrase(noun=noun) if not noun.human:
            return noun.kind in kinds or ("any" in kinds and noun.kind in THINGS)
        case NounPhrase() | Name() | Pronoun():
            return "human" in kinds or "any" in kinds
    return False


def _unhurried(said: Clause, when: str) -> Clause:
    """In the present, a relative clause names no time."""
    return replace(said, adverbials=()) if when == "present" else said


def _bare(phrase: NounPhrase) -> bool:
    return phrase.possessor is None and phrase.determiner in ("def", "indef") and not phrase.relative


def _plain_object(complement: Complement) -> bool:
    return complement.frame.case == "acc" and not complement.frame.german_preposition


def clear(subject: Phrase, fronted: Phrase) -> bool:
    """Whether case or number shows that the fronted object is not the subject."""
    if isinstance(subject, Pronoun) and (subject.gender, subject.number) != ("f", "sg"):
        return subject.number == "sg" or subject.person != 3
    if isinstance(subject, NounPhrase) and _shows_case(subject):
        return True
    return isinstance(fronted, NounPhrase) and _shows_case(fronted)


def _shows_case(phrase: NounPhrase) -> bool:
    return phrase.agreement == "m" and not phrase.possessor and phrase.determiner != "none"
