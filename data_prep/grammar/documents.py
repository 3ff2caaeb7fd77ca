"""Documents: sentences around openings and questions whose distance is drawn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from reluformer.evaluation.probes import Probe, verdict

from .chance import Chance
from .drawing import Scope, UnsayableError
from .items import institutions, people, pronouns
from .items.item import Draw, Item
from .items.terms import term
from .lexicon import Lexicon, Pair
from .sentences import Sentences
from .splits import seed_for, split_of

SHORTEST = 4
_PUNCTUATION = ".,?!()"
_TRIES = 2000  # for one sentence, before the document's plan is given up
_KINDS = (("pronoun de-en", 25.0), ("pronoun en-de", 25.0), ("lookup", 50.0))
_UNCLEAR = {  # what other sentences must not say while a pronoun waits for its reader
    "pronoun de-en": frozenset({"sie", "er", "ihn", "ihm", "ihr", "ihnen", "mädchen"}),
    "pronoun en-de": frozenset({"it"}),
    "lookup": frozenset(),
}
_LOOKUPS: tuple[Callable[[Lexicon, Chance], Item], ...] = (
    people.surname,
    people.profession,
    institutions.to_english,
    institutions.to_german,
    lambda lexicon, chance: term(chance, "de-en"),
    lambda lexicon, chance: term(chance, "en-de"),
)


@dataclass(frozen=True)
class Document:
    """A finished document; the probes' document and line numbers are still those within it."""

    sentences: list[Pair]
    probes: list[Probe]


@dataclass(frozen=True)
class Placed:
    item: Item
    opens: int
    asks: int


@dataclass
class _Plan:
    scope: Scope
    unclear: frozenset[str]
    placed: list[Placed]


def documents(
    lexicon: Lexicon, split: str, count: int, seed: int, twins: bool, longest: int
) -> Iterator[Document]:
    """`count` documents of 4 to `longest` sentences; as twins, two by two: each question of the
    first stands in the second with the other answer. Otherwise the answers are drawn."""
    chance = Chance(seed_for(seed, "documents", split))
    pair = 0
    for _ in range(count // 2 if twins else count):
        both, questions = _sayable_twins(lexicon, chance, split, longest)
        numbers = range(pair + 1, pair + len(questions) + 1)
        pair += len(questions)
        chosen = (0, 1) if twins else (chance.below(2),)
        for variant in chosen:
            probes = [
                _probe(question, variant, both[variant], number)
                for question, number in zip(questions, numbers, strict=True)
            ]
            yield Document(both[variant], sorted(probes, key=lambda probe: probe.line))


def _sayable_twins(
    lexicon: Lexicon, chance: Chance, split: str, longest: int
) -> tuple[tuple[list[Pair], list[Pair]], list[Placed]]:
    while True:
        try:
            return _twins(lexicon, chance, split, longest)
        except UnsayableError:
            continue


def _twins(
    lexicon: Lexicon, chance: Chance, split: str, longest: int
) -> tuple[tuple[list[Pair], list[Pair]], list[Placed]]:
    length = _spread(chance, SHORTEST, longest)
    plan = _plan(lexicon, chance, length)
    draws: dict[int, tuple[Item, Draw]] = {}
    for placed in plan.placed:
        draws[placed.opens] = (placed.item, placed.item.opening)
        draws[placed.asks] = (placed.item, placed.item.question)
    asks = {placed.asks for placed in plan.placed}
    first: list[Pair] = []
    second: list[Pair] = []
    for position in range(length):
        drawn = draws.get(position)
        pairs = _sentence(lexicon, chance, split, plan, drawn, position in asks)
        first.append(pairs[0])
        second.append(pairs[1])
    return (first, second), plan.placed


def _sentence(
    lexicon: Lexicon,
    chance: Chance,
    split: str,
    plan: _Plan,
    drawn: tuple[Item, Draw] | None,
    asks: bool,
) -> tuple[Pair, Pair]:
    """One sentence in both variants, drawn again until it is clear and of this split."""
    others = [placed.item for placed in plan.placed if drawn is None or placed.item is not drawn[0]]
    reserved = plan.unclear.union(*(item.reserved for item in others))
    if asks:
        reserved -= plan.unclear
    for _ in range(_TRIES):
        seed = chance.fork()
        try:
            if drawn is None:
                pair = Sentences(lexicon, Chance(seed), plan.scope).sentence()
                pairs = pair, pair
            else:
                speakers = [Sentences(lexicon, Chance(seed), plan.scope) for _ in range(2)]
                pairs = drawn[1](speakers[0], 0), drawn[1](speakers[1], 1)
        except UnsayableError:
            continue
        if any(_words(pair) & reserved for pair in pairs):
            continue
        if drawn is not None and asks and not _sound(drawn[0], pairs):
            continue
        keys = [drawn[0].key(pair) if drawn and asks else pair[1] for pair in pairs]
        if all(split_of(key) == split for key in keys):
            return pairs
    raise UnsayableError


def _sound(item: Item, pairs: tuple[Pair, Pair]) -> bool:
    """Whether the source is the same in both variants, and each target gives only its answer."""
    source, target = (0, 1) if item.direction == "de-en" else (1, 0)
    if pairs[0][source] != pairs[1][source]:
        return False
    answers = item.answers
    return (
        all(verdict(pairs[i][target], answers[i], answers[1 - i]) == "right" for i in range(2))
        and _position(pairs[0][source], item.source) is not None
    )


def _words(pair: Pair) -> set[str]:
    return {_plain(word) for text in pair for word in text.split()}


def _plain(word: str) -> str:
    return word.strip(_PUNCTUATION).lower()


def _position(text: str, forms: tuple[str, ...]) -> int | None:
    """Where a word stands in the text, counted in words."""
    wanted = {form.lower() for form in forms}
    places = [i for i, word in enumerate(text.split()) if _plain(word) in wanted]
    return places[0] if places else None


def _probe(placed: Placed, variant: int, sentences: list[Pair], number: int) -> Probe:
    """The probe with its distances, as line `asks` of this document, counted from 0."""
    item = placed.item
    side = 0 if item.direction == "de-en" else 1
    texts = [pair[side] for pair in sentences[placed.opens : placed.asks + 1]]
    start = _position(texts[0], item.antecedents[variant])
    end = _position(texts[-1], item.source)
    assert start is not None
    assert end is not None
    before = sum(len(text.split()) for text in texts[:-1])
    return Probe(
        item.direction,
        item.kind,
        0,
        placed.asks,
        placed.asks - placed.opens,
        before - start + end,
        texts[0].split()[start].strip(_PUNCTUATION),
        texts[-1].split()[end].strip(_PUNCTUATION).lower(),
        item.answers[variant],
        item.answers[1 - variant],
        number,
    )


# Plans


def _plan(lexicon: Lexicon, chance: Chance, length: int) -> _Plan:
    kind = chance.weighted(_KINDS)
    free = set(range(length))
    if kind == "lookup":
        plan = _Plan(Scope(pronouns=False), frozenset(), [])
        _place_lookups(lexicon, chance, length, plan)
        return plan
    if kind == "pronoun en-de":
        plan = _Plan(Scope(things="", pronouns=False), _UNCLEAR[kind], [])
        for opens, asks in _chain(chance, length, free):
            genders = chance.pick(("mf", "fm", "mn", "nm", "fn", "nf"))
            plan.placed.append(Placed(pronouns.to_german(lexicon, chance, genders), opens, asks))
        return plan
    genders = chance.pick(("f", "m", "fm"))
    admitted = "".join(gender for gender in "mfn" if gender not in genders)
    plan = _Plan(Scope(admitted, admitted, False), _UNCLEAR[kind], [])
    for gender in genders:
        for opens, asks in _chain(chance, length, free):
            plan.placed.append(Placed(pronouns.to_english(lexicon, chance, gender), opens, asks))
    return plan


def _chain(chance: Chance, length: int, free: set[int]) -> list[tuple[int, int]]:
    """Spans one after another, as a pronoun means what was introduced last."""
    spans: list[tuple[int, int]] = []
    start = 0
    while length - start >= 2 and not (spans and chance.maybe(0.2)):
        distance = _spread(chance, 1, length - 1 - start)
        opens = chance.between(start, length - 1 - distance)
        asks = opens + distance
        start = asks + 1
        if {opens, asks} <= free:
            free -= {opens, asks}
            spans.append((opens, asks))
    return spans


def _spread(chance: Chance, low: int, high: int) -> int:
    """Half of the time evenly spread, half of the time evenly on a logarithmic scale, so that
    short distances are well covered and long ones not rare."""
    return chance.between(low, high) if chance.maybe(0.5) else chance.log_between(low, high)


def _place_lookups(lexicon: Lexicon, chance: Chance, length: int, plan: _Plan) -> None:
    free = set(range(length))
    for _ in range(1 + length // 3):
        distance = _spread(chance, 1, length - 1)
        opens = chance.between(0, length - 1 - distance)
        item = chance.pick(_LOOKUPS)(lexicon, chance)
        taken = frozenset().union(*(placed.item.reserved for placed in plan.placed))
        if {opens, opens + distance} <= free and not item.reserved & taken:
            free -= {opens, opens + distance}
            plan.placed.append(Placed(item, opens, opens + distance))


def numbered(document: Document, index: int, first_line: int) -> list[Probe]:
    """The probes by their place in a file: document `index`, whose sentences start there."""
    return [
        replace(probe, document=index, line=first_line + probe.line) for probe in document.probes
    ]
