"""Alignment by length against all alignments tried one by one, and against known merges."""

import math
from collections.abc import Iterator
from decimal import Decimal, getcontext
from functools import cache
from random import Random
from statistics import NormalDist

import pytest
from europarl import gale_church
from europarl.gale_church import Bead, align, length_cost
from hypothesis import given, settings
from hypothesis import strategies as st

LENGTHS = st.lists(st.integers(1, 300), max_size=4)
# Table 5 of the paper.
TABLE = {(1, 1): 0.89, (1, 0): 0.0099, (0, 1): 0.0099, (2, 1): 0.089, (1, 2): 0.089, (2, 2): 0.011}


@cache
def two_tails(deviations: float) -> float:
    """ln of the chance that a normal variable is so far from its mean, by other means than erfc.

    Far out it is the continued fraction of Laplace, to thirty digits.
    """
    if deviations < 3:
        return math.log(2 * NormalDist().cdf(-deviations))
    getcontext().prec = 30
    z = Decimal(deviations)
    fraction = z
    for k in range(100, 0, -1):
        fraction = z + k / fraction
    density = (-z * z / 2).exp() / (2 * Decimal(math.pi)).sqrt()
    return float((2 * density / fraction).ln())


def every_alignment(source: int, target: int) -> Iterator[list[tuple[int, int]]]:
    """All ways to cover so many sentences by beads, as lists of their sizes."""
    if source == target == 0:
        yield []
    for sizes in TABLE:
        if sizes[0] <= source and sizes[1] <= target:
            for rest in every_alignment(source - sizes[0], target - sizes[1]):
                yield [sizes, *rest]


def price(source: list[int], target: list[int], sizes: list[tuple[int, int]]) -> float:
    """-ln of an alignment's probability by the paper's formulas."""
    total, i, j = 0.0, 0, 0
    for ours, theirs in sizes:
        one, other = sum(source[i : i + ours]), sum(target[j : j + theirs])
        delta = (other - one) / math.sqrt(6.8 * (one + other) / 2)
        total -= math.log(TABLE[ours, theirs]) + two_tails(abs(delta))
        i, j = i + ours, j + theirs
    return total


def sizes_of(beads: list[Bead]) -> list[tuple[int, int]]:
    return [(ours.stop - ours.start, theirs.stop - theirs.start) for ours, theirs in beads]


@settings(deadline=None, max_examples=40)
@given(LENGTHS, LENGTHS)
def test_no_alignment_is_likelier(source, target):
    beads = align(source, target)
    best = min(price(source, target, a) for a in every_alignment(len(source), len(target)))
    assert price(source, target, sizes_of(beads)) == pytest.approx(best, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), max_size=30), st.lists(st.integers(0, 400), max_size=30))
def test_beads_cover_both_texts_in_order(source, target):
    for side, length in ((0, len(source)), (1, len(target))):
        covered = [i for bead in align(source, target) for i in range(length)[bead[side]]]
        assert covered == list(range(length))


@pytest.mark.parametrize("target", [120, 160, 300, 800, 1_000, 2_000, 20_000])
def test_the_far_tails_of_the_normal_are_exact(target):
    deviations = (target - 100) / math.sqrt(6.8 * (100 + target) / 2)
    # From erfc to its asymptote at 35 deviations, which is right to 1 / 35**2 there.
    exact = 1e-9 if deviations < gale_church.FAR else 1 / deviations**2
    assert length_cost(100, target) == pytest.approx(-two_tails(deviations), abs=exact)


def test_equal_lengths_cost_nothing_and_both_directions_the_same():
    assert length_cost(80, 80) == length_cost(0, 0) == 0
    assert length_cost(80, 120) == length_cost(120, 80) > length_cost(80, 110)


def translated(random: Random, sentences: int) -> tuple[list[int], list[int], set[tuple[int, ...]]]:
    """Lengths of a text and its translation, and the beads of which it was made.

    Kinds are as frequent as the paper found; a target sentence's length varies as it found.
    """
    # The table's numbers are of both directions together.
    weights = [TABLE[kind] / (1 if kind[0] == kind[1] else 2) for kind in TABLE]
    kinds = random.choices(list(TABLE), weights, k=sentences)
    source, target, beads = [], [], set()
    for ours, theirs in kinds:
        start = len(source), len(target)
        lengths = [random.randint(20, 200) for _ in range(max(ours, 1))]
        other = max(20, round(random.gauss(sum(lengths), math.sqrt(6.8 * sum(lengths)))))
        cut = other // 2 + random.randint(-5, 5)
        source += lengths[:ours]
        target += [other] * (theirs == 1) + [cut, other - cut] * (theirs == 2)
        if ours and theirs:
            beads.add((start[0], len(source), start[1], len(target)))
    return source, target, beads


@pytest.mark.parametrize("sentences", [8, 40, 300])
def test_known_merges_are_found(sentences):
    """Lengths vary here as much as the model says; in real text, where they vary less, more than
    98 % of the lines of Europarl's own documents are found."""
    random = Random(1)
    found = right = known = 0
    for _ in range(600 // sentences):
        source, target, beads = translated(random, sentences)
        made = {
            (ours.start, ours.stop, theirs.start, theirs.stop)
            for ours, theirs in align(source, target)
            if ours.stop > ours.start and theirs.stop > theirs.start
        }
        found, right, known = found + len(made), right + len(made & beads), known + len(beads)
    assert right / known > 0.86
    assert right / found > 0.86


def test_a_long_text_is_aligned_as_without_the_band(monkeypatch):
    source, target, _ = translated(Random(2), 150)
    near = align(source, target)
    monkeypatch.setattr(gale_church, "BAND", 1_000)
    assert near == align(source, target)


def test_texts_of_very_different_lengths_are_still_aligned():
    assert len(align([50] * 300, [50])) >= 299
    assert align([], []) == []
    assert sizes_of(align([], [10, 20])) == [(0, 1), (0, 1)]
