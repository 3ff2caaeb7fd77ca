"""Search over written-down probabilities: answers by hand, by enumeration, by a plain reference."""

from math import log

import pytest
import torch

from reluformer.data.vocabulary import EOS
from reluformer.decoding.options import DecodeOptions
from reluformer.decoding.search import longest_lengths, translate_batch

A, B = 4, 5


def search(model, sentences=(0,), limit=5, ids=None, **options):
    """The hypotheses of each sentence; `limit` is the longest length."""
    src_tokens = torch.tensor(sentences)[:, None]
    src_lengths = torch.ones(len(sentences), dtype=torch.long)
    options = DecodeOptions(max_len_a=0.0, max_len_b=limit, **options)
    return translate_batch(model, src_tokens, src_lengths, options, ids)


def by_hand(hypotheses):
    return [("".join({A: "a", B: "b"}[token] for token in h.tokens), h.score) for h in hypotheses]


def test_greedy_takes_the_garden_path(table_model, garden_path):
    """a, a, end: 0.55 * 0.36 * 0.9."""
    [[best]] = search(table_model(garden_path), beam_size=1, length_penalty=0.0)
    assert best.tokens == [A, A]
    assert best.score == pytest.approx(log(0.55 * 0.36 * 0.9), rel=1e-6)
    assert best.token_scores == pytest.approx([log(0.55), log(0.36), log(0.9)], rel=1e-6)


def test_beam_of_two_leaves_it(table_model, garden_path):
    """b, end: 0.4 * 0.9 = 0.36, found at the second step; aa alone follows, 0.55 * 0.36 * 0.9."""
    model = table_model(garden_path)
    [found] = search(model, beam_size=2, n_best=2, length_penalty=0.0)
    assert by_hand(found) == [
        ("b", pytest.approx(log(0.36), rel=1e-6)),
        ("aa", pytest.approx(log(0.1782), rel=1e-6)),
    ]


def test_stops_as_soon_as_the_best_is_certain(table_model, garden_path):
    """After two steps 0.36 is finished and the best alive has 0.198: with one wanted, two do."""
    model = table_model(garden_path)
    assert by_hand(search(model, beam_size=2, length_penalty=0.0)[0])[0][0] == "b"
    assert model.num_steps == 2


def test_length_penalty_ranks(table_model, garden_path):
    """log(0.36) / 2^2 = -0.2554 loses to log(0.1782) / 3^2 = -0.1917, which is found later."""
    [[best]] = search(table_model(garden_path), beam_size=2, length_penalty=2.0)
    assert best.tokens == [A, A]
    assert best.score == pytest.approx(log(0.1782) / 9, rel=1e-6)
    assert best.log_prob == pytest.approx(log(0.1782), rel=1e-6)


def test_most_pieces_are_a_limit_for_every_sentence(table_model, garden_path):
    """As the longest length is, where that is higher."""
    tokens, lengths = torch.zeros(2, 1, dtype=torch.long), torch.ones(2, dtype=torch.long)
    options = DecodeOptions(max_len_a=0.0, max_len_b=5, beam_size=2, min_length=2)
    bound = translate_batch(table_model(garden_path), tokens, lengths, options, most_pieces=2)
    expected = search(table_model(garden_path), (0, 0), limit=2, beam_size=2, min_length=2)
    assert [by_hand(found) for found in bound] == [by_hand(found) for found in expected]
    assert all(len(best.tokens) == 2 for [best] in bound)


def test_minimum_and_maximum_length(table_model, garden_path):
    """The shortest allowed: b ends at once by choice; the longest allowed: it must end."""
    model = table_model(garden_path)
    assert by_hand(search(model, beam_size=2, limit=1, length_penalty=0.0)[0])[0][0] == "b"
    [[best]] = search(model, beam_size=1, limit=1)
    assert best.token_scores == pytest.approx([log(0.55), log(0.30)], rel=1e-6)
    [[best]] = search(model, beam_size=1, min_length=4)
    assert best.tokens == [A, A, A, A]
    [[best]] = search(model, beam_size=1, min_length=4, limit=2)
    assert len(best.tokens) == 2  # the limit wins
    [[best]] = search(model, beam_size=2, limit=0)
    assert best.tokens == []


def test_special_tokens_are_never_chosen(table_model):
    def table(sentence, prefix):
        return [0.3, 0.3, 0.05, 0.3, 0.04, 0.01]  # PAD, BOS, EOS, UNK, A, B

    for options in ({"beam_size": 1}, {"beam_size": 3}, {"beam_size": 3, "sampling": True}):
        [[best]] = search(table_model(table), **options)
        assert set(best.tokens) <= {A, B}


def enumerate_all(table, sentence, limit, prefix=(), log_prob=0.0):
    """Every hypothesis of at most `limit` tokens with its log-probability."""
    probabilities = table(sentence, prefix)
    yield prefix, log_prob + log(probabilities[EOS])
    if len(prefix) < limit:
        for token in (A, B):
            extended = log_prob + log(probabilities[token])
            yield from enumerate_all(table, sentence, limit, (*prefix, token), extended)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
def test_full_beam_finds_everything(table_model, random_table, seed, length_penalty):
    """A beam that holds all 2^4 prefixes of length 4 returns all 31 hypotheses, ranked."""
    table, limit = random_table(seed), 4
    every = {
        tokens: log_prob / (len(tokens) + 1) ** length_penalty
        for tokens, log_prob in enumerate_all(table, 0, limit)
    }
    [found] = search(
        table_model(table),
        limit=limit,
        beam_size=len(every),
        n_best=len(every),
        min_length=0,
        length_penalty=length_penalty,
    )
    assert {tuple(h.tokens): h.score for h in found} == pytest.approx(every, rel=1e-5)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def plain_beam_search(table, limit, beam_size, n_best, length_penalty, min_length):
    """The rule of reluformer/decoding/search.py for one sentence, without stopping early."""
    live, finished = [((), 0.0)], []
    for length in range(limit + 1):
        candidates = []
        for tokens, score in live:
            probabilities = table(0, tokens)
            if length >= min(min_length, limit):
                candidates.append((score + log(probabilities[EOS]), tokens, EOS))
            if length < limit:
                candidates += [(score + log(probabilities[t]), tokens, t) for t in (A, B)]
        candidates.sort(key=lambda candidate: -candidate[0])
        for score, tokens, token in candidates[:beam_size]:
            if token == EOS and len(finished) < beam_size:
                finished.append((score / (length + 1) ** length_penalty, list(tokens)))
        live = [((*tokens, t), score) for score, tokens, t in candidates if t != EOS][:beam_size]
        if len(finished) == beam_size:
            break
    finished.sort(key=lambda hypothesis: -hypothesis[0])
    return finished[:n_best]


@pytest.mark.parametrize("seed", range(40))
def test_stopping_early_loses_nothing(table_model, random_table, seed):
    """Against a plain search to the end, over beams, penalties, lengths and wordiness."""
    rng = torch.Generator().manual_seed(seed)
    beam_size = int(torch.randint(1, 5, (), generator=rng))
    settings = {
        "limit": int(torch.randint(0, 9, (), generator=rng)),
        "beam_size": beam_size,
        "n_best": int(torch.randint(1, beam_size + 1, (), generator=rng)),
        "length_penalty": float(torch.rand((), generator=rng)) * 2,
        "min_length": int(torch.randint(0, 4, (), generator=rng)),
    }
    table = random_table(seed, end_share=0.3)
    [found] = search(table_model(table), **settings)
    expected = plain_beam_search(table, **settings)
    assert [h.tokens for h in found] == [tokens for _, tokens in expected]
    assert [h.score for h in found] == pytest.approx([score for score, _ in expected], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"beam_size": 1},
        {"beam_size": 3, "n_best": 3},
        {"beam_size": 3, "n_best": 3, "sampling": True},
    ],
)
def test_a_batch_equals_each_sentence_alone(table_model, random_table, options):
    """Sentences leave the batch at different steps, and none of them notices."""
    table = random_table(1)
    sentences = list(range(12))
    together = search(table_model(table), sentences, limit=8, **options)
    alone = [
        search(table_model(table), [sentence], limit=8, ids=[sentence], **options)[0]
        for sentence in sentences
    ]
    assert together == alone
    assert len({len(best.tokens) for best, *_ in together}) > 2


def test_scores_are_those_of_the_tokens(table_model, random_table):
    """Every score is the sum of what the table says of each token, sampled or searched."""
    table = random_table(3, end_share=0.3)
    for options in ({}, {"sampling": True, "temperature": 0.7, "top_k": 2}):
        found = search(table_model(table), [0, 1, 2], beam_size=4, n_best=4, **options)
        for sentence, hypotheses in enumerate(found):
            assert len(hypotheses) == 4
            for hypothesis in hypotheses:
                ended = [*hypothesis.tokens, EOS]
                forced = [log(table(sentence, tuple(ended[:i]))[t]) for i, t in enumerate(ended)]
                assert hypothesis.token_scores == pytest.approx(forced, rel=1e-5)
                assert hypothesis.log_prob == pytest.approx(sum(forced), rel=1e-5)
                assert hypothesis.score == pytest.approx(sum(forced) / len(ended), rel=1e-5)


def test_samples_follow_the_table(table_model, garden_path):
    """5,000 samples: the share of each hypothesis within 4 standard deviations."""
    number = 5_000
    [samples] = search(
        table_model(garden_path), beam_size=number, n_best=number, sampling=True, min_length=0
    )
    assert len(samples) == number
    drawn = ["".join(map(str, h.tokens)) for h in samples]
    for text, share in {"": 0.05, "4": 0.55 * 0.30, "5": 0.40 * 0.90, "44": 0.1782}.items():
        deviation = (share * (1 - share) / number) ** 0.5
        assert drawn.count(text) / number == pytest.approx(share, abs=4 * deviation)


def test_seed_and_sentence_choose_the_sample(table_model, garden_path):
    def draw(**options):
        return search(table_model(garden_path), beam_size=8, n_best=8, sampling=True, **options)

    assert draw(seed=1) == draw(seed=1)
    assert draw(seed=1) != draw(seed=2)
    assert draw(ids=[0]) != draw(ids=[1])


def test_no_finite_probability_gives_an_empty_hypothesis(table_model):
    def table(sentence, prefix):
        return [float("nan")] * 6

    for options in ({"beam_size": 1}, {"beam_size": 2}, {"beam_size": 2, "sampling": True}):
        [[hypothesis]] = search(table_model(table), limit=3, **options)
        assert (hypothesis.tokens, hypothesis.score) == ([], -torch.inf)


def test_longest_lengths_count_the_source_and_fit_the_positions():
    lengths = longest_lengths(torch.tensor([1, 10, 200]), DecodeOptions(), max_positions=128)
    assert lengths.tolist() == [11, 22, 127]


def test_no_sentences():
    class NoModel:
        max_positions = 10

        def encode(self, src_tokens, src_lengths):
            return None

        def start(self, encoded):
            return None

    empty = torch.zeros(0, dtype=torch.long)
    assert translate_batch(NoModel(), empty[:, None], empty, DecodeOptions()) == []
