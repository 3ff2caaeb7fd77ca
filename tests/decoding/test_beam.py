"""One step's choice of candidates, on numbers worked out by hand."""

import pytest
import torch

from reluformer.decoding.beam import best_candidates, divide, group_size, sampled_candidates

INF = torch.inf
# One sentence, a beam of 2 with scores -1 and -2, four tokens; 3 ends the sentence.
LOG_PROBS = torch.tensor([[[-1.0, -4.0, -3.0, -0.5], [-0.2, -5.0, -6.0, -0.4]]])
SCORES = torch.tensor([[-1.0, -2.0]])
# Continuations:  -2.0  -5.0  -4.0  -1.5  and  -2.2  -7.0  -8.0  -2.4


def test_best_candidates():
    best = best_candidates(LOG_PROBS, SCORES)
    torch.testing.assert_close(best.scores, torch.tensor([[-1.5, -2.0, -2.2, -2.4]]))
    assert best.parents.tolist() == [[0, 0, 1, 1]]
    assert best.tokens.tolist() == [[3, 0, 0, 3]]
    torch.testing.assert_close(best.log_probs, torch.tensor([[-0.5, -1.0, -0.2, -0.4]]))


@pytest.mark.parametrize("vocab_size", [1, 2, 3, 12, 97, 1000, 2 * 499])
@pytest.mark.parametrize("beam_size", [1, 4])
def test_no_candidate_is_better_than_the_best(vocab_size, beam_size):
    """Against all continuations in order, some of no hypothesis and some forbidden."""
    random = torch.Generator().manual_seed(vocab_size)
    log_probs = torch.randn(3, beam_size, vocab_size, generator=random)
    log_probs[1, :, ::3] = -INF
    scores = torch.randn(3, beam_size, generator=random)
    scores[2, 1:] = -INF
    found = best_candidates(log_probs, scores)
    sums = (log_probs + scores[:, :, None]).flatten(1)
    expected = sums.sort(descending=True).values[:, : 2 * beam_size]
    assert torch.equal(found.scores, expected)
    places = found.parents * vocab_size + found.tokens
    assert torch.equal(sums.gather(1, places), expected)
    assert torch.equal(log_probs.flatten(1).gather(1, places), found.log_probs)
    assert all(len(set(row)) == len(row) for row in places.tolist())


@pytest.mark.parametrize(("vocab_size", "size"), [(10_000, 100), (8_000, 80), (97, 1), (1, 1)])
def test_groups_divide_the_vocabulary(vocab_size, size):
    assert group_size(vocab_size) == size


def test_divide_finishes_ends_among_the_first_k_only():
    step = divide(best_candidates(LOG_PROBS, SCORES), 3, 2, torch.tensor([0]))
    assert step.finished.tolist() == [[True, False]]  # the fourth candidate also ends: too late
    assert step.live.parents.tolist() == [[0, 1]]
    assert step.live.tokens.tolist() == [[0, 0]]
    torch.testing.assert_close(step.live.scores, torch.tensor([[-2.0, -2.2]]))


def test_divide_finishes_no_more_than_k_of_a_sentence():
    candidates = best_candidates(torch.tensor([[[-9.0, -9.0, -9.0, -0.1]] * 2]), SCORES)
    assert divide(candidates, 3, 2, torch.tensor([0])).finished.tolist() == [[True, True]]
    assert divide(candidates, 3, 2, torch.tensor([1])).finished.tolist() == [[True, False]]


def test_empty_places_of_the_beam_neither_finish_nor_go_on():
    """Only one hypothesis lives and it must end: nothing is left."""
    log_probs = torch.full((1, 2, 4), -INF)
    log_probs[:, :, 3] = -0.5
    step = divide(best_candidates(log_probs, torch.tensor([[-1.0, -INF]])), 3, 2, torch.tensor([0]))
    assert step.finished.tolist() == [[True, False]]
    assert step.live.scores.tolist() == [[-INF, -INF]]


def draw(uniform, temperature=1.0, top_k=0, top_p=1.0):
    """The token drawn from 0.5, 0.3, 0.2 for tokens 2, 0, 1, and its log-probability."""
    log_probs = torch.tensor([[[0.3, 0.2, 0.5]]]).log()
    uniforms = torch.tensor([[uniform]], dtype=torch.float64)
    drawn = sampled_candidates(
        log_probs, torch.tensor([[-1.0]]), uniforms, temperature, top_k, top_p
    )
    torch.testing.assert_close(drawn.scores, drawn.log_probs - 1.0)
    return drawn.tokens.item(), drawn.log_probs.exp().item()


@pytest.mark.parametrize(
    ("settings", "uniform", "token"),
    [
        ({}, 0.0, 2),
        ({}, 0.49, 2),
        ({}, 0.51, 0),
        ({}, 0.79, 0),
        ({}, 0.81, 1),
        ({}, 1.0, 1),  # rounding up to 1 still draws a token
        ({"top_k": 1}, 0.99, 2),
        ({"top_k": 2}, 0.62, 2),  # 0.5 / 0.8 = 0.625
        ({"top_k": 2}, 0.63, 0),
        ({"top_p": 0.5}, 0.99, 2),  # the first alone holds 0.5
        ({"top_p": 0.51}, 0.99, 0),
        ({"temperature": 0.5}, 0.65, 2),  # squares 25 : 9 : 4, so 25/38 = 0.658
        ({"temperature": 0.5}, 0.67, 0),
    ],
)
def test_sampling_inverts_the_distribution(settings, uniform, token):
    """And reports the model's own probability, whatever the distribution was cut to."""
    drawn, probability = draw(uniform, **settings)
    assert drawn == token
    assert probability == pytest.approx({2: 0.5, 0: 0.3, 1: 0.2}[token])
