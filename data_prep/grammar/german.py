"""Says meanings in German: case, agreement, and the order of the sentence bracket."""

from . import german_forms as forms
from .german_verbs import verb_complex
from .numerals import german_number
from .phrases import (
    Clause,
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

_PRONOUNS = {  # nominative, accusative, dative, reflexive
    (1, "sg", ""): ("ich", "mich", "mir", "mich"),
    (2, "sg", ""): ("du", "dich", "dir", "dich"),
    (3, "sg", "m"): ("er", "ihn", "ihm", "sich"),
    (3, "sg", "f"): ("sie", "sie", "ihr", "sich"),
    (3, "sg", "n"): ("es", "es", "ihm", "sich"),
    (1, "pl", ""): ("wir", "uns", "uns", "uns"),
    (2, "pl", ""): ("ihr", "euch", "euch", "euch"),
    (3, "pl", ""): ("sie", "sie", "ihnen", "sich"),
    "polite": ("Sie", "Sie", "Ihnen", "sich"),
}
_CASES = {"nom": 0, "acc": 1, "dat": 2, "reflexive": 3}
# Positions in the middle field, from left to right.
_SUBJECT, _REFLEXIVE, _PRONOUN, _TIME, _DATIVE, _DEFINITE = range(6)
_NOT, _GLADLY, _MANNER, _PLACE, _INDEFINITE, _LAST = range(6, 12)
_POSITION: dict[str, float] = {
    "please": _PRONOUN + 0.8,
    "time": _TIME,
    "frequency": _TIME,
    "manner": _MANNER,
    "place": _PLACE,
}


def phrase(said: Phrase, case: str, negated: bool = False) -> str:
    """The phrase without its relative clause."""
    match said:
        case Pronoun():
            key = "polite" if said.polite else (said.person, said.number, said.gender)
            return _PRONOUNS[key][_CASES[case]]
        case Name():
            title = said.title[0] + ("n" if said.title[0] == "Herr" and case != "nom" else "")
            return f"{title} {said.words[0]}".strip()
        case Interrogative():
            who = {"nom": "wer", "acc": "wen", "dat": "wem"}
            return who[case] if said.human else "was"
        case Relative():
            return forms.relative_pronoun(case, said.antecedent.agreement)
        case Fixed():
            return said.words[0]
        case NounPhrase():
            return _noun_phrase(said, case, negated)


def _noun_phrase(said: NounPhrase, case: str, negated: bool) -> str:
    noun, agreement = said.noun, said.agreement
    determiner, declension = _determiner(said, case, negated)
    adjectives = [
        forms.adjective(adjective.german, declension, case, agreement)
        for adjective in said.adjectives
    ]
    head = forms.noun(noun.german, noun.german_plural, noun.gender, noun.weak, case, said.number)
    words = [determiner, *adjectives, head]
    if isinstance(said.possessor, Name):
        words[0] = f"{said.possessor.words[0]}s"
    elif said.possessor is not None:
        words.append(phrase(said.possessor, "gen"))
    return " ".join(word for word in words if word)


def _determiner(said: NounPhrase, case: str, negated: bool) -> tuple[str, str]:
    """The article and the declension that it asks of adjectives."""
    agreement = said.agreement
    if isinstance(said.possessor, Name):
        return "", "strong"
    if negated and said.indefinite:
        return forms.ein_determiner("kein", case, agreement), "mixed"
    match said.determiner:
        case "def":
            return forms.definite(case, agreement), "weak"
        case "dies" | "jed" | "welch":
            return forms.strong_determiner(said.determiner, case, agreement), "weak"
        case "poss":
            assert said.owner is not None
            return forms.ein_determiner(_possessive(said.owner), case, agreement), "mixed"
        case "indef" if said.number == "sg":
            return forms.ein_determiner("ein", case, agreement), "mixed"
        case "count":
            return (str(said.count) if said.digits else german_number(said.count)), "strong"
    return "", "strong"


def _possessive(owner: Owner) -> str:
    if owner.polite:
        return "Ihr"
    if owner.person == 3:
        return "ihr" if owner.number == "pl" or owner.gender == "f" else "sein"
    return {(1, "sg"): "mein", (2, "sg"): "dein", (1, "pl"): "unser", (2, "pl"): "euer"}[
        (owner.person, owner.number)
    ]


def relative_of(said: Phrase) -> str:
    """`, der das Buch liest,` or nothing."""
    if isinstance(said, NounPhrase) and said.relative is not None:
        return f", {clause(said.relative, 'relative')},"
    return ""


def prepositional(preposition: str, said: Phrase, case: str) -> str:
    """With contraction, except before a relative clause: in dem Haus, in dem ..."""
    text = phrase(said, case)
    plain = isinstance(said, NounPhrase) and said.determiner == "def" and said.relative is None
    return forms.contract(preposition, text) if plain else f"{preposition} {text}"


def clause(said: Clause, order: str = "second") -> str:
    """`order`: second (Heute lese ich), first (Lese ich), final (ich heute lese), relative
    (das ich heute lese), infinitive (heute zu lesen); without capital and full stop."""
    finite, end, prefix = verb_complex(said)
    front, field = _fields(said, order)
    middle = [text + relative for text, relative in field[:-1]]
    extraposed = ""
    if field:  # a relative clause moves behind the verbs: hat das Buch gelesen, das ...
        text, extraposed = field[-1]
        middle.append(text)
    if order == "infinitive":
        assert said.verb is not None
        words = [*middle, said.verb.german.zu_infinitive]
    elif order in ("second", "first"):
        words = [*front, finite, *middle, prefix, *end]
    else:
        words = [*front, *middle, *end, (prefix + finite) if not end else finite]
    return " ".join(word for word in [*words, extraposed.strip()] if word)


def _fields(said: Clause, order: str) -> tuple[list[str], list[tuple[str, str]]]:
    """What stands first, and the middle field in order as (text, its relative clause)."""
    items: list[tuple[float, str, tuple[str, str]]] = []  # position, role, text
    if order != "infinitive":
        position = _SUBJECT
        text = phrase(said.subject, "nom")
        role = "relative" if isinstance(said.subject, Relative) else "subject"
        items.append((position, role, (text, relative_of(said.subject))))
    items += _verbal_items(said, order)
    for index, complement in enumerate(said.complements):
        items.append(_complement_item(said, index))
        if isinstance(complement.phrase, Relative):
            items[-1] = (-1, "relative", items[-1][2])
    items.sort(key=lambda item: item[0])
    asked = "question" if said.front == "question" else ""
    front_role = {"second": said.front, "relative": "relative", "final": asked}.get(order, "")
    front = [] if said.question is None else [said.question[0]]
    if said.question is None and front_role:
        chosen = next(item for item in items if item[1] == front_role)
        items.remove(chosen)
        front = ["".join(chosen[2])]
    return front, [text for _, _, text in items]


def _verbal_items(said: Clause, order: str) -> list[tuple[float, str, tuple[str, str]]]:
    """Reflexive, adverbials, negation and predicate."""
    items: list[tuple[float, str, tuple[str, str]]] = [
        (_POSITION[adverbial.kind], adverbial.kind, (adverbial.words[0], ""))
        for adverbial in said.adverbials
    ]
    if said.verb and said.verb.german.reflexive:
        reflexive = "sich"
        if isinstance(said.subject, Pronoun) and order != "infinitive":
            reflexive = phrase(said.subject, "reflexive")
        noun = not isinstance(
            said.subject, Pronoun
        )  # dass sich Anna freut, but dass ich mich freue
        items.append((_SUBJECT - 0.5 if noun else _REFLEXIVE, "reflexive", (reflexive, "")))
    if said.modal == "gladly":
        items.append((_GLADLY, "gladly", ("gern", "")))
    if said.tense is Tense.PERFECT:
        words = {"": "schon", "not yet": "noch nicht", "never": "noch nie"}[said.negation]
        if said.negation == "not yet" and _negated_object(said):
            words = ""
        items.append((_NOT, "negation", (words, "")))
    elif said.negation == "never":
        items.append((_NOT, "negation", ("nie", "")))
    elif said.negation == "not" and not _negated_object(said):
        items.append((_NOT, "negation", ("nicht", "")))
    if said.predicate:
        items.append((_LAST, "predicate", _predicate(said.predicate, bool(said.negation))))
    return items


def _negated_object(said: Clause) -> bool:
    """Whether kein carries the negation."""
    objects = [c.phrase for c in said.complements if c.plain]
    if said.predicate and said.predicate.phrase:
        objects.append(said.predicate.phrase)
    return any(isinstance(p, NounPhrase) and p.indefinite for p in objects)


def _complement_item(said: Clause, index: int) -> tuple[float, str, tuple[str, str]]:
    complement = said.complements[index]
    frame, argument = complement.frame, complement.phrase
    negated = complement.plain and said.negation in ("not", "not yet")
    relative = relative_of(argument)
    if isinstance(argument, Fixed):
        return _LAST, "goal", (phrase(argument, "acc"), relative)
    if frame.german_preposition:
        text = prepositional(frame.german_preposition, argument, frame.case)
        role = "question" if isinstance(argument, Interrogative) else "prepositional"
        return _LAST, role, (text, relative)
    text = phrase(argument, frame.case, negated)
    if isinstance(argument, NounPhrase) and argument.determiner == "welch":
        return _INDEFINITE, "question", (text, relative)
    match argument:
        case Interrogative():
            return _DEFINITE, "question", (text, relative)
        case Pronoun():
            return _PRONOUN + (0.5 if frame.case == "dat" else 0), "pronoun", (text, relative)
        case NounPhrase(determiner="indef" | "none" | "count") if frame.case == "acc":
            noch = "noch " if said.negation == "not yet" and argument.indefinite else ""
            return _INDEFINITE, "object", (noch + text, relative)
    position = _DATIVE if frame.case == "dat" else _DEFINITE
    return position, "object" if frame.case == "acc" else "dative", (text, relative)


def _predicate(said: Predicate, negated: bool) -> tuple[str, str]:
    """The predicate, and what of a comparison moves behind the verbs: wird älter sein als er."""
    words = [said.degree[0]] if said.degree else []
    if said.place:
        words.append(said.place[0])
    elif said.phrase:
        words.append(phrase(said.phrase, "nom", negated))
    elif said.adjective and said.than and said.as_than:
        return f"so {said.adjective.german}", f" wie {phrase(said.than, 'nom')}"
    elif said.adjective and said.than:
        return said.adjective.german_comparative, f" als {phrase(said.than, 'nom')}"
    elif said.adjective:
        words.append(said.adjective.german)
    return " ".join(words), ""
