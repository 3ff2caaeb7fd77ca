"""An item: how it is introduced, how it is taken up, and what a translation of that must say."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from .. import german_forms
from ..lexicon import Frame, Noun, Pair
from ..phrases import Adverbial, Clause, Complement, Fixed, Phrase, Predicate, Tense
from ..reference import ME, WE, YOU
from ..saying import finish, join, say, say_embedded
from ..sentences import Sentences

FIXED = Frame("fixed", "", (), "", False)  # for complements whose words are given

Draw = Callable[[Sentences, int], Pair]  # a speaker and a variant -> a sentence
Forms = tuple[str, ...]


@dataclass(frozen=True)
class Item:
    """Something that a later sentence, the question, can only be translated with.

    An item has two variants. The source side of its question is the same in both, the right
    translation is not, and only the opening tells which variant is meant.

    `antecedents`: per variant, the forms of the word in the opening that tells. `source`: the
    forms of the word in question. `answers`: per variant, what the translation must say, and must
    not say in the other. `reserved`: words, in lower case, that no other sentence may have.
    """

    direction: str  # de-en, en-de
    kind: str
    opening: Draw
    question: Draw
    antecedents: tuple[Forms, Forms]
    source: Forms
    answers: tuple[Forms, Forms]
    reserved: frozenset[str] = frozenset()

    def key(self, question: Pair) -> str:
        """The English text that gives a question its split, the same for both variants."""
        english = question[1]
        if self.kind in ("term", "acronym") and self.direction == "de-en":
            for word in sorted(self.answers[0] + self.answers[1], key=len, reverse=True):
                english = english.replace(word, self.source[0])
        return english


_NEUTRAL_VERBS = ("sehen", "suchen", "finden", "beschreiben", "fotografieren", "malen", "brauchen")
_NEUTRAL_SUBJECTS = ((ME, 40.0), (WE, 25), (YOU, 15))


def neutral(speaker: Sentences, phrase: Phrase) -> Pair:
    """A sentence about the phrase that fits people and things alike."""
    chance = speaker.chance
    form = chance.weighted((("being", 40.0), ("object", 40), ("liking", 10)))
    when = "past" if chance.maybe(0.6) else "present"
    if form == "being":
        drawn = _being(speaker, phrase, when)
    elif form == "object":
        subject = chance.weighted(_NEUTRAL_SUBJECTS)
        drawn = act(speaker, when, subject, chance.common(_NEUTRAL_VERBS), phrase)
    else:
        drawn = act(speaker, when, phrase, "gefallen", chance.pick((ME, WE)))
    if not chance.maybe(0.25):
        return finish(say(drawn))
    opening = chance.common(speaker.lexicon.frames["that"])
    return finish(join(opening, ("", ""), say_embedded(drawn)))


def act(speaker: Sentences, when: str, subject: Phrase, verb_name: str, phrase: Phrase) -> Clause:
    """A clause of this subject, verb and complement."""
    verb = speaker.lexicon.verb_named[verb_name]
    frame = FIXED if isinstance(phrase, Fixed) else verb.frames[0]
    complements = (Complement(frame, phrase),)
    return speaker.clause(when, subject, verb, relatives=False, complements=complements)


def told(drawn: Clause) -> Pair:
    """As something that did happen or will."""
    tense = Tense.PAST if drawn.tense is Tense.PERFECT else drawn.tense
    return finish(say(replace(drawn, negation="", tense=tense)))


def _being(speaker: Sentences, phrase: Phrase, when: str) -> Clause:
    chance = speaker.chance
    adjective = chance.common(speaker.lexicon.adjectives[chance.pick(("common", "any"))])
    degree = chance.pick((None, None, ("sehr", "very"), ("ziemlich", "quite")))
    adverbials: tuple[Adverbial, ...] = ()
    if when == "past" and chance.maybe(0.7):
        adverbials = (Adverbial("time", speaker.past_time()),)
    return Clause(
        phrase,
        predicate=Predicate(adjective, degree=degree),
        adverbials=adverbials,
        tense=Tense.PAST if when == "past" else Tense.PRESENT,
        negation="not" if degree is None and chance.maybe(0.2) else "",
        front="time" if adverbials and chance.maybe(0.5) else "subject",
    )


def noun_forms(noun: Noun) -> Forms:
    """The German forms of a noun."""
    numbers = ("sg", "pl") if noun.german_plural else ("sg",)
    forms = (
        german_forms.noun(noun.german, noun.german_plural, noun.gender, noun.weak, case, number)
        for number in numbers
        for case in ("nom", "acc", "dat", "gen")
    )
    return tuple(dict.fromkeys(forms))
