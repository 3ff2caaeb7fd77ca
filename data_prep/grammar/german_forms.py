"""German inflection: endings of articles, adjectives and nouns, forms of verbs."""

import re
from dataclasses import dataclass

# Columns: masculine, feminine, neuter, plural.
_COLUMN = {"m": 0, "f": 1, "n": 2, "pl": 3}

_DEFINITE = {
    "nom": ("der", "die", "das", "die"),
    "acc": ("den", "die", "das", "die"),
    "dat": ("dem", "der", "dem", "den"),
    "gen": ("des", "der", "des", "der"),
}
_STRONG = {  # dieser, welcher; also adjectives without an article, except in the genitive
    "nom": ("er", "e", "es", "e"),
    "acc": ("en", "e", "es", "e"),
    "dat": ("em", "er", "em", "en"),
    "gen": ("es", "er", "es", "er"),
}
_EIN = {  # ein, kein, mein
    "nom": ("", "e", "", "e"),
    "acc": ("en", "e", "", "e"),
    "dat": ("em", "er", "em", "en"),
    "gen": ("es", "er", "es", "er"),
}
_WEAK = {
    "nom": ("e", "e", "e", "en"),
    "acc": ("en", "e", "e", "en"),
    "dat": ("en", "en", "en", "en"),
    "gen": ("en", "en", "en", "en"),
}
_RELATIVE = _DEFINITE | {
    "dat": ("dem", "der", "dem", "denen"),
    "gen": ("dessen", "deren", "dessen", "deren"),
}
_CONTRACTED = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
    ("bei", "dem"): "beim",
}


def definite(case: str, agreement: str) -> str:
    """der, die, das; `agreement` is a gender (m, f, n) or pl."""
    return _DEFINITE[case][_COLUMN[agreement]]


def relative_pronoun(case: str, agreement: str) -> str:
    return _RELATIVE[case][_COLUMN[agreement]]


def strong_determiner(stem: str, case: str, agreement: str) -> str:
    """dies-, jed-, welch-"""
    return stem + _STRONG[case][_COLUMN[agreement]]


def ein_determiner(stem: str, case: str, agreement: str) -> str:
    """ein, kein and the possessives; euer loses an e before an ending."""
    ending = _EIN[case][_COLUMN[agreement]]
    return ("eur" if stem == "euer" and ending else stem) + ending


def adjective(base: str, declension: str, case: str, agreement: str) -> str:
    """`declension`: weak after der, mixed after ein, strong after nothing."""
    column = _COLUMN[agreement]
    if declension == "mixed" and agreement != "pl" and case in ("nom", "acc"):
        declension = "weak" if (case, agreement) == ("acc", "m") else "strong"
    elif declension == "mixed":
        declension = "weak"
    if declension == "strong" and case == "gen" and agreement in ("m", "n"):
        ending = "en"
    else:
        ending = (_STRONG if declension == "strong" else _WEAK)[case][column]
    return _adjective_stem(base) + ending


def _adjective_stem(base: str) -> str:
    if base.endswith("e"):
        return base[:-1]  # müde, müder
    if base.endswith("el"):
        return base[:-2] + "l"  # dunkel, dunkle
    if base.endswith(("auer", "euer")):
        return base[:-2] + "r"  # teuer, teure
    return base


def noun(singular: str, plural: str, gender: str, weak: bool, case: str, number: str) -> str:
    if number == "pl":
        return plural + "n" if case == "dat" and not plural.endswith(("n", "s")) else plural
    if weak and case != "nom":
        return plural
    if case == "gen" and gender in ("m", "n"):
        return singular + _genitive_ending(singular)
    return singular


def _genitive_ending(singular: str) -> str:
    if singular.endswith(("nis", "bus", "Bus")):
        return "ses"
    if singular.endswith(("s", "ß", "x", "z")):
        return "es"
    one_syllable = len(re.findall(r"[aeiouyäöü]+", singular.lower())) == 1
    native = singular not in ("Park", "Schal", "Film", "Plan", "Tank")
    return "es" if one_syllable and native and singular[-1] not in "aeiouhl" else "s"


def contract(preposition: str, phrase: str) -> str:
    """in + dem Garten = im Garten"""
    first, space, rest = phrase.partition(" ")
    short = _CONTRACTED.get((preposition, first))
    return f"{short} {rest}" if short and space else f"{preposition} {phrase}"


@dataclass(frozen=True)
class VerbForms:
    """Principal parts, the separable prefix apart from all but infinitive and participle."""

    prefix: str
    stem_infinitive: str
    third: str
    past: str
    participle: str
    auxiliary: str  # haben, sein
    reflexive: bool

    @property
    def infinitive(self) -> str:
        return self.prefix + self.stem_infinitive

    @property
    def citation(self) -> str:
        return ("sich " if self.reflexive else "") + self.infinitive

    @property
    def zu_infinitive(self) -> str:
        infinitive = f"zu {self.stem_infinitive}"
        return self.prefix + infinitive.replace(" ", "") if self.prefix else infinitive


HABEN = VerbForms("", "haben", "hat", "hatte", "gehabt", "haben", False)
SEIN = VerbForms("", "sein", "ist", "war", "gewesen", "sein", False)
WERDEN = VerbForms("", "werden", "wird", "wurde", "geworden", "sein", False)
KÖNNEN = VerbForms("", "können", "kann", "konnte", "gekonnt", "haben", False)
MÜSSEN = VerbForms("", "müssen", "muss", "musste", "gemusst", "haben", False)
WOLLEN = VerbForms("", "wollen", "will", "wollte", "gewollt", "haben", False)
DÜRFEN = VerbForms("", "dürfen", "darf", "durfte", "gedurft", "haben", False)
SOLLEN = VerbForms("", "sollen", "soll", "sollte", "gesollt", "haben", False)

_IRREGULAR_PRESENT = {  # ich, du, er, ihr; the rest is the infinitive
    "haben": ("habe", "hast", "hat", "habt"),
    "werden": ("werde", "wirst", "wird", "werdet"),
    "können": ("kann", "kannst", "kann", "könnt"),
    "müssen": ("muss", "musst", "muss", "müsst"),
    "wollen": ("will", "willst", "will", "wollt"),
    "dürfen": ("darf", "darfst", "darf", "dürft"),
    "sollen": ("soll", "sollst", "soll", "sollt"),
    "mögen": ("mag", "magst", "mag", "mögt"),
}
_INSEPARABLE = ("be", "ver", "er", "ent", "zer", "ge", "emp", "über", "unter")


def verb_forms(text: str) -> VerbForms:
    """`auf|stehen, steht, stand, ist gestanden`, or a weak verb's infinitive alone."""
    parts = text.split(", ")
    citation = parts[0].removeprefix("sich ")
    prefix, _, infinitive = citation.rpartition("|")
    auxiliary = "sein" if parts[-1].split()[0] == "ist" else "haben"
    if len(parts) == 4:
        third, past, participle = parts[1], parts[2], parts[3].removeprefix("ist ")
    else:
        stem = _stem(infinitive)
        e = "e" if _needs_e(stem) else ""
        bare = infinitive.endswith("ieren") or infinitive.startswith(_INSEPARABLE)
        third, past = f"{stem}{e}t", f"{stem}{e}te"
        participle = f"{'' if bare else 'ge'}{stem}{e}t"
    reflexive = parts[0].startswith("sich ")
    return VerbForms(prefix, infinitive, third, past, prefix + participle, auxiliary, reflexive)


def _stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def _needs_e(stem: str) -> bool:
    """arbeit-e-t, öffn-e-t, but lern-t, kauf-t"""
    return stem.endswith(("t", "d", "ffn", "chn", "ckn", "tm"))


def present(verb: VerbForms, person: int, number: str) -> str:
    infinitive = verb.stem_infinitive
    if infinitive == "sein":
        return {"sg": ("bin", "bist", "ist"), "pl": ("sind", "seid", "sind")}[number][person - 1]
    if number == "pl" and person != 2:
        return infinitive
    if infinitive in _IRREGULAR_PRESENT:
        return _IRREGULAR_PRESENT[infinitive][3 if number == "pl" else person - 1]
    stem = _stem(infinitive)
    if number == "pl":
        return stem + ("et" if _needs_e(stem) else "t")
    if person == 1:
        return stem + "e"
    return verb.third if person == 3 else _second_person(verb.third, stem)


def _second_person(third: str, stem: str) -> str:
    """du liest, du wartest, du hältst"""
    if stem.endswith("t") and not third.endswith("et"):
        return third + "st"
    base = third.removesuffix("t")
    return base + ("t" if base.endswith(("s", "ß", "z", "x")) else "st")


def preterite(verb: VerbForms, person: int, number: str) -> str:
    past = verb.past
    if number == "pl" and person != 2:
        return past + ("n" if past.endswith("e") else "en")
    if person != 2:
        return past
    sibilant = number == "sg" and past.endswith(("s", "ß"))
    e = "e" if sibilant or past.endswith(("t", "d")) else ""
    return past + e + ("t" if number == "pl" else "st")
