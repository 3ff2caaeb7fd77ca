"""Acronyms that are explained once."""

from dataclasses import replace

from .. import german_forms
from ..chance import Chance
from ..lexicon import Lexicon, Noun, Pair, parse_noun, read_table
from ..phrases import Fixed, NounPhrase, Phrase
from ..saying import finish, say
from ..sentences import Sentences
from .item import Forms, Item

_VERBS = ("kritisieren", "ablehnen", "annehmen", "loben", "absagen", "kaufen", "verkaufen")

Institution = tuple[Pair, Noun]  # the full name in the nominative, and the acronym as a noun


def to_english(lexicon: Lexicon, chance: Chance) -> Item:
    """DWV is the GWA if it is the Wasserverband, the German Water Association, but the GEA if it
    is the Wirtschaftsverband, the German Economic Association."""
    fields = chance.pick(_table("fields")).split(", ")
    head = chance.pick(_table("heads")).split(", ")[0]
    return _item("de-en", chance, [(field, head) for field in fields])


def to_german(lexicon: Lexicon, chance: Chance) -> Item:
    """NWA is der NWV if it is the National Water Association, the Wasserverband, but die NWA if
    it is the National Water Academy, the Wasserakademie."""
    field = chance.pick(chance.pick(_table("fields")).split(", "))
    heads = chance.pick(_table("heads")).split(", ")
    return _item("en-de", chance, [(field, head) for head in heads])


def _table(section: str) -> list[str]:
    return read_table("institutions.txt")[section]


def _item(direction: str, chance: Chance, parts: list[tuple[str, str]]) -> Item:
    adjective = chance.pick(_table(f"adjectives {direction}"))
    named = [_institution(adjective, field, head) for field, head in parts]
    side = 0 if direction == "de-en" else 1
    acronyms = [(noun.german, noun.english) for _, noun in named]

    def opening(speaker: Sentences, variant: int) -> Pair:
        full, acronym = named[variant][0], acronyms[variant]
        name = Fixed((f"{full[0]} ({acronym[0]})", f"{full[1]} ({acronym[1]})"))
        return _acts(speaker, name)

    return Item(
        direction,
        "acronym",
        opening,
        lambda speaker, variant: _acts(speaker, NounPhrase(named[variant][1])),
        (_last_word(named[0][0][side]), _last_word(named[1][0][side])),
        (acronyms[0][side],),
        ((acronyms[0][1 - side],), (acronyms[1][1 - side],)),
        frozenset(word.lower() for acronym in acronyms for word in acronym),
    )


def _institution(adjective: str, field: str, head: str) -> Institution:
    adjective_german, adjective_english = adjective.split(" = ")
    field_german, field_english = field.split(" = ")
    noun = parse_noun(head, "company")
    weak = german_forms.adjective(adjective_german.capitalize(), "weak", "nom", noun.gender)
    article = german_forms.definite("nom", noun.gender)
    full = (
        f"{article} {weak} {field_german}{noun.german.lower()}",
        f"the {adjective_english} {field_english} {noun.english}",
    )
    german = adjective_german[0].upper() + field_german[0] + noun.german[0]
    english = adjective_english[0] + field_english[0] + noun.english[0]
    return full, replace(noun, german=german, english=english)


def _last_word(name: str) -> Forms:
    return (name.split()[-1],)


def _acts(speaker: Sentences, subject: Phrase) -> Pair:
    verb = speaker.lexicon.verb_named[speaker.chance.common(_VERBS)]
    when = speaker.chance.pick(("past", "past", "future"))
    drawn = speaker.clause(when, subject, verb, extras=False)
    return finish(say(replace(drawn, front="subject") if drawn.front == "object" else drawn))
