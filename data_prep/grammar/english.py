"""Says meanings in English: do-support, progressive, modal verbs, and fixed word order."""

from . import english_forms as forms
from .english_verbs import verb_group
from .numerals import english_number
from .phrases import (
    Adverbial,
    Clause,
    Complement,
    Fixed,
    Interrogative,
    Name,
    NounPhrase,
    Owner,
    Phrase,
    Predicate,
    Pronoun,
    Relative,
    Tense,
)

_PRONOUNS = {
    (1, "sg", ""): ("I", "me", "my"),
    (2, "sg", ""): ("you", "you", "your"),
    (3, "sg", "m"): ("he", "him", "his"),
    (3, "sg", "f"): ("she", "her", "her"),
    (3, "sg", "n"): ("it", "it", "its"),
    (1, "pl", ""): ("we", "us", "our"),
    (2, "pl", ""): ("you", "you", "your"),
    (3, "pl", ""): ("they", "them", "their"),
}


def phrase(said: Phrase, subject: bool, negated: bool = False) -> str:
    """The phrase with its relative clause."""
    match said:
        case Pronoun():
            key = (2 if said.polite else said.person, said.number, said.english_gender)
            return _PRONOUNS[key][0 if subject else 1]
        case Name():
            return f"{said.title[1]} {said.words[1]}".strip()
        case Interrogative():
            return "who" if said.human else "what"
        case Relative():
            human = said.antecedent.noun.human
            if subject:
                return "who" if human else "that"
            return "whom" if human else "that"
        case Fixed():
            return said.words[1]
        case NounPhrase():
            return _noun_phrase(said, negated)


def _noun_phrase(said: NounPhrase, negated: bool) -> str:
    noun = said.noun
    head = noun.english if said.number == "sg" else noun.english_plural
    rest = " ".join([*(adjective.english for adjective in said.adjectives), head])
    determiner = _possessor(said.possessor) if said.possessor else _determiner(said, rest, negated)
    text = f"{determiner} {rest}".strip()
    return f"{text} {clause(said.relative, 'relative')}" if said.relative else text


def _possessor(said: Phrase) -> str:
    text = phrase(said, True)
    plural = isinstance(said, NounPhrase) and said.number == "pl" and text.endswith("s")
    return text + ("'" if plural else "'s")


def _determiner(said: NounPhrase, following: str, negated: bool) -> str:
    plural = said.number == "pl"
    match said.determiner:
        case "def":
            return "the"
        case "dies":
            return "these" if plural else "this"
        case "jed":
            return "every"
        case "welch":
            return "which"
        case "poss":
            assert said.owner is not None
            return _possessive(said.owner)
        case "count":
            return str(said.count) if said.digits else english_number(said.count)
        case "indef" if not plural:
            return forms.indefinite_article(following)
    return "any" if negated else ""


def _possessive(owner: Owner) -> str:
    person = 2 if owner.polite else owner.person
    gender = owner.english_gender if (person, owner.number) == (3, "sg") else ""
    return _PRONOUNS[(person, owner.number, gender)][2]


def _subject_and_object(said: Clause) -> tuple[Phrase, tuple[Complement, ...], Phrase | None]:
    """For swapped verbs (mir gefällt das = I like that) the dative is the subject."""
    if not said.swapped:
        return said.subject, said.complements, None
    return said.complements[0].phrase, said.complements[1:], said.subject


def clause(said: Clause, form: str = "statement") -> str:
    """`form`: statement, question, embedded (whether he reads), relative, infinitive (to read),
    imperative (please read); without capital and full stop."""
    subject, complements, moved = _subject_and_object(said)
    asked = isinstance(subject, Interrogative) or _is_which(subject)
    inverted = form == "question" and not asked
    support = inverted or said.negation == "not"
    auxiliary, main = verb_group(said, subject, support)
    front = _front(said, complements, form)
    after = _after(said, complements, moved, form)
    if form in ("infinitive", "imperative"):
        base = said.verb.english.base if said.verb else "be"
        lead = "to" if form == "infinitive" else "please"
        return " ".join(word for word in [lead, base, *after] if word)
    who = phrase(subject, True)
    if form == "relative" and isinstance(subject, Relative):
        front = []
    adverbs = [a.words[1] for a in said.adverbials if a.kind == "frequency"]
    verbs = [_negated(auxiliary, said), *adverbs, main]
    if inverted:
        verbs = [auxiliary, who, _negation(said), *adverbs, main]
    else:
        verbs = [who, *verbs]
    return " ".join(word for word in [*front, *verbs, *after] if word)


def _is_which(said: Phrase) -> bool:
    return isinstance(said, NounPhrase) and said.determiner == "welch"


def _negation(said: Clause) -> str:
    if said.tense is Tense.PERFECT:
        return {"": "already", "not yet": "not", "never": "never"}[said.negation]
    return said.negation


def _negated(auxiliary: str, said: Clause) -> str:
    word = _negation(said)
    return "cannot" if (auxiliary, word) == ("can", "not") else f"{auxiliary} {word}".strip()


def _front(said: Clause, complements: tuple[Complement, ...], form: str) -> list[str]:
    """What precedes the subject: question words, relative pronouns, fronted adverbials."""
    if said.question is not None:
        return [said.question[1]]
    if form == "question" or form == "embedded":
        asked = [c.phrase for c in complements if _asked(c.phrase)]
        return [phrase(asked[0], False)] if asked else []
    if form == "relative":
        several = len(complements) > 1
        return [_relative_phrase(c, several) for c in complements if isinstance(c.phrase, Relative)]
    return [a.words[1] for a in said.adverbials if _fronted(a, said, form)]


def _fronted(adverbial: Adverbial, said: Clause, form: str) -> bool:
    return form == "statement" and adverbial.kind == said.front


def _asked(said: Phrase) -> bool:
    return isinstance(said, Interrogative) or _is_which(said)


def _relative_phrase(complement: Complement, several: bool) -> str:
    """that, whom, for which; to whom something is given"""
    given = several and complement.frame.case == "dat"
    preposition = complement.frame.english_preposition or ("to" if given else "")
    pronoun = phrase(complement.phrase, False)
    if preposition and pronoun == "that":
        pronoun = "which"
    return f"{preposition} {pronoun}".strip()


def _after(
    said: Clause, complements: tuple[Complement, ...], moved: Phrase | None, form: str
) -> list[str]:
    """What follows the verb: particle, objects, predicate, manner, place, time."""
    tail = said.verb.english.tail if said.verb and not said.passive else ""
    negated = said.negation in ("not", "not yet")
    objects = [phrase(moved, False, negated)] if moved is not None else []
    prepositional: list[str] = []
    first: Phrase | None = moved
    for complement in complements:
        words = _complement(complement, form, negated)
        if complement.frame.english_preposition or isinstance(complement.phrase, Fixed):
            prepositional.append(words)
        else:
            first = first or complement.phrase
            objects.append(words)
    core = [*objects, tail] if isinstance(first, Pronoun) else [tail, *objects]
    predicate = [_predicate(said.predicate, negated)] if said.predicate else []
    rest = [
        a.words[1]
        for kind in ("manner", "place", "time")
        for a in said.adverbials
        if a.kind == kind and not _fronted(a, said, form)
    ]
    yet = ["yet"] if said.negation == "not yet" else []
    return [*core, *prepositional, *predicate, *rest, *yet]


def _complement(said: Complement, form: str, negated: bool) -> str:
    preposition = said.frame.english_preposition
    if form == "relative" and isinstance(said.phrase, Relative):
        return ""
    if form in ("question", "embedded") and _asked(said.phrase):
        return preposition  # Who are you waiting for?
    return f"{preposition} {phrase(said.phrase, False, negated and said.plain)}".strip()


def _predicate(said: Predicate, negated: bool) -> str:
    words = [said.degree[1]] if said.degree else []
    if said.place:
        words.append(said.place[1])
    elif said.phrase:
        words.append(phrase(said.phrase, False, negated))
    elif said.adjective and said.than and said.as_than:
        words.append(f"as {said.adjective.english} as {phrase(said.than, True)}")
    elif said.adjective and said.than:
        words.append(f"{said.adjective.english_comparative} than {phrase(said.than, True)}")
    elif said.adjective:
        words.append(said.adjective.english)
    return " ".join(words)
