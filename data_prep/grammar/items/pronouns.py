"""Pronouns whose translation hangs on what they stand for."""

from dataclasses import replace

from ..chance import Chance
from ..drawing import THINGS
from ..lexicon import Lexicon, Noun, Pair
from ..phrases import Name, NounPhrase, Phrase, Pronoun
from ..reference import HE, ME, SHE, WE, owner_of
from ..sentences import Sentences
from .item import Forms, Item, act, neutral, noun_forms, told

_MEETING = ("sehen", "treffen", "besuchen", "anrufen", "abholen", "fotografieren")
_FORMS = {"f": ("sie", "ihr"), "m": ("er", "ihn", "ihm"), "n": ("es", "ihm")}
_HUMAN = {"f": (SHE, ("she", "her", "hers")), "m": (HE, ("he", "him", "his"))}

Mention = tuple[Phrase, tuple[Forms, Forms]]  # a phrase, and forms of its noun in both languages


def to_english(lexicon: Lexicon, chance: Chance, gender: str) -> Item:
    """sie = she or it, er = he or it"""
    mentions = _somebody(lexicon, chance, gender), _something(lexicon, chance, gender)
    human, words = _HUMAN[gender]
    pronouns = human, Pronoun(3, "sg", gender, "n")
    return Item(
        "de-en",
        "pronoun",
        lambda speaker, variant: _introduce(speaker, mentions[variant][0]),
        lambda speaker, variant: neutral(speaker, pronouns[variant]),
        (mentions[0][1][0], mentions[1][1][0]),
        _FORMS[gender],
        (words, ("it", "its")),
    )


def to_german(lexicon: Lexicon, chance: Chance, genders: str) -> Item:
    """it = er, sie or es: one of two genders"""
    mentions = [_something(lexicon, chance, gender) for gender in genders]
    pronouns = [Pronoun(3, "sg", gender, "n") for gender in genders]
    return Item(
        "en-de",
        "pronoun",
        lambda speaker, variant: _introduce(speaker, mentions[variant][0]),
        lambda speaker, variant: neutral(speaker, pronouns[variant]),
        (mentions[0][1][1], mentions[1][1][1]),
        ("it",),
        (_distinct_forms(genders), _distinct_forms(genders[::-1])),
    )


def _distinct_forms(genders: str) -> Forms:
    """Those of the first gender alone: ihm is both masculine and neuter."""
    own, other = _FORMS[genders[0]], _FORMS[genders[1]]
    return tuple(form for form in own if form not in other)


def _introduce(speaker: Sentences, phrase: Phrase) -> Pair:
    """Somebody or something comes into the story as an object."""
    chance = speaker.chance
    verbs = list(_MEETING)
    if isinstance(phrase, NounPhrase) and not phrase.noun.human:
        fitting = speaker.lexicon.verbs_with_object(phrase.noun.kind)
        verbs = [verb.german.citation for verb in fitting]
    when = "past" if chance.maybe(0.8) else "future"
    return told(act(speaker, when, chance.pick((ME, WE)), chance.common(verbs), phrase))


def _somebody(lexicon: Lexicon, chance: Chance, gender: str) -> Mention:
    if chance.maybe(0.35):
        name = chance.common(lexicon.names["women" if gender == "f" else "men"])
        return Name(name, gender), ((name[0],), (name[1],))
    nouns = lexicon.nouns_of(("job", "family", "person"))
    return _mention(chance, chance.common([noun for noun in nouns if noun.gender == gender]))


def _something(lexicon: Lexicon, chance: Chance, gender: str) -> Mention:
    nouns = [noun for noun in lexicon.nouns_of(THINGS) if noun.gender == gender]
    return _mention(chance, chance.common(nouns))


def _mention(chance: Chance, noun: Noun) -> Mention:
    phrase = NounPhrase(noun, "sg", "dies" if chance.maybe(0.3) else "indef")
    if noun.kind == "family":
        phrase = replace(phrase, determiner="poss", owner=owner_of(ME))
    return phrase, (noun_forms(noun), (noun.english.split()[-1],))
