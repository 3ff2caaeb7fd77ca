"""Dropout on the CPU is the textbook's: rate, scale, independence, gradient."""

import pytest
import torch

from reluformer.model.dropout import dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_rate_scale_and_independence(rate: float) -> None:
    x = torch.ones(400, 1001)
    y = dropout(x, rate, training=True)
    dropped = (y == 0).double()
    assert dropped.mean() == pytest.approx(rate, abs=0.005)
    torch.testing.assert_close(
        y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)), rtol=1e-4, atol=0
    )
    neighbours = torch.corrcoef(torch.stack([dropped[:, :-1].flatten(), dropped[:, 1:].flatten()]))
    assert abs(neighbours[0, 1]) < 0.01


def test_every_lane_of_a_random_number_has_the_same_rate() -> None:
    """One 64-bit number serves four elements: none of the four may be off."""
    lanes = (dropout(torch.ones(100_000, 4), 0.3, True) == 0).double().mean(0)
    torch.testing.assert_close(lanes, torch.full_like(lanes, 0.3), atol=0.006, rtol=0)


def test_gradient_passes_where_the_value_did() -> None:
    x = torch.randn(50, 7, requires_grad=True)
    y = dropout(x, 0.4, True)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x.detach(), y.detach())


def test_nothing_happens_outside_training_or_at_rate_zero() -> None:
    x = torch.randn(3, 3)
    assert dropout(x, 0.3, training=False) is x
    assert dropout(x, 0.0, training=True) is x
