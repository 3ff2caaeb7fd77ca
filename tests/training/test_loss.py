"""The loss against PyTorch's own pieces and finite differences."""

import pytest
import torch

from reluformer.attention.base import Penalty
from reluformer.model.transformer import CROSS, ENCODER_SELF
from reluformer.training import loss as loss_module
from reluformer.training.loss import LinearCrossEntropy, Totals, mean_penalty


def random_case(vocab_size: int = 13) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    states = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocab_size, 5, dtype=torch.float64, requires_grad=True)
    return states, weight, torch.randint(vocab_size, (7,))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [3, 100])
def test_value_and_gradient_are_those_of_the_formula(
    smoothing: float, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cross-entropy against 1 - s for the truth and s / (V - 1) for every other type."""
    monkeypatch.setattr(loss_module, "CPU_ROWS", rows)
    states, weight, target = random_case()
    loss, nll = LinearCrossEntropy.apply(states, weight, target, smoothing, True)
    logits = states @ weight.t()
    wanted = torch.full_like(logits, smoothing / 12).scatter(1, target[:, None], 1 - smoothing)
    plain = torch.nn.functional.cross_entropy(logits, wanted.detach(), reduction="sum")
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(
        nll, torch.nn.functional.cross_entropy(logits, target, reduction="sum").detach()
    )
    upstream = torch.tensor(0.7, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (states, weight), upstream),
        torch.autograd.grad(plain, (states, weight), upstream),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_finite_differences() -> None:
    states, weight, target = random_case()
    assert torch.autograd.gradcheck(
        lambda s, w: LinearCrossEntropy.apply(s, w, target, 0.2, True)[0], (states, weight)
    )


def test_huge_logits_stay_finite() -> None:
    states = torch.full((2, 5), 1e4, requires_grad=True)
    weight = torch.randn(9, 5)
    loss, _ = LinearCrossEntropy.apply(states, weight, torch.tensor([0, 8]), 0.1, True)
    (gradient,) = torch.autograd.grad(loss, states)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_penalty_is_averaged_over_rows_then_over_layers_and_sites() -> None:
    def penalty(normalisation: float, entropy: float) -> Penalty:
        return Penalty(torch.tensor(normalisation), torch.tensor(entropy))

    found = mean_penalty(
        {ENCODER_SELF: [penalty(10.0, 0.0), penalty(30.0, 20.0)], CROSS: [penalty(8.0, 4.0)]},
        Totals(source_tokens=10, target_tokens=4),
    )
    assert found.normalisation == pytest.approx((1 + 3 + 2) / 3)
    assert found.entropy == pytest.approx((0 + 2 + 1) / 3)
    off = Penalty(None, torch.tensor(6.0))
    found = mean_penalty({ENCODER_SELF: [off], CROSS: [penalty(8.0, 4.0)]}, Totals(2, 4))
    assert found.normalisation == 2
    assert found.entropy == (3 + 1) / 2
    assert mean_penalty({CROSS: []}, Totals(1, 1)) == (torch.zeros(()), torch.zeros(()))
