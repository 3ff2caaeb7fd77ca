"""d-BLEU against sacreBLEU on documents put together by hand, and marks that must agree."""

import pytest
import sacrebleu

from reluformer.data.forms import Forms
from reluformer.errors import UserError
from reluformer.evaluation.documents import (
    Layout,
    by_length,
    joined_documents,
    score_documents,
)

REFERENCE = ["the old man reads a book .", "he likes it .", "", "a dog runs over the green grass ."]
HYPOTHESIS = [
    "the old man reads the book .",
    "he likes it .",
    "",
    "a dog runs on the green grass .",
]
TEXT = ["<d 1>", *REFERENCE[:2], "<d 1>", "<d 2>", *REFERENCE[2:], "<d 2>"]


def forms(lines):
    return Forms(lines, [line.upper() for line in lines], False, "")


def test_a_layout_takes_marks_out_and_puts_them_back():
    layout = Layout.of(TEXT)
    assert layout.sentences(TEXT) == REFERENCE
    assert layout.lines(REFERENCE) == TEXT
    assert layout.starts == [0, 2, 4]
    plain = Layout.of(REFERENCE)
    assert (plain.starts, plain.sentences(REFERENCE)) == ([], REFERENCE)


def test_every_text_has_the_same_marks():
    layout = Layout.of(TEXT)
    layout.check(["<d>" if line.startswith("<d") else "x" for line in TEXT], "h", "r")
    for i, wrong in ((0, "x"), (1, "<d>")):
        lines = [*TEXT[:i], wrong, *TEXT[i + 1 :]]
        with pytest.raises(UserError, match=rf"line {i + 1} of h and of r must both begin"):
            layout.check(lines, "h", "r")


def test_documents_are_lines():
    found = score_documents(forms(HYPOTHESIS), forms(REFERENCE), [0, 2, 4])
    joined = [[" ".join(lines[:2]), lines[3]] for lines in (HYPOTHESIS, REFERENCE)]
    expected = sacrebleu.corpus_bleu(joined[0], [joined[1]]).score
    assert found.bleu == pytest.approx(expected)
    lower = sacrebleu.corpus_bleu(joined[0], [joined[1]], tokenize="none", lowercase=True).score
    assert found.tokenised_bleu == pytest.approx(lower)
    assert found.documents == 2
    (bucket,) = found.buckets
    assert (bucket.words, bucket.documents) == ("0-31", 2)
    assert bucket.document_bleu == found.bleu
    assert bucket.sentence_bleu == sacrebleu.corpus_bleu(HYPOTHESIS, [REFERENCE]).score


def test_a_text_with_marks_is_joined():
    assert joined_documents(TEXT) == [" ".join(REFERENCE[:2]), REFERENCE[3]]


def test_lengths_have_buckets():
    lengths = [3, 31, 32, 63, 64, 1024, 2047]
    expected = {"0-31": [0, 1], "32-63": [2, 3], "64-127": [4], "1024-2047": [5, 6]}
    assert by_length(lengths) == expected
