"""The three output formats, character by character."""

import json
from math import log

import pytest

from reluformer.decoding.formats import as_fairseq, as_jsonl, as_text, choose_format
from reluformer.decoding.hypothesis import Hypothesis
from reluformer.decoding.translate import Rendering, Translation
from reluformer.errors import UserError

HALF, EIGHTH = log(1 / 2), log(1 / 8)
RENDERING = Rendering(
    "Is it?", "Is it ?", ["▁Is", "▁it", "▁?"],
    Hypothesis([7, 8, 9], -0.75 * log(4), 4 * -0.75 * log(4), [HALF, HALF, HALF, EIGHTH]),
)  # fmt: skip
SECOND = Rendering("Ist?", "Ist ?", ["▁Ist", "▁?"], Hypothesis([5, 9], -3.0, -9.0, [-4, -3, -2]))
TRANSLATION = Translation(3, "Ist es?", "ist es ?", 0, [RENDERING, SECOND])
BLANK = Translation(4, " ", " ", 0, [])


def test_text_is_the_best_and_blank_stays_blank():
    assert as_text(TRANSLATION) + as_text(BLANK) == "Is it?\n\n"


def test_jsonl_has_all_and_reads_back():
    line = as_jsonl(TRANSLATION, "Is it so?")
    assert line.endswith("\n")
    assert "▁Is" in line
    record = json.loads(line)
    assert record["line"] == 3
    assert record["source"] == "Ist es?"
    assert record["reference"] == "Is it so?"
    assert "truncated" not in record
    assert [h["text"] for h in record["hypotheses"]] == ["Is it?", "Ist?"]
    assert record["hypotheses"][0]["token_scores"] == [HALF, HALF, HALF, EIGHTH]
    assert json.loads(as_jsonl(BLANK))["hypotheses"] == []
    cut = Translation(1, "a", "a", None, [SECOND])
    assert json.loads(as_jsonl(cut))["truncated"] is True


def test_fairseq_lines_count_from_0_and_use_base_2():
    assert as_fairseq(Translation(3, "Ist es?", "ist es ?", 0, [RENDERING]), "Is it so ?") == (
        "S-2\tist es ?\n"
        "T-2\tIs it so ?\n"
        "H-2\t-1.5\tIs it ?\n"
        "D-2\t-1.5\tIs it?\n"
        "P-2\t-1.0000 -1.0000 -1.0000 -3.0000\n"
    )
    assert as_fairseq(BLANK).splitlines()[1:] == ["H-3\t0.0\t", "D-3\t0.0\t", "P-3\t"]


def test_text_cannot_hold_an_n_best_list():
    with pytest.raises(UserError, match=r"`decode\.n_best` is 2, but `format` text holds one line"):
        choose_format("text", 2)
    assert choose_format("jsonl", 2) is as_jsonl
