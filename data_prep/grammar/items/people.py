"""People who are introduced once as a man or a woman, and later named without saying so."""

from ..chance import Chance
from ..lexicon import Lexicon, Noun, Pair, read_table
from ..phrases import Fixed, Name, NounPhrase
from ..saying import finish, say
from ..sentences import Sentences
from .item import Item, act, noun_forms

_TITLES = (("Frau", "Ms"), ("Herr", "Mr"))
_GENDERS = ("f", "m")
_WHEN = (("past", 70.0), ("future", 15), ("present", 15))


def surname(lexicon: Lexicon, chance: Chance) -> Item:
    """Weber hat sich die Hände gewaschen = Weber washed her (or his) hands"""
    name = chance.common(lexicon.names["surnames"])
    people = [Name(name, _GENDERS[i], _TITLES[i]) for i in range(2)]

    def question(speaker: Sentences, variant: int) -> Pair:
        verb, words = speaker.chance.common(read_table("bodies.txt")[""]).split(": ")
        german, english = words.split(" = ")
        body = Fixed((german, english.replace("$", ("her", "his")[variant])))
        when = speaker.chance.weighted(_WHEN)
        return finish(say(act(speaker, when, Name(name, ""), verb, body)))

    return Item(
        "de-en",
        "name",
        lambda speaker, variant: finish(say(speaker.clause("", people[variant]))),
        question,
        (("Frau",), ("Herr",)),
        (name[0],),
        (("her", "hers", "she"), ("his", "he", "him")),
        frozenset({name[0].lower()}),
    )


def profession(lexicon: Lexicon, chance: Chance) -> Item:
    """The doctor is tired = Die Ärztin (or der Arzt) ist müde"""
    jobs = lexicon.groups["job"]
    index = chance.below(len(jobs) // 2) * 2
    nouns = jobs[index + 1], jobs[index]  # the table has the man first
    name = chance.common(lexicon.names["surnames"])

    def question(speaker: Sentences, variant: int) -> Pair:
        subject = NounPhrase(nouns[variant])
        if speaker.chance.maybe(0.3):
            when = speaker.chance.pick(("past", "past", "present"))
            return finish(say(speaker.being(when, subject)))
        return finish(say(speaker.clause("", subject)))

    reserved = {form for noun in nouns for form in (*noun_forms(noun), *_english_forms(noun))}
    return Item(
        "en-de",
        "job",
        lambda speaker, variant: _presented(speaker, nouns[variant], name, _TITLES[variant]),
        question,
        (("Ms",), ("Mr",)),
        (nouns[0].english.split()[0],),
        (noun_forms(nouns[0]), noun_forms(nouns[1])),
        frozenset(word.lower() for word in (*reserved, name[0])),
    )


def _english_forms(noun: Noun) -> tuple[str, str]:
    """The first word of each, as in police officer."""
    return noun.english.split()[0], noun.english_plural.split()[0]


def _presented(speaker: Sentences, noun: Noun, name: Pair, title: Pair) -> Pair:
    """Frau Weber arbeitet als Ärztin in Bremen, and the like."""
    who = f"{title[0]} {name[0]}", f"{title[1]} {name[1]}"
    town = speaker.chance.common(speaker.lexicon.names["cities"])
    article = "die" if noun.gender == "f" else "der"
    a_job = f"{'an' if noun.english[0] in 'aeiou' else 'a'} {noun.english}"
    forms = (
        (
            f"{who[0]} arbeitet als {noun.german} in {town[0]}",
            f"{who[1]} works as {a_job} in {town[1]}",
        ),
        (
            f"{article} {noun.german} heißt {who[0]} und kommt aus {town[0]}",
            f"the {noun.english} is called {who[1]} and comes from {town[1]}",
        ),
        (
            f"{who[0]} ist {article} neue {noun.german} in {town[0]}",
            f"{who[1]} is the new {noun.english} in {town[1]}",
        ),
    )
    return finish(speaker.chance.pick(forms))
