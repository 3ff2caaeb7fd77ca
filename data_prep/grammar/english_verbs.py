"""The English verb in its clause: auxiliary and main verb, do-support, modal verbs."""

from . import english_forms as forms
from .phrases import Clause, Phrase, Pronoun, Tense

# Modal verbs: the auxiliary, or the verb that stands for it before `to`.
_AUXILIARIES = {
    ("can", False): "can",
    ("can", True): "could",
    ("must", False): "must",
    ("may", False): "may",
    ("should", False): "should",
}
_LEADING = {
    "must": forms.VerbForms("have", "had", "had", "to"),
    "want": forms.VerbForms("want", "wanted", "wanted", "to"),
    "gladly": forms.VerbForms("like", "liked", "liked", "to"),
    "may": forms.VerbForms("be", "was", "been", "allowed to"),
}


def verb_group(said: Clause, subject: Phrase, support: bool) -> tuple[str, str]:
    """The auxiliary (perhaps empty) and the main verb without its tail; `support`: needs do."""
    person, number = subject.person, subject.number
    if isinstance(subject, Pronoun) and subject.polite:
        person = 2
    verb = said.verb.english if said.verb else forms.BE
    if said.passive:
        verb = forms.VerbForms("be", "was", "been", verb.participle)
    past = said.tense in (Tense.PAST, Tense.PRETERITE)
    tail = f" {verb.tail}" if said.passive else ""
    if said.modal == "would like":
        return "would", f"like to {verb.base}{tail}"
    if said.modal:
        return _modal_group(said, verb, (person, number), past, support)
    match said.tense:
        case Tense.FUTURE | Tense.GOING:
            return "will", verb.base + tail
        case Tense.PERFECT:
            return _inflect(forms.HAVE, person, number, False), verb.participle + tail
        case Tense.PRESENT if said.progressive and verb.base != "be":
            return forms.be(person, number, False), verb.progressive
    return _simple(verb, person, number, past, support, tail)


def _modal_group(
    said: Clause, verb: forms.VerbForms, agreement: tuple[int, str], past: bool, support: bool
) -> tuple[str, str]:
    """must not for darf nicht, do not have to for muss nicht."""
    base = verb.base + (f" {verb.tail}" if said.passive else "")
    negated = said.negation == "not"
    if said.modal == "may" and negated and not past:
        return "must", base
    if (said.modal, past) in _AUXILIARIES and not (said.modal == "must" and (negated or support)):
        return _AUXILIARIES[said.modal, past], base
    lead = _LEADING[said.modal]
    auxiliary, main = _simple(lead, *agreement, past, support, "")
    return auxiliary, f"{main} {lead.tail} {base}".strip()


def _simple(
    verb: forms.VerbForms, person: int, number: str, past: bool, support: bool, tail: str
) -> tuple[str, str]:
    if verb.base == "be":
        return forms.be(person, number, past), tail.strip()
    if support:
        third = person == 3 and number == "sg"
        return ("did" if past else "does" if third else "do"), verb.base
    return "", verb.past if past else _inflect(verb, person, number, past)


def _inflect(verb: forms.VerbForms, person: int, number: str, past: bool) -> str:
    if past:
        return verb.past
    return verb.third if person == 3 and number == "sg" else verb.base
