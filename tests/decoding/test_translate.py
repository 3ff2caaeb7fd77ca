"""Text in, text out: order, blank lines, long lines, treatment of the text."""

import random
from itertools import cycle

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reluformer.data.batch import collate_sources
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.decoding.translate import batches_by_length, buffers
from reluformer.decoding.treatment import Treatment
from reluformer.errors import UserError


@pytest.fixture
def lines(words):
    """Blank lines among sentences of all lengths."""
    return ["", *(words(n, 1 + n % 9) for n in range(20)), "  ", words(50), "\t", ""]


@pytest.mark.check("B3")
def test_one_line_for_each_line_in_order(translator, lines):
    subject = translator()
    found = subject.translate(lines)
    assert [translation.source for translation in found] == lines
    assert [translation.number for translation in found] == list(range(1, len(lines) + 1))
    for translation in found:
        assert bool(translation.text) == bool(translation.source.strip())
        [alone] = subject.translate([translation.source])
        assert alone.text == translation.text


@pytest.mark.check("B8")
@pytest.mark.parametrize("max_tokens", [1, 30, 100_000])
def test_the_budget_changes_no_translation(translator, lines, max_tokens):
    expected = [translation.text for translation in translator().translate(lines)]
    advanced = []
    found = translator(max_tokens=max_tokens).translate(lines, advance=advanced.append)
    assert [translation.text for translation in found] == expected
    assert sum(advanced) == len(lines)


def test_wider_beams_have_smaller_batches(translator):
    sizes = [
        translator(options={"beam_size": n}, max_tokens=100).max_tokens for n in (1, 5, 6, 1000)
    ]
    assert sizes == [100, 100, 83, 0]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
        MemoryError(),
    ],
)
def test_a_batch_too_large_is_searched_in_halves(translator, lines, monkeypatch, error):
    expected = [translation.text for translation in translator().translate(lines)]
    most = 3

    def within_memory(model, src_tokens, *rest):
        if len(src_tokens) > most:
            raise error
        return translate_batch(model, src_tokens, *rest)

    monkeypatch.setattr("reluformer.decoding.translate.translate_batch", within_memory)
    found = translator().translate(lines)
    assert [translation.text for translation in found] == expected
    most = 0
    with pytest.raises(UserError, match=r"line 1 does not fit the device's memory: lower `decode"):
        translator().translate(["a b"])


@pytest.mark.check("B8")
@pytest.mark.parametrize("threads", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_threads_change_no_translation(translator, lines, torch_threads, threads):
    expected = [
        translation.renderings for translation in translator(max_tokens=30).translate(lines)
    ]
    torch_threads(threads)
    found = translator(max_tokens=30).translate(lines)
    assert [translation.renderings for translation in found] == expected


@pytest.mark.check("B8")
@pytest.mark.parametrize("attention", ["relu_centered", "softmax"])
@pytest.mark.timeout(3600)
def test_neither_batch_nor_order_changes_a_translation(
    attention, transformer, vocabulary, words, trials, monkeypatch
):
    """Two random orders in batches of 1 to 64, and each sentence alone, with beams of 1 to 8."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # takes most of the time
    model, rng = transformer(attention), random.Random(0)
    with torch.no_grad():  # so that a translation depends on its source
        for layer in model.decoder_layers:
            layer.cross_attention.output_projection.weight *= 4
    sources = [vocabulary.encode(words(n, 1 + n % 6)) for n in range(trials(8, 1000))]
    translations = set()
    for beam_size in range(1, 9):
        options = DecodeOptions(beam_size=beam_size, max_len_a=0.2, max_len_b=4)

        def translate(sizes, options=options):
            found = {}
            order = rng.sample(range(len(sources)), len(sources))
            while order:
                size = next(sizes)
                batch, order = order[:size], order[size:]
                rankings = translate_batch(
                    model, *collate_sources([sources[i] for i in batch]), options
                )
                found |= {i: best.tokens for i, [best] in zip(batch, rankings, strict=True)}
            return found

        growing, shrinking = translate(cycle(range(1, 65))), translate(cycle(range(64, 0, -1)))
        assert growing == shrinking
        for i in range(beam_size - 1, len(sources), 8):
            [[alone]] = translate_batch(model, *collate_sources([sources[i]]), options)
            assert alone.tokens == growing[i]
            translations.add(tuple(alone.tokens))
    assert len(translations) > len(sources) // 5


@pytest.mark.check("B4")
def test_long_lines_are_cut_and_named(translator, words, capsys):
    """And a neighbour of any length is not touched."""
    subject = translator(max_positions=20)
    short, long, huge = words(1, 2), words(2, 40), words(3, 3) + "wauwau" * 300_000
    found = subject.translate([short, long, huge, short])
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 2
    pieces = len(subject.source_vocabulary.encode(long))
    assert f"line 2 has {pieces} pieces, but the model reads 19 at most;" in warnings[0]
    assert "line 3 has far more than 19 pieces" in warnings[1]
    assert found[1].dropped == pieces - 19
    assert [t.text for t in (found[0], found[3])] == [subject.translate([short])[0].text] * 2


@pytest.mark.check("B2")
def test_nuls_are_unknown_characters_and_said_once(translator, words, capsys):
    """Their lines and all others have their translations."""
    subject = translator()
    found = subject.translate([words(1), "\0", f"ä{words(2)}\0{words(3)}", words(4), "a\0"])
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert "line 2, byte 1: a NUL character" in warnings[0]
    assert all(translation.text for translation in found)
    plain = subject.translate([words(1), words(4)])
    assert [found[0].text, found[3].text] == [translation.text for translation in plain]
    [unknown] = subject.translate([f"ä{words(2)}☃{words(3)}"])
    assert found[2].text == unknown.text


def test_lines_longer_than_training_saw_are_cut_and_counted(translator, words, capsys):
    """Though the model has positions for them."""
    subject = translator(trained_length=30)
    long = words(2, 40)
    [short, cut] = subject.translate([words(1, 2), long])
    assert (short.dropped, cut.dropped) == (0, len(subject.source_vocabulary.encode(long)) - 30)
    assert "trained on 30 at most" in capsys.readouterr().err
    assert subject.counts.long == 1
    [whole] = translator(trained_length=30, long_input="extrapolate").translate([long])
    assert whole.dropped == 0


def test_translations_of_sentences_are_as_long_as_the_search_makes_them(translator, words):
    """What training saw is a limit of what is read, and of windows' translations only."""
    subject = translator(trained_length=12, options={"min_length": 20, "max_len_b": 30})
    [found] = subject.translate([words(1, 1)])
    assert found.dropped == 0
    assert len(found.renderings[0].hypothesis.tokens) >= 20


@pytest.mark.check("B4")
def test_spaces_make_no_line_long(translator, words, capsys):
    spaced = " " * 2000 + words(1, 2).replace(" ", " " * 2000)
    [found] = translator(max_positions=20).translate([spaced])
    assert found.text == translator(max_positions=20).translate([words(1, 2)])[0].text
    assert capsys.readouterr().err == ""


def test_long_lines_are_refused_on_request(translator, words):
    subject = translator(max_positions=20, long_input="refuse")
    with pytest.raises(UserError, match=r"line 8 has .* pieces, but the model reads 19"):
        subject.translate([words(1, 2), words(2, 40)], first_number=7)


def test_moses_text_is_tokenised_and_detokenised(translator):
    """What the model reads is lower-cased tokens, whichever form comes in."""
    [plain] = translator(moses=True).translate(["Der Hund's Haus, ein Haus!"])
    assert plain.prepared == "der hund &apos; s haus , ein haus !"
    tokens = "Der Hund &apos; s Haus , ein Haus !"
    [tokenised] = translator(moses=True, input_tokenised=True).translate([tokens])
    assert tokenised.prepared == plain.prepared
    assert tokenised.text == plain.text
    [raw] = translator(moses=True, detokenise=False).translate(["Der Hund's Haus, ein Haus!"])
    assert raw.text == plain.renderings[0].tokenised


def test_tokens_taken_for_plain_text_are_noticed(translator, capsys):
    translator(moses=True).translate(["der hund , ein haus !"])
    assert "`input_tokenised=true`" in capsys.readouterr().err
    translator(moses=True, input_tokenised=True).translate(["der hund , ein haus !"])
    translator(moses=True).translate(["Der Hund, ein Haus!"])
    assert capsys.readouterr().err == ""


def test_restore_undoes_moses_only_where_it_was_done():
    tokens = "it &apos;s late , isn &apos;t it ?"
    assert Treatment("de", "en", moses=True).restore(tokens) == "it's late, isn't it?"
    assert Treatment("de", "en", moses=True, detokenise=False).restore(tokens) == tokens
    assert Treatment("de", "en").restore(tokens) == tokens


def test_tokenised_input_needs_a_model_of_tokens():
    with pytest.raises(UserError, match="`input_tokenised` is true, but the model was trained on"):
        Treatment("de", "en", input_tokenised=True)


def test_a_model_of_nan_is_reported(translator, words):
    subject = translator()
    with torch.no_grad():
        subject.model.output_projection.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="no finite probability for line 2: its training must have"):
        subject.translate(["", words(1)])


@given(st.lists(st.integers(1, 50)), st.integers(1, 200))
def test_batches_hold_all_within_the_budget(lengths, max_tokens):
    batches = list(batches_by_length(np.array(lengths, dtype=np.int64), max_tokens))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= max_tokens


def test_buffers():
    assert list(buffers(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(buffers([], 2)) == []


def test_detokenising_is_for_tokens():
    with pytest.raises(UserError, match="`detokenise` is false, but the model was trained on text"):
        Treatment("de", "en", detokenise=False)
