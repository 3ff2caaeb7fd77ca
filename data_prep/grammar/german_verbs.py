"""The German verb in its clause: finite form, the verbs at the end, the prefix it sheds."""

from . import german_forms as forms
from .phrases import Clause, Phrase, Pronoun, Tense

_MODALS = {
    "can": forms.KÖNNEN,
    "must": forms.MÜSSEN,
    "want": forms.WOLLEN,
    "may": forms.DÜRFEN,
    "should": forms.SOLLEN,
}


def _agreement(subject: Phrase) -> tuple[int, str]:
    polite = isinstance(subject, Pronoun) and subject.polite
    return (3, "pl") if polite else (subject.person, subject.number)


def verb_complex(said: Clause) -> tuple[str, list[str], str]:
    """The finite verb, the infinite verbs at the end, the prefix that the finite verb sheds."""
    person, number = _agreement(said.subject)
    verb = said.verb.german if said.verb else forms.SEIN
    end: list[str] = []
    if said.passive:
        end, verb = [verb.participle], forms.WERDEN
    if said.modal == "would like":
        möchte = {(2, "sg"): "möchtest", (2, "pl"): "möchtet"}.get(
            (person, number), "möchte" if number == "sg" else "möchten"
        )
        return möchte, [*end, verb.infinitive], ""
    if said.modal in _MODALS:
        inflect = forms.present if said.tense is Tense.PRESENT else forms.preterite
        return inflect(_MODALS[said.modal], person, number), [*end, verb.infinitive], ""
    match said.tense:
        case Tense.PRESENT | Tense.GOING:
            return forms.present(verb, person, number), end, verb.prefix
        case Tense.FUTURE:
            return forms.present(forms.WERDEN, person, number), [*end, verb.infinitive], ""
        case Tense.PRETERITE:
            return forms.preterite(verb, person, number), end, verb.prefix
        case Tense.PAST if _simple_past(said):
            return forms.preterite(verb, person, number), end, verb.prefix
    auxiliary = forms.SEIN if verb.auxiliary == "sein" else forms.HABEN
    participle = "worden" if said.passive else verb.participle
    return forms.present(auxiliary, person, number), [*end, participle], ""


def _simple_past(said: Clause) -> bool:
    """Verbs whose spoken past is the preterite: war, wusste, and the passive."""
    return said.passive or said.verb is None or "preterite" in said.verb.flags
