"""Judging and splitting, against plain loops over the pairs."""

from collections import Counter

import numpy as np
import pytest
import steps
from hypothesis import given
from hypothesis import strategies as st
from steps import Fate

from reluformer.errors import UserError

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60)
DIGESTS = st.lists(st.integers(0, 8), min_size=1, max_size=60)


def as_array(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.array(pairs, dtype=np.int32).T


def judge_one(source: int, target: int, max_length: int, max_ratio: float) -> Fate:
    """clean-corpus-n as its manual describes it: one pair, one reason."""
    if source == 0 or target == 0:
        return Fate.EMPTY
    if source > max_length or target > max_length:
        return Fate.TOO_LONG
    if source / target > max_ratio or target / source > max_ratio:
        return Fate.BAD_RATIO
    return Fate.TRAIN


@given(LENGTHS, st.integers(1, 12), st.sampled_from([1.0, 1.5, 2.0, 9.0]))
def test_pairs_are_judged_as_clean_corpus_n_does(pairs, max_length, max_ratio):
    fates = steps.judge_lengths(as_array(pairs), max_length, max_ratio)
    assert fates.tolist() == [judge_one(s, t, max_length, max_ratio) for s, t in pairs]


def test_the_limits_themselves_are_kept():
    fates = steps.judge_lengths(as_array([(175, 175), (176, 176), (3, 2), (2, 3)]), 175, 1.5)
    assert fates.tolist() == [Fate.TRAIN, Fate.TOO_LONG, Fate.TRAIN, Fate.TRAIN]


def test_without_limits_only_empty_sides_are_dropped():
    fates = steps.judge_lengths(as_array([(1, 900), (0, 1), (5, 0), (0, 0)]), None, None)
    assert fates.tolist() == [Fate.TRAIN, Fate.EMPTY, Fate.EMPTY, Fate.EMPTY]


@given(LENGTHS, st.integers(2, 7))
def test_every_nth_of_the_kept_pairs_is_drawn_as_awk_does(pairs, n):
    fates = steps.judge_lengths(as_array(pairs), 10, None)
    kept = [i for i, fate in enumerate(fates) if fate == Fate.TRAIN]
    steps.split_every_nth(fates, n, (Fate.VALID,))
    drawn = [i for number, i in enumerate(kept, start=1) if number % n == 0]
    assert np.flatnonzero(fates == Fate.VALID).tolist() == drawn
    assert (fates == Fate.TRAIN).sum() == len(kept) - len(drawn)


def test_two_splits_take_turns():
    fates = np.zeros(12, dtype=np.uint8)
    steps.split_every_nth(fates, 3, (Fate.VALID, Fate.TEST))
    assert np.flatnonzero(fates == Fate.VALID).tolist() == [2, 8]
    assert np.flatnonzero(fates == Fate.TEST).tolist() == [5, 11]


def test_a_random_split_has_its_sizes_and_depends_on_the_seed_only():
    def draw(seed: int) -> np.ndarray:
        fates = np.array([Fate.TRAIN, Fate.EMPTY] * 50, dtype=np.uint8)
        steps.split_randomly(fates, {Fate.VALID: 7, Fate.TEST: 11}, seed)
        return fates

    drawn = draw(seed=1)
    expected = {Fate.TRAIN: 32, Fate.EMPTY: 50, Fate.VALID: 7, Fate.TEST: 11}
    assert Counter(drawn.tolist()) == expected
    assert (drawn[1::2] == Fate.EMPTY).all()
    assert (drawn == draw(seed=1)).all()
    assert (drawn != draw(seed=2)).any()


def test_a_split_must_leave_pairs_to_train_on():
    with pytest.raises(UserError, match=r"`valid_size` 6 and `test_size` 4 leave none of the 10"):
        steps.split_randomly(np.zeros(10, np.uint8), {Fate.VALID: 6, Fate.TEST: 4}, seed=1)


@given(DIGESTS)
def test_the_first_of_equal_pairs_is_kept(digests):
    fates = np.zeros(len(digests), dtype=np.uint8)
    steps.mark_duplicates(fates, np.array(digests, dtype=np.uint64))
    expected = [
        Fate.DUPLICATE if digest in digests[:i] else Fate.TRAIN for i, digest in enumerate(digests)
    ]
    assert fates.tolist() == expected


def test_a_dropped_pair_does_not_make_a_later_one_a_duplicate():
    fates = np.array([Fate.TOO_LONG, Fate.TRAIN], dtype=np.uint8)
    steps.mark_duplicates(fates, np.array([5, 5], dtype=np.uint64))
    assert fates.tolist() == [Fate.TOO_LONG, Fate.TRAIN]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=40))
def test_no_pair_stands_in_two_splits_and_later_splits_lose_nothing(pairs):
    before = np.array([fate for fate, _ in pairs], dtype=np.uint8)
    digests = np.array([digest for _, digest in pairs], dtype=np.uint64)
    fates = before.copy()
    steps.mark_leaked(fates, digests, documents=False)
    train, valid, test = (set(digests[fates == f]) for f in (Fate.TRAIN, Fate.VALID, Fate.TEST))
    assert not train & valid
    assert not train & test
    assert not valid & test
    assert ((fates == Fate.TEST) == (before == Fate.TEST)).all()
    for i in np.flatnonzero(fates == Fate.LEAKED):
        assert any(before[j] > before[i] and digests[j] == digests[i] for j in range(len(pairs)))


def test_only_training_documents_lose_pairs():
    before = np.array([Fate.TRAIN, Fate.VALID, Fate.TEST, Fate.TRAIN, Fate.VALID], dtype=np.uint8)
    fates = before.copy()
    steps.mark_leaked(fates, np.array([1, 1, 1, 2, 2], dtype=np.uint64), documents=True)
    assert fates.tolist() == [Fate.LEAKED, *before[1:3], Fate.LEAKED, before[4]]


def test_digests_tell_where_one_side_ends():
    assert steps.pair_digest("a b", "c") != steps.pair_digest("a", "b c")
    assert steps.pair_digest("a", "b") == steps.pair_digest("a", "b")
