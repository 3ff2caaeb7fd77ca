"""Draws questions, direct and indirect, and requests."""

from collections.abc import Callable
from dataclasses import replace

from .lexicon import Pair, Verb
from .phrases import Adverbial, Clause, Complement, Interrogative, Phrase
from .predicates import Predicates
from .reference import POLITE, YOU
from .saying import finish, join, positive, say, say_embedded, unfronted

WHEN = ("past", "past", "present", "future")
_WORDS = (("warum", "why"), ("wann", "when"), ("wo", "where"), ("mit wem", "with whom"))
_TIME_OR_PLACE = ("wann", "wo", "wie oft", "mit wem")


class Questions(Predicates):
    """Draws questions and requests, finished."""

    def about(self, when: str, subject: Phrase | None = None) -> Clause:
        """A clause without much around it, for a part of a complex sentence."""
        if self.chance.maybe(0.3):
            return self.being(when, subject)
        return self.clause(when, subject, extras=False, relatives=False)

    def verb_that(self, fits: Callable[[Verb], bool]) -> Verb:
        """A verb with this property that people can be the subject of."""
        while True:
            verb = self.verb_for(YOU)
            if fits(verb):
                return verb

    def yes_no_question(self) -> Pair:
        when = self.chance.pick(WHEN)
        drawn = self.about(when, self._asked()) if self.chance.maybe(0.8) else self.being(when)
        return finish(say(unfronted(drawn), "first", "question"), "?")

    def _asked(self) -> Phrase:
        """Mostly the person spoken to."""
        other = self.person() if self.chance.maybe(0.4) else YOU
        return self.chance.pick((YOU, POLITE, other))

    def wh_question(self) -> Pair:
        """Warum / wer / wen / welches Buch ...?"""
        form = self.chance.weighted((("adverb", 50.0), ("object", 35), ("subject", 15)))
        when = self.chance.pick(("past", "past", "future"))
        if form == "adverb":
            drawn = self._adverb_question(when)
        elif form == "subject":
            drawn = self.clause(when, Interrogative(True), self.verb_for(YOU), relatives=False)
            drawn = unfronted(drawn)
        else:
            drawn = self._object_question(when)
        return finish(say(drawn, "second", "question"), "?")

    def _adverb_question(self, when: str) -> Clause:
        word = self.chance.common(_WORDS)
        verb = self.verb_that(lambda verb: not {"where", "goal"} & {f.case for f in verb.frames})
        drawn = self.clause(when, self._asked(), verb, extras=False, relatives=False)
        if word[0] in _TIME_OR_PLACE:
            drawn = positive(replace(drawn, adverbials=()))
        return replace(unfronted(drawn), question=word)

    def _object_question(self, when: str) -> Clause:
        """Wen / was / welches Buch hast du ...?"""
        verb = self.verb_that(
            lambda verb: (
                bool(verb.frames)
                and verb.frames[-1].case == "acc"
                and not verb.frames[-1].german_preposition
            )
        )
        frame = verb.frames[-1]
        drawn = positive(self.clause(when, self._asked(), verb, relatives=False))
        kind = self.chance.common(frame.kinds)
        asked: Phrase = Interrogative(kind == "human")
        if kind not in ("human", "any") and self.chance.maybe(0.5):
            asked = replace(self.noun_phrase((kind,)), determiner="welch", possessor=None)
        others = tuple(c for c in drawn.complements if c.frame is not frame)
        return replace(drawn, complements=(*others, Complement(frame, asked)), front="question")

    def indirect_question(self) -> Pair:
        """Ich weiß nicht, warum ..."""
        opening = self.chance.common(self.lexicon.frames["whether"])
        word = self.chance.common(self.lexicon.frames["question words"])
        if word[0] in _TIME_OR_PLACE:
            drawn = self.clause("past", extras=False, relatives=False)
            drawn = replace(drawn, adverbials=())
        else:
            drawn = self.about(self.chance.pick(("past", "present", "future")))
        words = join((opening[0], opening[1]), (f" {word[0]}", f" {word[1]}"), _inner(drawn))
        return finish(words, "?" if opening[1].startswith(("do you", "can you")) else ".")

    def request(self) -> Pair:
        """Machen Sie bitte die Tür auf!"""
        verb = self.verb_that(lambda verb: bool(verb.frames) and not {"state", "swap"} & verb.flags)
        please = (Adverbial("please", ("bitte", "")),)
        drawn = Clause(POLITE, verb, self.complements(verb, POLITE), adverbials=please)
        return finish(say(drawn, "first", "imperative"), "!")


def _inner(drawn: Clause) -> Pair:
    return say_embedded(positive(drawn))
