"""Words with two translations, once an earlier sentence has said which is meant."""

from dataclasses import dataclass
from functools import cache

from ..chance import Chance
from ..lexicon import Noun, Pair, parse_noun, read_table
from ..phrases import Fixed, NounPhrase
from ..sentences import Sentences
from .item import Item, act, neutral, noun_forms, told


@dataclass(frozen=True)
class Term:
    """Two nouns that are the same word in the source language; `clues` per noun, each
    `verb: German = English`."""

    senses: tuple[Noun, Noun]
    clues: tuple[list[str], list[str]]


def term(chance: Chance, direction: str) -> Item:
    """die Bank = the bench or the bank; the crane = der Kran or der Kranich"""
    drawn = chance.pick(read_terms(direction))
    to_german = direction == "en-de"

    def opening(speaker: Sentences, variant: int) -> Pair:
        verb, words = speaker.chance.pick(drawn.clues[variant]).split(": ")
        german, english = words.split(" = ")
        when = "past" if speaker.chance.maybe(0.75) else "future"
        return told(act(speaker, when, speaker.person(), verb, Fixed((german, english))))

    first, second = drawn.senses
    source = (first.english,) if to_german else noun_forms(first)
    return Item(
        direction,
        "term",
        opening,
        lambda speaker, variant: neutral(speaker, NounPhrase(drawn.senses[variant])),
        (source, source),
        source,
        (noun_forms(first), noun_forms(second))
        if to_german
        else ((first.english,), (second.english,)),
        frozenset(
            word.lower()
            for noun in drawn.senses
            for word in (*noun.english.split(), *noun_forms(noun))
        ),
    )


@cache
def read_terms(direction: str) -> list[Term]:
    """`die Bank = bench | bank` or `bat = die Fledermaus | der Schläger`, each before its clues."""
    terms: list[Term] = []
    for line in read_table("terms.txt")[direction]:
        if line[0] in "12":
            terms[-1].clues[int(line[0]) - 1].append(line[2:])
            continue
        source, targets = line.split(" = ")
        first, second = (
            parse_noun(
                f"{source} = {target}" if direction == "de-en" else f"{target} = {source}", "thing"
            )
            for target in targets.split(" | ")
        )
        terms.append(Term((first, second), ([], [])))
    return terms
