"""From clauses to finished text in both languages, and clauses made to fit where they stand."""

import re
from dataclasses import replace

from . import english, german
from .lexicon import Pair
from .phrases import Clause, Tense


def say(said: Clause, german_order: str = "second", english_form: str = "statement") -> Pair:
    return german.clause(said, german_order), english.clause(said, english_form)


def say_embedded(said: Clause) -> Pair:
    """After a conjunction or a question word: verb at the end in German."""
    return say(unfronted(said), "final", "embedded")


def join(left: Pair, between: Pair, right: Pair) -> Pair:
    """Both halves with what stands between them, such as `, weil` and ` because`."""
    german_text = f"{left[0]}{between[0]} {right[0]}"
    return german_text, f"{left[1]}{between[1]} {right[1]}"


def finish(words: Pair, end: str = ".") -> Pair:
    """Capital, commas and full stop."""
    return _finish(words[0], end), _finish(words[1], end)


def _finish(text: str, end: str) -> str:
    text = re.sub(r"[\s,]*,", ",", text).strip(" ,")
    return text[0].upper() + text[1:] + end


def unfronted(said: Clause) -> Clause:
    return replace(said, front="subject")


def positive(said: Clause) -> Clause:
    """Without negation, and past instead of perfect."""
    tense = Tense.PAST if said.tense is Tense.PERFECT else said.tense
    return replace(said, negation="", tense=tense)


def undated(said: Clause) -> Clause:
    """Without adverbials of time; what happened every day is then happening."""
    kept = tuple(a for a in said.adverbials if a.kind != "time")
    lasting = said.verb is None or said.verb.flags & {"state", "point"}
    often = any(a.kind == "frequency" for a in kept)
    progressive = said.progressive or not (lasting or often or said.modal)
    return replace(said, adverbials=kept, progressive=progressive)


def timeless(said: Clause) -> Clause:
    """In the plain present, as after if: no modal verb, no time of its own."""
    adverbials = tuple(a for a in said.adverbials if a.kind not in ("time", "frequency"))
    negation = "not" if said.negation == "not" else ""
    return replace(
        said,
        tense=Tense.PRESENT,
        modal="",
        progressive=False,
        adverbials=adverbials,
        negation=negation,
    )
