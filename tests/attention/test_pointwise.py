"""Pointwise attention: length factor, gate and options."""

import pytest
import torch
from mechanisms import load_mechanism

from reluformer.errors import UserError
from reluformer.visibility import Visibility


def test_causal_rows_are_divided_by_their_own_length() -> None:
    """All scores 1: row i has i + 1 weights of (i + 1)^-alpha."""
    mechanism = load_mechanism("pointwise", 1, 4, alpha=0.5, qk_norm=False)
    q = k = torch.ones(1, 1, 5, 4, dtype=torch.float64)
    weights = mechanism.weights(q / 2, k, Visibility(5, 5, causal=True))
    for i in range(5):
        expected = [(i + 1) ** -0.5] * (i + 1) + [0.0] * (4 - i)
        torch.testing.assert_close(weights[0, 0, i].tolist(), expected)


def test_scores_of_normed_queries_and_keys_are_bounded_by_their_size() -> None:
    """Layer norm gives vectors of length sqrt(D), however large they were: |score| <= sqrt(D)."""
    mechanism = load_mechanism("pointwise", 1, 16)
    q, k = (100 * torch.randn(1, 1, 50, 16, dtype=torch.float64) for _ in range(2))
    assert mechanism.scores(q, k).abs().max() <= 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "tanh"}, "`activation` must be one of relu, relu_squared"),
        ({"alpha": 1.5}, r"`alpha` must lie in \[0, 1\], but is 1.5"),
        ({"center": "column"}, "`center` must be none or row, but is 'column'"),
    ],
)
def test_wrong_options_are_named(changes, message) -> None:
    with pytest.raises(UserError, match=message):
        load_mechanism("pointwise", 1, 4, **changes)
