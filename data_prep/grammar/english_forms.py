"""English inflection: verbs, articles, adverbs of a verb such as `on` in `turn on`."""

from dataclasses import dataclass

_DOUBLING = (
    "get",
    "put",
    "run",
    "swim",
    "win",
    "begin",
    "forget",
    "travel",
    "cancel",
    "stop",
    "sit",
    "hit",
    "rub",
)
_VOWEL_SOUND = ("a", "e", "i", "o", "u", "hour", "honest")
_CONSONANT_SOUND = ("uni", "use", "euro", "one")


@dataclass(frozen=True)
class VerbForms:
    """Principal parts of the inflected word; `tail` is what follows it (turn *on*)."""

    base: str
    past: str
    participle: str
    tail: str

    @property
    def third(self) -> str:
        if self.base == "be":
            return "is"
        if self.base == "have":
            return "has"
        if self.base.endswith(("s", "sh", "ch", "x", "o")):
            return self.base + "es"
        return self.base[:-1] + "ies" if _consonant_y(self.base) else self.base + "s"

    @property
    def progressive(self) -> str:
        if self.base in _DOUBLING:
            return self.base + self.base[-1] + "ing"
        if self.base.endswith("ie"):
            return self.base[:-2] + "ying"
        if self.base.endswith("e") and not self.base.endswith(("ee", "be")):
            return self.base[:-1] + "ing"
        return self.base + "ing"


BE = VerbForms("be", "was", "been", "")
HAVE = VerbForms("have", "had", "had", "")


def verb_forms(text: str) -> VerbForms:
    """`turn on`, `put on, put, put`: the first word is inflected."""
    parts = text.split(", ")
    base, _, tail = parts[0].partition(" ")
    if len(parts) == 3:
        return VerbForms(base, parts[1], parts[2], tail)
    past = _regular_past(base)
    return VerbForms(base, parts[1] if len(parts) == 2 else past, past, tail)


def _consonant_y(word: str) -> bool:
    return word.endswith("y") and word[-2] not in "aeiou"


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    return base[:-1] + "ied" if _consonant_y(base) else base + "ed"


def be(person: int, number: str, past: bool) -> str:
    if number == "pl" or person == 2:
        return "were" if past else "are"
    if past:
        return "was"
    return "am" if person == 1 else "is"


def indefinite_article(following: str) -> str:
    """a or an, by the sound of the next word."""
    word = following.lower()
    vowel = word.startswith(_VOWEL_SOUND) and not word.startswith(_CONSONANT_SOUND)
    return "an" if vowel else "a"
