"""Draws clauses at random: a verb, what it takes, when, how and where."""

from dataclasses import replace

from .drawing import THINGS
from .lexicon import Frame, Verb
from .phrases import (
    Adverbial,
    Clause,
    Complement,
    Name,
    NounPhrase,
    Phrase,
    Pronoun,
    Relative,
    Tense,
)
from .saying import undated
from .settings import Settings


class Clauses(Settings):
    """Draws whole clauses."""

    def clause(
        self,
        when: str = "",
        subject: Phrase | None = None,
        verb: Verb | None = None,
        extras: bool = True,
        relatives: bool = True,
        complements: tuple[Complement, ...] | None = None,
    ) -> Clause:
        """`when`: past, present, future, or drawn; `extras`: adverbs of manner and place;
        `complements`: what the verb takes, unless it is to be drawn."""
        verb = verb or self.verb_for(subject)
        subject = subject or self.subject(verb.subjects)
        when = when or self.chance.weighted([("past", 48), ("present", 32), ("future", 20)])
        if complements is None:
            complements = self.complements(verb, subject)
        setting = self.setting(verb, subject, when)
        if not self.may_negate(subject, complements):
            setting = replace(setting, negation="")
        adverbials = setting.adverbials
        if extras and not setting.negation and setting.tense is not Tense.PERFECT:
            adverbials += self._extras(verb)
        drawn = Clause(
            subject,
            verb,
            complements,
            adverbials=adverbials,
            tense=setting.tense,
            modal=setting.modal,
            negation=setting.negation,
            progressive=setting.progressive,
        )
        if relatives and not setting.negation and self.chance.maybe(0.25):
            drawn = self._with_relative(drawn)
        return replace(drawn, front=self.front(drawn))

    def verb_for(self, subject: Phrase | None) -> Verb:
        """Any verb, or one that this subject can be the subject of."""
        while True:
            verb = self.chance.common(self.lexicon.verbs)
            if subject is None or fits(subject, verb.subjects):
                return verb

    @staticmethod
    def may_negate(subject: Phrase, complements: tuple[Complement, ...]) -> bool:
        """Everyone and exact numbers do not go well with not."""
        phrases = [subject, *(complement.phrase for complement in complements)]
        return not any(
            isinstance(phrase, NounPhrase) and phrase.determiner in ("jed", "count")
            for phrase in phrases
        )

    def _extras(self, verb: Verb) -> tuple[Adverbial, ...]:
        """Manner and place."""
        drawn: list[Adverbial] = []
        if {"city"} & {kind for frame in verb.frames for kind in frame.kinds}:
            if verb.german.infinitive == "fahren" and self.chance.maybe(0.45):
                drawn += self._transport()
        elif _deliberate(verb) and self.chance.maybe(0.1):
            drawn.append(Adverbial("manner", self.chance.common(self.lexicon.adverbs["manner"])))
        if "place" in verb.flags and self.chance.maybe(0.25):
            drawn.append(Adverbial("place", self.where()))
        return tuple(drawn)

    def _transport(self) -> list[Adverbial]:
        vehicles = self.lexicon.nouns_of(("vehicle",))
        nouns = [noun for noun in vehicles if self.scope.admits(noun)]
        if not nouns:
            return []
        noun = self.chance.common(nouns)
        article = "der" if noun.gender == "f" else "dem"
        return [Adverbial("manner", (f"mit {article} {noun.german}", f"by {noun.english}"))]

    def front(self, drawn: Clause) -> str:
        """Mostly the subject; an adverbial or an object otherwise."""
        kinds = {adverbial.kind for adverbial in drawn.adverbials}
        gerade = any(a.words[0] == "gerade" for a in drawn.adverbials)
        if "time" in kinds and not gerade and self.chance.maybe(0.4):
            return "time"
        if "place" in kinds and self.chance.maybe(0.15):
            return "place"
        if not drawn.negation and not drawn.swapped and self.chance.maybe(0.12):
            objects = [c.phrase for c in drawn.complements if c.plain]
            if objects and _may_lead(objects[0]) and clear(drawn.subject, objects[0]):
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
            if role == "subject" and fits(phrase, verb.subjects):
                subject = Relative(phrase)
                inner = self.clause(when, subject, verb, extras=False, relatives=False)
                return replace(phrase, relative=_unhurried(inner, when))
            frame = next((f for f in verb.frames if f.case in ("acc", "dat")), None)
            if role == "object" and frame and fits(phrase, frame.kinds):
                return replace(phrase, relative=self._object_relative(phrase, verb, frame, when))
        return phrase

    def _object_relative(self, phrase: NounPhrase, verb: Verb, frame: Frame, when: str) -> Clause:
        subject = self.person()
        inner = self.clause(when, subject, verb, extras=False, relatives=False)
        others = tuple(c for c in inner.complements if c.frame is not frame)
        gap = Complement(frame, Relative(phrase))
        negation = "" if inner.negation in ("not", "not yet") else inner.negation
        inner = replace(inner, complements=(gap, *others), negation=negation)
        return _unhurried(inner, when)


def fits(phrase: Phrase, kinds: tuple[str, ...]) -> bool:
    """Whether the phrase belongs to one of the kinds."""
    match phrase:
        case Relative():
            return fits(phrase.antecedent, kinds)
        case NounPhrase(noun=noun) if not noun.human:
            return noun.kind in kinds or ("any" in kinds and noun.kind in THINGS)
        case NounPhrase() | Name() | Pronoun():
            return "human" in kinds or "any" in kinds
    return False


def _unhurried(said: Clause, when: str) -> Clause:
    """In the present, a relative clause names no time."""
    return undated(said) if when == "present" else said


def _deliberate(verb: Verb) -> bool:
    """Whether one can do it quickly, secretly, or with great effort."""
    return verb.subjects == ("human",) and not {"state", "point"} & verb.flags


def _bare(phrase: NounPhrase) -> bool:
    return (
        phrase.possessor is None and phrase.determiner in ("def", "indef") and not phrase.relative
    )


def _may_lead(phrase: Phrase) -> bool:
    """No pronouns, and nothing that is somebody's who has not been named yet."""
    if isinstance(phrase, NounPhrase):
        return phrase.owner is None or phrase.owner.person != 3
    return not isinstance(phrase, Pronoun)


def clear(subject: Phrase, fronted: Phrase) -> bool:
    """Whether case or number shows that the fronted object is not the subject."""
    if isinstance(subject, Pronoun) and (subject.gender, subject.number) != ("f", "sg"):
        return subject.number == "sg" or subject.person != 3
    if isinstance(subject, NounPhrase) and _shows_case(subject):
        return True
    return isinstance(fronted, NounPhrase) and _shows_case(fronted)


def _shows_case(phrase: NounPhrase) -> bool:
    return phrase.agreement == "m" and not phrase.possessor and phrase.determiner != "none"
