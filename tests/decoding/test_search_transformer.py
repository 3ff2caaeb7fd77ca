"""Search with the real Transformer and its cache, held to whole passes without either."""

import pytest
import torch
from mechanisms import MECHANISMS

from reluformer.data.batch import collate_sources
from reluformer.data.vocabulary import BOS, EOS, PAD, UNK
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch

pytestmark = pytest.mark.unchecked

SHORT = {"max_len_a": 0.2, "max_len_b": 4}


@pytest.fixture(params=MECHANISMS)
def model(request, transformer):
    return transformer(request.param)


@pytest.fixture
def sources(vocabulary, words):
    """Six sentences of 2 to 12 words."""
    return [vocabulary.encode(words(1000 + n, 2 + 2 * n)) for n in range(6)]


def log_probs_in_one_pass(model, source, prefix):
    """log P(next token) at every position of BOS + prefix, without a cache."""
    src_tokens, src_lengths = collate_sources([source])
    previous = torch.tensor([[BOS, *prefix]])
    with torch.no_grad():
        output = model(src_tokens, src_lengths, previous, torch.tensor([previous.shape[1]]))
        return model.logits(output.states)[0].log_softmax(-1)


def test_scores_equal_forced_decoding(model, sources):
    check_scores(model, sources, DecodeOptions(**SHORT, beam_size=4, n_best=4))


@pytest.mark.parametrize("attention", ["relu", "softmax"])
def test_scores_of_long_searches(transformer, attention, sources):
    """In which the cache is rearranged time and again."""
    options = DecodeOptions(beam_size=4, n_best=4, min_length=26, max_len_a=0.0, max_len_b=28)
    check_scores(transformer(attention), sources[-1:], options)


def check_scores(model, sources, options):
    for source, found in zip(
        sources, translate_batch(model, *collate_sources(sources), options), strict=True
    ):
        for hypothesis in found:
            ended = torch.tensor([*hypothesis.tokens, EOS])
            forced = log_probs_in_one_pass(model, source, hypothesis.tokens)
            expected = forced.gather(1, ended[:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(hypothesis.token_scores), expected)
            assert hypothesis.score == pytest.approx(float(expected.mean()), rel=1e-5)


def test_beam_of_one_is_greedy(model, sources):
    """Against the likeliest allowed token, one whole pass for each."""
    options = DecodeOptions(**SHORT, beam_size=1)
    found = translate_batch(model, *collate_sources(sources), options)
    for source, [best] in zip(sources, found, strict=True):
        limit = int(0.2 * (len(source) + 1) + 4)
        tokens = []
        while len(tokens) < limit:
            last = log_probs_in_one_pass(model, source, tokens)[-1]
            last[[PAD, BOS, UNK, *([EOS] if not tokens else [])]] = -torch.inf
            token = int(last.argmax())
            if token == EOS:
                break
            tokens.append(token)
        assert best.tokens == tokens


@pytest.mark.check("B8")
@pytest.mark.parametrize("beam_size", [1, 5])
def test_a_batch_equals_each_sentence_alone(model, sources, beam_size):
    options = DecodeOptions(**SHORT, beam_size=beam_size, n_best=beam_size)
    together = translate_batch(model, *collate_sources(sources), options)
    for source, found in zip(sources, together, strict=True):
        [alone] = translate_batch(model, *collate_sources([source]), options)
        assert [h.tokens for h in found] == [h.tokens for h in alone]
        assert [h.score for h in found] == pytest.approx([h.score for h in alone], rel=1e-5)


@pytest.mark.check("B8")
def test_samples_do_not_depend_on_the_batch(model, sources):
    options = DecodeOptions(
        **SHORT, beam_size=3, n_best=3, sampling=True, temperature=0.8, top_p=0.9
    )
    together = translate_batch(model, *collate_sources(sources), options)
    for number in (0, 5):
        [alone] = translate_batch(model, *collate_sources([sources[number]]), options, [number])
        assert [h.tokens for h in together[number]] == [h.tokens for h in alone]


def test_a_wider_beam_finds_likelier_sentences(transformer, sources):
    """Without a length penalty, summed over sentences."""

    def total(beam_size):
        options = DecodeOptions(**SHORT, beam_size=beam_size, length_penalty=0.0)
        found = translate_batch(transformer("softmax"), *collate_sources(sources), options)
        return sum(best.log_prob for [best] in found)

    assert total(1) < total(4) < total(16)
