"""ReLA: the scale of its output, its initial values, and rows that see nothing they like."""

import math

import pytest
import torch
from mechanisms import load_mechanism

H, D = 4, 16
BOUND = math.sqrt(3 / (H * D))


def test_initial_gain_and_gate() -> None:
    """ReLA-i: g uniform in (0, sqrt(3 / M)). ReLA-g: g = 1, w in (-sqrt(3 / M), sqrt(3 / M))."""
    small, gated = load_mechanism("rela_i", H, D), load_mechanism("rela_g", H, D)
    assert 0 <= small.gain.min() < 0.2 * BOUND
    assert 0.8 * BOUND < small.gain.max() <= BOUND
    assert (gated.gain == 1).all()
    assert -BOUND <= gated.gate_weight.min() < 0 < gated.gate_weight.max() <= BOUND


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_output_has_the_same_size_whatever_the_context(scale: float) -> None:
    """The root mean square over all heads together is that of the gain."""
    mechanism = load_mechanism("rela_i", H, D)
    context = scale * torch.randn(2, H, 3, D, dtype=torch.float64)
    merged = mechanism.merge_heads(context, torch.zeros(2, 3, H * D))
    normed = (merged / mechanism.gain).square().mean(-1).sqrt()
    torch.testing.assert_close(normed, torch.ones_like(normed), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", ["rela_i", "rela_g"])
def test_dead_rows_give_zero_and_finite_gradients(name: str) -> None:
    mechanism = load_mechanism(name, H, D)
    context = torch.zeros(1, H, 2, D, dtype=torch.float64, requires_grad=True)
    merged = mechanism.merge_heads(context, torch.zeros(1, 2, H * D))
    assert not merged.any()
    (gradient,) = torch.autograd.grad(merged.sum(), context)
    assert gradient.isfinite().all()
