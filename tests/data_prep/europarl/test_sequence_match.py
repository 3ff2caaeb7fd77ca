"""Matching sequences with gaps: never wrong, and complete where order leaves no doubt."""

from itertools import pairwise
from random import Random

import numpy as np
from europarl.sequence_match import longest_run, match_sequences
from hypothesis import given
from hypothesis import strategies as st

NUMBERS = st.lists(st.integers(0, 6), max_size=40)


def match(ours: list[int], theirs: list[int]) -> list[int]:
    found = match_sequences(np.array(ours, np.uint64), np.array(theirs, np.uint64))
    return [int(index) for index in found]


@given(NUMBERS, NUMBERS)
def test_matches_are_equal_and_in_order(ours, theirs):
    pairs = [(i, j) for i, j in enumerate(match(ours, theirs)) if j >= 0]
    assert all(ours[i] == theirs[j] for i, j in pairs)
    assert all(one[1] < other[1] for one, other in pairwise(pairs))


@given(NUMBERS)
def test_a_sequence_matches_itself(numbers):
    assert match(numbers, numbers) == list(range(len(numbers)))


@given(st.data(), st.sets(st.integers(0, 99), max_size=30))
def test_of_distinct_elements_every_common_one_in_order_is_found(data, values):
    theirs = data.draw(st.permutations(sorted(values)))
    kept = [value for value in theirs if data.draw(st.booleans())]
    assert match([*kept, 100], theirs) == [*map(theirs.index, kept), -1]


def test_repeated_elements_do_not_lead_astray():
    applause, thanks = 1, 2
    theirs = [10, applause, 11, applause, thanks, 12, applause, 13, thanks, 14]
    # Gaps on both sides; the applause that is left is the one behind 12.
    ours = [10, 11, 12, applause, 99, thanks, 14]
    assert match(ours, theirs) == [0, 2, 5, 6, -1, 8, 9]


def test_a_stray_element_far_away_is_not_followed():
    theirs = [*range(10, 60), 5]
    ours = [10, 5, *range(11, 60)]
    assert match(ours, theirs) == [0, -1, *range(1, 50)]


def test_long_sequences_of_many_repeats_take_no_square_time():
    random = Random(1)
    theirs = [random.choice([1, 2, 3, 1000 + i]) for i in range(20_000)]
    ours = [number for number in theirs if random.random() < 0.9]
    found = match(ours, theirs)
    assert sum(index >= 0 for index in found) > 0.95 * len(ours)


@given(st.lists(st.integers(0, 9), max_size=12))
def test_the_longest_run_is_as_long_as_any(numbers):
    run = longest_run(np.array(numbers, dtype=np.int64)).tolist()
    chosen = [numbers[i] for i in run]
    assert run == sorted(set(run))
    assert chosen == sorted(chosen)
    longest = [0]
    for i, number in enumerate(numbers):
        before = [longest[j + 1] for j in range(i) if numbers[j] <= number]
        longest.append(1 + max(before, default=0))
    assert len(run) == max(longest)
