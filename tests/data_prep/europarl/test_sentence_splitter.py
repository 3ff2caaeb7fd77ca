"""Sentence boundaries that Moses' rules and lists decide."""

import pytest
from europarl.sentence_splitter import abbreviations, split_sentences
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("lang", "sentences"),
    [
        ("en", ["Mr. Smith met Dr. Brown.", "He left!", "Really?", "Yes."]),
        ("en", ["It is in Art. 5 of No. 3.", "No.", "That is all."]),
        ("en", ["In the U.S. Army it rose by 3.5 percent.", "Then on 1 May 1999.", "12 came."]),
        ("en", ['He said: "Yes!"', "(Applause) And ...", "'Quoted.'", '"So."', "(In full.)", "X"]),
        ("en", ["Why? asked e.g. the man, i.e. me.", "Well..."]),
        ("de", ["Am 17. Dezember kam Prof. Dr. Meier, z. B. nach Art. 3 mit ihm.", "Gut."]),
        ("de", ["Im Jahr 1999.", "„Ja!“", "Er ging.", "»Nein.«", "Österreich bzw. Wien."]),
    ],
)
def test_a_text_is_cut_where_its_sentences_were_joined(lang, sentences):
    assert split_sentences(" ".join(sentences), lang) == sentences


def test_white_space_of_all_kinds_becomes_single_spaces():
    assert split_sentences(" One  of\tthem.\nTwo.\u00a0Three. \n", "en") == [
        "One of them.",
        "Two.",
        "Three.",
    ]
    assert split_sentences(" \n", "en") == []


def test_what_is_no_end_before_numbers_is_one_before_words():
    assert abbreviations("en").before_numbers >= {"No", "Art", "pp"}
    assert split_sentences("He said No. We left.", "en") == ["He said No.", "We left."]


def test_a_language_without_lists_gets_those_of_english():
    assert split_sentences("Mr. X came. He left.", "xx") == ["Mr. X came.", "He left."]


@given(st.text(alphabet="aB1. ?!\"'()„“\n-é\u00a0", max_size=80), st.sampled_from(["de", "en"]))
def test_nothing_is_lost_and_cutting_again_changes_nothing(text, lang):
    sentences = split_sentences(text, lang)
    assert " ".join(sentences) == " ".join(text.split())
    assert [again for one in sentences for again in split_sentences(one, lang)] == sentences
