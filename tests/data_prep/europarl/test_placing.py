"""From single findings to documents: what one side knows, order, and neighbours."""

import numpy as np
from europarl import placing
from europarl.placing import UNKNOWN, Pieces, Source
from hypothesis import given
from hypothesis import strategies as st

DOCUMENTS = st.lists(st.integers(UNKNOWN, 4), max_size=30)


def array(numbers: list[int]) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def test_one_side_may_know_less_but_not_otherwise():
    one = array([0, -1, 0, 0, 1, 1, -1, 2])
    other = array([0, 0, -1, 0, 2, 1, -1, 2])
    # Pair 4 is contradicted and stands between documents 0 and 1, pair 6 between 1 and 2.
    assert placing.agree(one, other).tolist() == [0, 0, 0, 0, -1, 1, -1, 2]


def test_pairs_between_two_of_a_document_are_of_it():
    assert placing.fill_between(array([-1, 0, -1, -1, 0, -1, 1, 1, -1])).tolist() == [
        *[-1, 0, 0, 0, 0],
        *[-1, 1, 1, -1],
    ]


def test_what_interrupts_a_document_is_not_believed():
    stray = array([0, 0, 3, 0, 0, 1, 1, 0, 1])
    assert placing.keep_in_order(stray).tolist() == [0, 0, -1, 0, 0, 1, 1, -1, 1]


@given(DOCUMENTS, DOCUMENTS)
def test_every_document_is_one_run(one, other):
    size = min(len(one), len(other))
    found = placing.agree(array(one[:size]), array(other[:size]))
    known = [document for document in found.tolist() if document != UNKNOWN]
    runs = [d for i, d in enumerate(known) if i == 0 or known[i - 1] != d]
    assert len(runs) == len(set(runs))


def test_the_middle_of_each_group():
    middles = placing.medians(array([9, 1, 5, 7, 2]), array([0, 0, 0, 2, 2]), 4)
    assert middles.tolist() == [5, np.inf, 2, np.inf]


def test_the_pairs_order_of_files_is_found():
    source = Pieces(array([1, 2, 3, 4, 5, 6]).astype(np.uint64), array([0, 0, 1, 1, 2, 2]))
    pairs = Pieces(array([5, 6, 1, 2, 3]).astype(np.uint64), array([0, 0, 1, 2, 3]))
    files = array([0, 0, 1, 1, 2, 2])
    assert placing.place(pairs, Source(source, files), 5).tolist() == [2, 0, 0, 1, UNKNOWN]
