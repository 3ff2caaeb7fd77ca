"""Searches with a short vocabulary, beside those with all of it."""

import numpy as np
import pytest
import torch
from torch import nn

from reluformer.data.batch import collate_sources
from reluformer.data.shortlist import Shortlist
from reluformer.data.vocabulary import BOS, EOS, PAD, UNK
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import translate_batch
from reluformer.decoding.shortlist import ShortlistedModel, with_outputs
from reluformer.kernels.linear import Linear
from reluformer.model.precision import Int8Linear, PackedLinear, convert

LONG = DecodeOptions(beam_size=4, n_best=4, min_length=5, max_len_a=0.0, max_len_b=9)


@pytest.fixture(params=["fp32", "int8"])
def model(request, transformer):
    made = transformer("relu").eval()
    convert(made, request.param)
    return made


@pytest.fixture
def sources(vocabulary, words):
    """Six sentences of 2 to 12 words."""
    return [vocabulary.encode(words(1000 + n, 2 + 2 * n)) for n in range(6)]


@pytest.fixture
def shortlist(vocabulary):
    """Two target types at random for each source type, and three for all."""
    rng = np.random.default_rng(0)
    best = rng.integers(UNK + 1, len(vocabulary), (len(vocabulary), 2), dtype=np.int32)
    best[: UNK + 1] = EOS
    return Shortlist(best, np.array([5, 6, 7], dtype=np.int32))


def shortlisted(model, sources, shortlist, options=LONG, ids=None):
    tokens, lengths = collate_sources(sources)
    few = ShortlistedModel(model, tokens, shortlist)
    return few.restore(translate_batch(few, tokens, lengths, options, ids))


def test_a_list_of_all_types_changes_nothing(model, sources, vocabulary):
    everything = np.arange(len(vocabulary), dtype=np.int32)
    best = np.full((len(vocabulary), 1), EOS, dtype=np.int32)
    found = shortlisted(model, sources, Shortlist(best, everything))
    expected = translate_batch(model, *collate_sources(sources), LONG)
    for ranking, other in zip(found, expected, strict=True):
        assert [one.tokens for one in ranking] == [one.tokens for one in other]
        assert [one.score for one in ranking] == pytest.approx([one.score for one in other])


@pytest.mark.check("B8")
def test_each_sentence_keeps_to_its_own_list(model, sources, shortlist):
    """Whatever is beside it in the batch; special symbols in a list stay forbidden."""
    shortlist.best[sources[3], 0] = UNK
    together = shortlisted(model, sources, shortlist)
    for source, ranking in zip(sources, together, strict=True):
        own = {*shortlist.best[source].flatten().tolist(), *shortlist.common.tolist()} - {UNK}
        assert ranking
        for hypothesis in ranking:
            assert set(hypothesis.tokens) <= own
        [alone] = shortlisted(model, [source], shortlist)
        assert [one.tokens for one in alone] == [one.tokens for one in ranking]
        assert [one.score for one in alone] == pytest.approx([one.score for one in ranking])


def test_samples_do_not_depend_on_the_batch(model, sources, shortlist):
    options = DecodeOptions(beam_size=3, n_best=3, sampling=True, max_len_a=0.0, max_len_b=9)
    together = shortlisted(model, sources, shortlist, options, range(6))
    for number, ranking in enumerate(together):
        [alone] = shortlisted(model, sources[number : number + 1], shortlist, options, [number])
        assert [one.tokens for one in alone] == [one.tokens for one in ranking]


def test_scores_are_those_of_the_short_vocabulary(transformer, sources, shortlist):
    """Log-probabilities among the allowed types, from whole passes without a cache."""
    model = transformer("relu").eval()
    for source, [best, *_] in zip(sources, shortlisted(model, sources, shortlist), strict=True):
        own = {*shortlist.best[source].flatten().tolist(), *shortlist.common.tolist()}
        own = sorted(own | {PAD, BOS, EOS, UNK})
        src_tokens, src_lengths = collate_sources([source])
        previous = torch.tensor([[1, *best.tokens]])
        with torch.no_grad():
            output = model(src_tokens, src_lengths, previous, torch.tensor([previous.shape[1]]))
            log_probs = model.logits(output.states)[0][:, own].log_softmax(-1)
        places = torch.tensor([own.index(token) for token in [*best.tokens, EOS]])
        expected = log_probs.gather(1, places[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(best.token_scores), expected)


@pytest.mark.parametrize("kind", [nn.Linear, Linear, PackedLinear, Int8Linear])
@pytest.mark.parametrize("bias", [True, False])
def test_some_outputs_of_a_layer(kind, bias):
    plain = nn.Linear(16, 30, bias=bias)
    layer = plain if kind is nn.Linear else Linear(16, 30, bias=bias)
    layer.load_state_dict(plain.state_dict())
    if kind in (PackedLinear, Int8Linear):
        layer = kind(layer)
    chosen = torch.tensor([29, 3, 3, 17])
    x = torch.randn(5, 16)
    with torch.no_grad():
        torch.testing.assert_close(with_outputs(layer, chosen)(x), layer(x)[:, chosen])
        assert layer(x).shape == (5, 30)
