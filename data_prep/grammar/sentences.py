"""Draws whole sentences and says them in both languages."""

from dataclasses import replace

from . import english, german
from .drawing import THINGS, UnsayableError
from .lexicon import Pair
from .phrases import Clause, Complement, NounPhrase, Phrase, Predicate, Tense
from .questions import WHEN, Questions
from .reference import ME, WE, YOU, pronoun_for
from .saying import finish, join, positive, say, say_embedded, timeless, undated, unfronted

SHORTEST, LONGEST = 3, 25  # English words

# Kinds of sentences, methods of Sentences, and how often each is tried.
KINDS = (
    ("statement", 40.0),
    ("copula", 10),
    ("subordinate", 24),
    ("that", 6),
    ("indirect_question", 4),
    ("yes_no_question", 6),
    ("wh_question", 6),
    ("contrast", 6),
    ("infinitive", 5),
    ("purpose", 4),
    ("passive", 5),
    ("existence", 4),
    ("request", 3),
)
_WHEN_BEING = ("past", "past", "past", "present", "present", "present", "future")
_CONJUNCTIONS = (  # German, English, which times they join
    (("weil", "because", ("past", "present")), 40.0),
    (("obwohl", "although", ("past", "present")), 20),
    (("wenn", "if", ("future",)), 20),
    (("als", "when", ("past",)), 15),
    (("bevor", "before", ("past",)), 12),
    (("sobald", "as soon as", ("future",)), 8),
)
_CONTRASTS = (  # German, what joins the two halves, order of the second
    ((", aber", ", but"), "second"),
    ((", und", ", and"), "second"),
    ((", weil", " because"), "final"),
)
_INHABITANTS = (  # what there is, and where; no place stands for towns
    ("place", ""),
    ("company", ""),
    ("animal", "outdoors"),
    ("furniture", "indoors"),
    ("job", "public"),
)


class Sentences(Questions):
    """Draws sentences; every method of KINDS gives one, finished, in both languages."""

    def sentence(self) -> Pair:
        """Any sentence that the scope allows."""
        while True:
            kind = self.chance.weighted(KINDS)
            try:
                drawn: Pair = getattr(self, kind)()
            except UnsayableError:
                continue
            if SHORTEST <= drawn[1].count(" ") + 1 <= LONGEST:
                return drawn

    def statement(self) -> Pair:
        return finish(say(self.clause()))

    def copula(self) -> Pair:
        return finish(say(self.being(self.chance.pick(_WHEN_BEING))))

    def subordinate(self) -> Pair:
        """..., weil er müde ist. / Wenn du kommst, ..."""
        german_word, english_word, times = self.chance.weighted(_CONJUNCTIONS)
        when = self.chance.pick(times)
        main = self.about(when)
        taken_up = pronoun_for(main.subject) if _human(main.subject) else None
        second = self._aside(when, taken_up if self.chance.maybe(0.4) else None)
        if when == "future":
            second = positive(timeless(second))
        elif german_word == "bevor":
            second = positive(second)
        elif german_word == "als":
            second = replace(timeless(second), tense=Tense.PRETERITE)
        inner = say_embedded(second)
        if self.chance.maybe(0.35):
            outer = german.clause(unfronted(main), "first"), english.clause(unfronted(main))
            return finish(
                join((german_word, english_word), ("", ""), join(inner, (",", ","), outer))
            )
        comma = "," if english_word == "although" else ""
        return finish(join(say(main), (f", {german_word}", f"{comma} {english_word}"), inner))

    def _aside(self, when: str, subject: Phrase | None) -> Clause:
        """A clause that leaves its time to the main clause."""
        drawn = self.about(when, subject)
        tense = Tense.PAST if drawn.tense is Tense.PRETERITE else drawn.tense
        return undated(replace(drawn, tense=tense))

    def that(self) -> Pair:
        """Ich glaube, dass ..."""
        opening = self.chance.common(self.lexicon.frames["that"])
        inner = say_embedded(self.about(self.chance.pick(WHEN)))
        return finish(join(opening, ("", ""), inner))

    def contrast(self) -> Pair:
        """Ich habe die Lampe gekauft, aber sie ist zu teuer: the pronoun takes up the object."""
        thing = self.noun_phrase((self.chance.pick(THINGS),), YOU, heavy=False, plural=0.15)
        pronoun = pronoun_for(thing)
        assert pronoun is not None
        verb = self.chance.common(self.lexicon.verbs_with_object(thing.noun.kind))
        speaker = self.chance.weighted(((self.person(), 40.0), (ME, 30), (WE, 20), (YOU, 10)))
        if isinstance(speaker, NounPhrase) or pronoun_for(speaker) == pronoun:
            speaker = ME
        complements = (Complement(verb.frames[0], thing),)
        main = self.clause("past", speaker, verb, relatives=False, complements=complements)
        adjective = self.adjective(thing.noun)
        very = adjective.german_comparative and self.chance.maybe(0.5)
        predicate = Predicate(adjective, degree=("sehr", "very") if very else None)
        between, order = self.chance.pick(_CONTRASTS)
        inner = say(Clause(pronoun, predicate=predicate), order)
        return finish(join(say(unfronted(positive(main))), between, inner))

    def infinitive(self) -> Pair:
        """Es ist schwer, das Buch zu lesen."""
        opening = self.chance.common(self.lexicon.frames["to"])
        speaker = WE if opening[0].startswith("wir") else ME
        return finish(join(opening, ("", ""), self._to(speaker)))

    def purpose(self) -> Pair:
        """Er fährt nach Berlin, um Anna zu besuchen."""
        name = self.chance.pick(("fahren", "gehen", "zurückkommen", "bleiben"))
        verb = self.lexicon.verb_named[name]
        main = self.clause(self.chance.pick(WHEN), self.person(), verb, relatives=False)
        return finish(join(say(positive(main)), (", um", ""), self._to(main.subject)))

    def _to(self, subject: Phrase) -> Pair:
        """das Buch zu lesen = to read the book"""
        verb = self.verb_that(
            lambda verb: (
                bool(verb.frames)
                and not {"state", "swap"} & verb.flags
                and not verb.german.reflexive
            )
        )
        drawn = Clause(subject, verb, self.complements(verb, subject))
        return say(drawn, "infinitive", "infinitive")

    def passive(self) -> Pair:
        """Das Auto wurde gestern repariert. / Das Auto muss repariert werden."""
        verb = self.verb_that(lambda verb: verb.passive and len(verb.frames) == 1)
        kinds = tuple(kind for kind in verb.frames[0].kinds if kind not in ("human", "any"))
        subject = self.noun_phrase(kinds or ("thing",))
        when = self.chance.pick(WHEN)
        drawn = Clause(subject, verb, passive=True)
        if when == "present":
            return finish(say(replace(drawn, modal="must")))
        setting = self.simple_setting(verb, subject, when)
        drawn = replace(
            drawn,
            adverbials=setting.adverbials,
            tense=Tense.FUTURE if setting.tense is Tense.GOING else setting.tense,
            negation=setting.negation if self.may_negate(subject, ()) else "",
        )
        return finish(say(replace(drawn, front=self.front(drawn))))

    def existence(self) -> Pair:
        """In dieser Stadt gibt es drei Museen."""
        kind, surroundings = self.chance.pick(_INHABITANTS)
        noun, number = self.noun((kind,), 0.6)
        counted = number == "pl" and self.chance.maybe(0.6)
        count = self.chance.log_between(2, 99) if counted else 0
        negated = not counted and self.chance.maybe(0.3)
        determiner = "count" if counted else "indef"
        phrase = NounPhrase(noun, number, determiner, count=count, digits=count > 12)
        where = self.where((surroundings,)) if surroundings else self.town()
        told = english.phrase(phrase, False)
        if negated:
            told = f"no {noun.english if number == 'sg' else noun.english_plural}"
        verb = "is" if number == "sg" else "are"
        german_text = f"{where[0]} gibt es {german.phrase(phrase, 'acc', negated)}"
        return finish((german_text, f"there {verb} {told} {where[1]}"))


def _human(phrase: Phrase) -> bool:
    return not isinstance(phrase, NounPhrase) or phrase.noun.human
