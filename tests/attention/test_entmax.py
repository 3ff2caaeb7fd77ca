"""Entmax attention: published values, alpha's bounds, and what alpha is reported."""

import pytest
import torch
from mechanisms import load_mechanism

from reluformer.errors import UserError
from reluformer.visibility import Visibility


@pytest.mark.parametrize(
    ("name", "changes", "scores", "expected"),
    [
        ("sparsemax", {}, (-2, 0, 0.5), (0.0, 0.25, 0.75)),
        ("entmax15", {}, (-2, 0, 0.5), (0.0, 0.3260, 0.6740)),
        ("entmax", {"alpha": 1.33}, (-1, 0, 0.5), (0.0460, 0.3276, 0.6264)),
        ("entmax", {"alpha": 1.33, "alpha_mode": "fixed"}, (-1, 0, 0.5), (0.046, 0.3276, 0.6264)),
    ],
)
def test_values_that_the_package_publishes(name, changes, scores, expected) -> None:
    """The examples of the entmax package's own documentation, in four digits."""
    mechanism = load_mechanism(name, 1, 1, **changes)
    q = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    k = torch.tensor(scores, dtype=torch.float64)[None, None, :, None]
    weights = mechanism.weights(q, k, Visibility(1, 3)).detach().flatten()
    torch.testing.assert_close(weights.tolist(), list(expected), atol=6e-5, rtol=0)


def test_the_published_gradient_by_alpha() -> None:
    """Of the package's documentation: d p_0 / d alpha = -.2562 for (-1, 0, .5) at alpha 1.33."""
    mechanism = load_mechanism("entmax", 1, 1, alpha=1.33)
    q = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    k = torch.tensor([-1, 0, 0.5], dtype=torch.float64)[None, None, :, None]
    (by_logit,) = torch.autograd.grad(
        mechanism.weights(q, k, Visibility(1, 3)).flatten()[0], mechanism.alpha_logit
    )
    (alpha_by_logit,) = torch.autograd.grad(mechanism.alpha.sum(), mechanism.alpha_logit)
    assert float(by_logit / alpha_by_logit) == pytest.approx(-0.2562, abs=1e-4)


def test_learned_alpha_starts_where_it_is_told_and_learns() -> None:
    mechanism = load_mechanism("entmax", 2, 4, alpha=1.7)
    torch.testing.assert_close(mechanism.alpha.flatten().tolist(), [1.7, 1.7])
    assert mechanism.report() == {"alpha": pytest.approx(1.7)}
    q, k, v = (torch.randn(1, 2, 5, 4, dtype=torch.float64) for _ in range(3))
    mechanism(q, k, v, Visibility(5, 5))[0].sum().backward()
    assert mechanism.alpha_logit.grad.abs().min() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("alpha", [1.5, 2.0])
def test_adasplash_agrees_with_the_plain_path(alpha, causal) -> None:
    """Forward and backward, in padded batches."""
    pytest.importorskip("adasplash")
    mechanism = load_mechanism("entmax", 4, 32, alpha=alpha, alpha_mode="fixed").float().cuda()
    lengths = torch.tensor([70, 33, 1], device="cuda")
    visibility = Visibility(70, 70, lengths, lengths, causal=causal, device="cuda")
    inputs = [torch.randn(3, 4, 70, 32, device="cuda", requires_grad=True) for _ in range(3)]
    real = visibility.query_is_real[..., None]
    assert mechanism._runs_fused(*inputs[:2], visibility)
    found = mechanism(*inputs, visibility)[0] * real
    expected = mechanism.weights(*inputs[:2], visibility) @ inputs[2] * real
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    upstream = torch.randn_like(found)
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.0, "alpha_mode": "fixed"}, "`alpha` must be above 1"),
        ({"alpha": 2.0}, "a learned `alpha` must start between 1.01 and 2, but is 2.0"),
        ({"alpha_mode": "free"}, "`alpha_mode` must be fixed or learned, but is 'free'"),
    ],
)
def test_wrong_options_are_named(changes, message) -> None:
    with pytest.raises(UserError, match=message):
        load_mechanism("entmax", 1, 1, **changes)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'reluformer\[baselines\]'"):
        load_mechanism("sparsemax", 1, 1)
