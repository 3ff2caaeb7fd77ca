"""Plain text and Moses tokens are told apart, and neither is treated twice."""

from itertools import islice

import pytest

from reluformer.data.forms import both_forms
from reluformer.data.moses import looks_tokenised, tokenise
from reluformer.data.text import read_lines

PLAIN = ["It's late, isn't it?", "Mr. Smith said: no."]
TOKENS = ["It &apos;s late , isn &apos;t it ?", "Mr. Smith said : no ."]


@pytest.mark.parametrize("given", [PLAIN, TOKENS])
def test_both_forms_come_out_whichever_is_given(given):
    forms = both_forms(given, "en")
    assert (forms.plain, forms.tokens) == (PLAIN, TOKENS)
    assert "(detected)" in forms.made
    assert forms.tokenised == (given is TOKENS)


def test_what_is_said_beats_what_it_looks_like():
    assert both_forms(TOKENS, "en", tokenised=False).tokens[0].startswith("It &amp; apos ; s")
    assert both_forms(PLAIN, "en", tokenised=True).tokens == PLAIN
    assert "(as said)" in both_forms(PLAIN, "en", tokenised=True).made


def test_no_punctuation_counts_as_plain():
    assert not looks_tokenised(["no marks here", ""])
    assert not looks_tokenised([])


@pytest.mark.parametrize(
    "name",
    [
        "multi30k/train.en.gz",
        "multi30k/test_2016_flickr.de",
        "iwslt-ted/iwslt2017-doc/dev.de",
        "europarl7-doc/dev.en",
        "opendocs/train.de.gz",
    ],
)
def test_real_text_is_told_apart_in_hundreds(corpora, name):
    """Any 100 lines in a row, of five kinds of text, are recognised in both forms."""
    path = corpora / name
    lines = list(islice(read_lines(path), 1000))
    lang = path.name.removesuffix(".gz")[-2:]
    for start in range(0, len(lines), 100):
        some = lines[start : start + 100]
        assert not looks_tokenised(some)
        assert looks_tokenised([tokenise(line, lang) for line in some])
