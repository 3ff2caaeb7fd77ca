"""Draws whole sentences and says them in both languages."""

import re
from dataclasses import replace

from . import english, german, numerals
from .clauses import Clauses
from .drawing import POLITE, THEY, THINGS, YOU, Unsayable, owner_of, pronoun_for
from .lexicon import Pair
from .phrases import (
    Adverbial,
    Clause,
    Complement,
    Interrogative,
    NounPhrase,
    Phrase,
    Predicate,
    Pronoun,
    Tense,
)

# Kinds of sentences and how often each is tried.
KINDS = {
    "statement": 40.0,
    "copula": 13.0,
    "subordinate": 20.0,
    "that": 6.0,
    "indirect_question": 4.0,
    "yes_no_question": 6.0,
    "wh_question": 6.0,
    "contrast": 6.0,
    "infinitive": 5.0,
    "purpose": 4.0,
    "passive": 5.0,
    "existence": 4.0,
    "request": 3.0,
}
# What there is, and where; an empty group of places stands for towns.
_INHABITANTS = (
    ("place", ""),
    ("company", ""),
    ("animal", "outdoors"),
    ("furniture", "indoors"),
    ("job", "public"),
)
_WHEN = ("past", "past", "present", "future")
_WHEN_BEING = ("past", "past", "past", "present", "present", "present", "future")


def finish(words: Pair, end: str = ".") -> Pair:
    """Capital, commas and full stop."""
    return _finish(words[0], end), _finish(words[1], end)


def _finish(text: str, end: str) -> str:
    text = re.sub(r"[\s,]*,", ",", text).strip(" ,")
    return text[0].upper() + text[1:] + end


def say(said: Clause, german_order: str = "second", english_form: str = "statement") -> Pair:
    return german.clause(said, german_order), english.clause(said, english_form)


class Sentences(Clauses):
    """Draws sentences; every method of KINDS gives one, finished, in both languages."""

    def sentence(self) -> Pair:
        """Any sentence that the scope allows."""
        while True:
            kind = self.chance.weighted(list(KINDS.items()))
            try:
                drawn = getattr(self, kind)()
            except Unsayable:
                continue
            if 3 <= drawn[1].count(" ") + 1 <= 26:
                return drawn

    def statement(self) -> Pair:
        return finish(say(self.clause()))

    def _about(self, when: str, subject: Phrase | None = None) -> Clause:
        """A clause for the second half of a complex sentence."""
        if self.chance.maybe(0.3):
            return self.being(when, subject)
        return self.clause(when, subject, extras=False, relatives=False)

    def _aside(self, when: str, subject: Phrase | None = None) -> Clause:
        """A clause that leaves its time to the main clause."""
        drawn = self._about(when, subject)
        tense = Tense.PAST if drawn.tense is Tense.PRETERITE else drawn.tense
        adverbials = tuple(a for a in drawn.adverbials if a.kind != "time")
        return _unfronted(replace(drawn, adverbials=adverbials, tense=tense))

    def copula(self) -> Pair:
        return finish(say(self.being(self.chance.pick(_WHEN_BEING))))

    def subordinate(self) -> Pair:
        """..., weil er müde ist. / Wenn du kommst, ..."""
        words, times = self.chance.weighted(
            [
                ((("weil", "because"), ("past", "present")), 40),
                ((("obwohl", "although"), ("past", "present")), 20),
                ((("wenn", "if"), ("future",)), 20),
                ((("sobald", "as soon as"), ("future",)), 8),
                ((("bevor", "before"), ("past",)), 12),
                ((("als", "when"), ("past",)), 15),
            ]
        )
        when = self.chance.pick(times)
        main = self._about(when)
        taken_up = pronoun_for(main.subject) if self._human(main.subject) else None
        subject = taken_up if taken_up and self.chance.maybe(0.4) else None
        second = self._aside(when, subject)
        if when == "future":
            second = _timeless(second)
        elif words[0] == "als":
            second = replace(_timeless(second), tense=Tense.PRETERITE)
        return self._joined(main, words, second)

    @staticmethod
    def _human(phrase: Phrase) -> bool:
        return not isinstance(phrase, NounPhrase) or phrase.noun.human

    def _joined(self, main: Clause, words: Pair, second: Clause) -> Pair:
        inner = say(_unfronted(second), "final", "embedded")
        if self.chance.maybe(0.35):
            outer = german.clause(_unfronted(main), "first"), english.clause(_unfronted(main))
            return finish(
                (f"{words[0]} {inner[0]}, {outer[0]}", f"{words[1]} {inner[1]}, {outer[1]}")
            )
        outer = say(main)
        comma = "," if words[1] == "although" else ""
        return finish(
            (f"{outer[0]}, {words[0]} {inner[0]}", f"{outer[1]}{comma} {words[1]} {inner[1]}")
        )

    def that(self) -> Pair:
        """Ich glaube, dass ..."""
        opening = self.chance.common(self.lexicon.frames["that"])
        inner = say(_unfronted(self._about(self.chance.pick(_WHEN))), "final", "embedded")
        return finish((f"{opening[0]} {inner[0]}", f"{opening[1]} {inner[1]}"))

    def indirect_question(self) -> Pair:
        """Ich weiß nicht, warum ..."""
        opening = self.chance.common(self.lexicon.frames["whether"])
        word = self.chance.common(self.lexicon.frames["question words"])
        drawn = self._about(self.chance.pick(("past", "present", "future")))
        drawn = _unfronted(drawn)
        if word[0] in ("wann", "wo", "wie oft"):
            drawn = _without_adverbials(self.clause("past", extras=False, relatives=False))
        inner = say(_positive(drawn), "final", "embedded")
        end = "?" if opening[1].startswith(("do you", "can you")) else "."
        return finish(
            (f"{opening[0]} {word[0]} {inner[0]}", f"{opening[1]} {word[1]} {inner[1]}"), end
        )

    def yes_no_question(self) -> Pair:
        subject = self._asked_person() if self.chance.maybe(0.8) else None
        when = self.chance.pick(_WHEN)
        drawn = self._about(when, subject) if subject else self.being(when)
        return finish(say(_unfronted(drawn), "first", "question"), "?")

    def _asked_person(self) -> Phrase:
        other = self.person() if self.chance.maybe(0.4) else YOU
        return self.chance.pick((YOU, POLITE, other))

    def wh_question(self) -> Pair:
        form = self.chance.weighted([("adverb", 50), ("object", 35), ("subject", 15)])
        when = self.chance.pick(("past", "past", "future"))
        if form == "adverb":
            word = self.chance.common(
                [("warum", "why"), ("wann", "when"), ("wo", "where"), ("mit wem", "with whom")]
            )
            verb = self.lexicon.verbs[0]
            while True:
                verb = self.verb_for(YOU)
                if not any(f.case in ("where", "goal") for f in verb.frames):
                    break
            drawn = self.clause(when, self._asked_person(), verb, extras=False, relatives=False)
            if word[0] != "warum":
                drawn = _positive(_without_adverbials(drawn))
            drawn = replace(_unfronted(drawn), question=word)
            return finish(say(drawn, "second", "question"), "?")
        if form == "subject":
            drawn = self.clause(when, Interrogative(True), self.verb_for(YOU), relatives=False)
            return finish(say(_unfronted(drawn), "second", "question"), "?")
        return self._object_question(when)

    def _object_question(self, when: str) -> Pair:
        """Wen / was / welches Buch hast du ...?"""
        while True:
            verb = self.verb_for(YOU)
            frame = verb.frames[-1] if verb.frames else None
            if frame and frame.case == "acc" and not frame.german_preposition:
                break
        drawn = _positive(_unfronted(self.clause(when, self._asked_person(), verb, relatives=False)))
        kind = self.chance.common(frame.kinds)
        asked: Phrase = Interrogative(kind == "human")
        if kind not in ("human", "any") and self.chance.maybe(0.5):
            asked = replace(self.noun_phrase((kind,)), determiner="welch", possessor=None)
        others = tuple(c for c in drawn.complements if c.frame is not frame)
        drawn = replace(
            drawn, complements=(*others, Complement(frame, asked)), front="question"
        )
        return finish(say(drawn, "second", "question"), "?")

    def contrast(self) -> Pair:
        """Ich habe die Lampe gekauft, aber sie ist zu teuer: the pronoun takes up the object."""
        thing = self.noun_phrase((self.chance.pick(THINGS),), YOU, plural=0.15)
        fitting = [
            verb
            for verb in self.lexicon.verbs
            if verb.frames
            and verb.frames[0].case == "acc"
            and not verb.frames[0].german_preposition
            and thing.noun.kind in verb.frames[0].kinds
            and len(verb.frames) == 1
        ]
        verb = self.chance.common(fitting)
        subject = self.chance.weighted([("name", 40), ("pronoun", 60)])
        speaker = self.person() if subject == "name" else self.chance.pick((YOU, *(_SELF * 3)))
        pronoun = pronoun_for(thing)
        if isinstance(speaker, NounPhrase) or (pronoun_for(speaker) or YOU) == pronoun:
            speaker = _SELF[0]
        main = replace(
            self.clause("past", speaker, verb, relatives=False),
            complements=(Complement(verb.frames[0], thing),),
        )
        assert pronoun is not None
        adjective = self.adjective(thing.noun)
        degree = self.chance.pick((None, ("sehr", "very"))) if adjective.german_comparative else None
        second = Clause(pronoun, predicate=Predicate(adjective, degree=degree))
        word = self.chance.pick((("aber", "but"), ("weil", "because"), ("und", "and")))
        inner = say(second, "final" if word[0] == "weil" else "second")
        outer = say(_positive(_unfronted(main)))
        comma = "" if word[1] == "because" else ","
        return finish(
            (f"{outer[0]}, {word[0]} {inner[0]}", f"{outer[1]}{comma} {word[1]} {inner[1]}")
        )

    def infinitive(self) -> Pair:
        """Es ist schwer, das Buch zu lesen."""
        opening = self.chance.common(self.lexicon.frames["to"])
        inner = self._to(_SELF[1] if opening[0].startswith("wir") else _SELF[0])
        return finish((f"{opening[0]} {inner[0]}", f"{opening[1]} {inner[1]}"))

    def purpose(self) -> Pair:
        """Er fährt nach Berlin, um Anna zu besuchen."""
        main = self.clause(
            self.chance.pick(_WHEN),
            self.person(),
            self.lexicon.verb_named[self.chance.pick(("fahren", "gehen", "zurückkommen", "bleiben"))],
            relatives=False,
        )
        outer, inner = say(_positive(main)), self._to(main.subject)
        return finish((f"{outer[0]}, um {inner[0]}", f"{outer[1]} {inner[1]}"))

    def _to(self, subject: Phrase) -> Pair:
        while True:
            verb = self.verb_for(YOU)
            if not {"state", "swap"} & verb.flags and not verb.german.reflexive and verb.frames:
                break
        drawn = Clause(subject, verb, self.complements(verb, subject))
        return say(drawn, "infinitive", "infinitive")

    def passive(self) -> Pair:
        """Das Auto wurde gestern repariert."""
        while True:
            verb = self.verb_for(YOU)
            if verb.passive and len(verb.frames) == 1:
                break
        kinds = tuple(kind for kind in verb.frames[0].kinds if kind not in ("human", "any"))
        subject = self.noun_phrase(kinds or ("thing",), heavy=True)
        when = self.chance.pick(("past", "past", "present", "future"))
        modal = "must" if when == "present" else ""
        setting = self._setting(verb, subject, "past" if when == "present" else when)
        tense = Tense.PRESENT if when == "present" else setting.tense
        drawn = Clause(
            subject,
            verb,
            adverbials=() if when == "present" else setting.adverbials,
            tense=Tense.FUTURE if tense is Tense.GOING else tense,
            modal=modal,
            negation="" if when == "present" else setting.negation,
            passive=True,
        )
        return finish(say(replace(drawn, front=self._front(drawn))))

    def existence(self) -> Pair:
        """In dieser Stadt gibt es drei Museen."""
        kind, surroundings = self.chance.pick(_INHABITANTS)
        noun, number = self.noun((kind,), 0.6)
        count = self.chance.log_between(2, 99) if number == "pl" else 0
        determiner = "count" if count and self.chance.maybe(0.6) else "indef"
        negated = determiner == "indef" and self.chance.maybe(0.3)
        phrase = NounPhrase(noun, number, determiner, count=count, digits=count > 12)
        where = self.where((surroundings,)) if surroundings else self.town()
        there = "there is" if number == "sg" else "there are"
        told = german.phrase(phrase, "acc", negated), english.phrase(phrase, False)
        if negated:
            told = told[0], f"no {noun.english if number == 'sg' else noun.english_plural}"
        return finish((f"{where[0]} gibt es {told[0]}", f"{there} {told[1]} {where[1]}"))

    def request(self) -> Pair:
        """Machen Sie bitte die Tür auf!"""
        while True:
            verb = self.verb_for(YOU)
            if verb.frames and not {"state", "swap"} & verb.flags:
                break
        adverbials = (Adverbial("please", ("bitte", "")),)
        drawn = Clause(POLITE, verb, self.complements(verb, POLITE), adverbials=adverbials)
        return finish(say(drawn, "first", "imperative"), "!")


_SELF = (Pronoun(1), Pronoun(1, "pl"))


def _unfronted(said: Clause) -> Clause:
    return replace(said, front="subject")


def _positive(said: Clause) -> Clause:
    tense = Tense.PAST if said.tense is Tense.PERFECT else said.tense
    return replace(said, negation="", tense=tense)


def _without_adverbials(said: Clause) -> Clause:
    """Without what would answer wann, wo and wie oft."""
    return _unfronted(replace(said, adverbials=()))


def _timeless(said: Clause) -> Clause:
    """In the plain present, as after if: no modal verb, no time of its own."""
    adverbials = tuple(a for a in said.adverbials if a.kind not in ("time", "frequency"))
    return replace(
        said,
        tense=Tense.PRESENT,
        modal="",
        progressive=False,
        adverbials=adverbials,
        negation="not" if said.negation == "not" else "",
    )
