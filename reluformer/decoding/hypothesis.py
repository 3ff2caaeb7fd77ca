"""One translation of one sentence, as the search found it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """Target pieces without the end of sentence, and what the model thinks of them.

    `token_scores` are natural log-probabilities, one for each token and the last for the end of
    sentence; `log_prob` is their sum and `score` is log_prob / len(token_scores)^length_penalty,
    which is what hypotheses are ranked by.
    """

    tokens: list[int]
    score: float
    log_prob: float
    token_scores: list[float]
