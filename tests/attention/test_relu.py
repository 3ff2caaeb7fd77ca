"""ReLU attention against worked examples, a plain definition, and the theory of its variance."""

import math

import pytest
import torch
from small_models import OPTIONS, relu_attention

from reluformer.attention.relu import SMALLEST_ROW_SUM, ReluAttention
from reluformer.errors import UserError
from reluformer.visibility import Visibility


def tensor(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def test_worked_example() -> None:
    """Two queries, three keys, D = 4: scores are half the dot products; n = 3; gamma = 2."""
    q = tensor([[2, 0, 0, 0], [0, 2, 0, 0]])
    k = tensor([[3, -1, 0, 0], [-2, 1, 0, 0], [1, 4, 0, 0]])
    weights = relu_attention(gamma=2.0).double().weights(q, k, Visibility(2, 3))
    factor = 1 / (2 * math.sqrt(3 / 2))
    expected = tensor([[3 * factor, 0, factor], [0, factor, 4 * factor]])
    torch.testing.assert_close(weights, expected)


def test_worked_example_centred() -> None:
    """Scores 3, -2, 1 have mean 2/3, scores -1, 1, 4 have mean 4/3."""
    q = tensor([[2, 0, 0, 0], [0, 2, 0, 0]])
    k = tensor([[3, -1, 0, 0], [-2, 1, 0, 0], [1, 4, 0, 0]])
    weights = relu_attention(center="row").double().weights(q, k, Visibility(2, 3))
    factor = 1 / math.sqrt(3 / 2)
    torch.testing.assert_close(weights, factor * tensor([[7 / 3, 0, 1 / 3], [0, 0, 8 / 3]]))


@pytest.mark.parametrize("num_keys", [1, 3, 8])
@pytest.mark.parametrize("center", ["none", "row"])
def test_causal_queries_and_keys_are_aligned_at_their_ends(num_keys: int, center: str) -> None:
    """Of five queries; the first of them may have no key at all."""
    q = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    k, v = torch.randn(2, 2, 2, num_keys, 4, dtype=torch.float64)
    mechanism, visibility = (
        relu_attention(center=center).double(),
        Visibility(5, num_keys, causal=True),
    )
    contexts, _ = mechanism(q, k, v, visibility)
    torch.testing.assert_close(contexts, mechanism.weights(q, k, visibility) @ v)


def test_causal_rows_are_scaled_by_their_own_length() -> None:
    """All scores 1: row i has i + 1 weights of 1 / sqrt((i + 1) / 2)."""
    q = k = torch.ones(1, 1, 5, 4, dtype=torch.float64)
    q = q / 2
    weights = relu_attention().double().weights(q, k, Visibility(5, 5, causal=True))
    for i in range(5):
        expected = [1 / math.sqrt((i + 1) / 2)] * (i + 1) + [0.0] * (4 - i)
        torch.testing.assert_close(weights[0, 0, i].tolist(), expected)


@pytest.mark.parametrize("n", [64, 512])
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_variance_of_the_context_does_not_depend_on_length(n: int, gamma: float) -> None:
    """Unit-normal scores and values: variance 1 / gamma^2, row sums sqrt(n / pi) / gamma."""
    torch.manual_seed(n)
    # Scores are unit-normal when the keys are and the queries pick one coordinate of them.
    q = torch.zeros(64, 1, 1, n)
    q[..., 0] = math.sqrt(n)
    k, v = torch.randn(64, 1, n, n), torch.randn(64, 1, n, n)
    mechanism = relu_attention(head_dim=n, gamma=gamma)
    context, _ = mechanism(q, k, v, Visibility(1, n))
    assert 0.9 < context.var() * gamma**2 < 1.1
    row_sums = mechanism.weights(q, k, Visibility(1, n)).sum(-1)
    assert abs(row_sums.mean() * gamma / math.sqrt(n / math.pi) - 1) < 0.1


def test_without_the_factor_variance_grows_with_length() -> None:
    torch.manual_seed(0)
    n = 128
    q = torch.zeros(256, 1, 1, n)
    q[..., 0] = math.sqrt(n)
    k, v = torch.randn(256, 1, n, n), torch.randn(256, 1, n, n)
    context, _ = relu_attention(head_dim=n, scale=False)(q, k, v, Visibility(1, n))
    assert 0.9 < context.var() / (n / 2) < 1.1


@pytest.mark.parametrize("center", ["none", "row"])
@pytest.mark.parametrize("causal", [False, True])
def test_penalty_is_its_definition(center: str, causal: bool) -> None:
    """Row by row, in plain Python, on the rows that count."""
    torch.manual_seed(3)
    q, k, v = (torch.randn(2, 2, 5, 4, dtype=torch.float64) for _ in range(3))
    lengths = torch.tensor([5, 3])
    visibility = Visibility(5, 5, lengths, lengths, causal=causal)
    mechanism = relu_attention(num_heads=2, center=center, entropy_c=0.3).double()
    weights = mechanism.weights(q, k, visibility)
    normalisation = entropy = 0.0
    for b, length in enumerate([5, 3]):
        for i in range(length):
            n = i + 1 if causal else length
            if center == "row" and n == 1:
                continue
            for h in range(2):
                row = [w for w in weights[b, h, i].tolist() if w > 0]
                total = max(sum(row), SMALLEST_ROW_SUM)
                own = -sum(w / total * math.log(w / total) for w in row)
                own = own if row else math.log(SMALLEST_ROW_SUM)
                normalisation += abs(math.log(total)) / 2
                entropy += max(own - 0.3 * math.log(n), 0) / 2
    _, penalty = mechanism(q, k, v, visibility, with_penalty=True)
    assert penalty is not None
    assert float(penalty.normalisation) == pytest.approx(normalisation)
    assert float(penalty.entropy) == pytest.approx(entropy)


def test_terms_of_the_penalty_switch_off_one_by_one() -> None:
    torch.manual_seed(4)
    q, k, v = (torch.randn(1, 1, 9, 4) for _ in range(3))
    both = relu_attention(entropy_c=0.0)(q, k, v, Visibility(9, 9), True)[1]
    first = relu_attention(entropy_c=0.0, entropy_term=False)(q, k, v, Visibility(9, 9), True)[1]
    second = relu_attention(entropy_c=0.0, normalisation_term=False)(
        q, k, v, Visibility(9, 9), True
    )[1]
    assert both is not None
    assert first is not None
    assert second is not None
    assert both.normalisation > 0
    assert both.entropy > 0
    assert (first.normalisation, first.entropy) == (both.normalisation, None)
    assert (second.normalisation, second.entropy) == (None, both.entropy)
    neither = relu_attention(normalisation_term=False, entropy_term=False)
    assert neither(q, k, v, Visibility(9, 9), True)[1] is None
    assert relu_attention()(q, k, v, Visibility(9, 9), with_penalty=False)[1] is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dead_rows_give_zero_and_finite_penalty_and_gradients(dtype: torch.dtype) -> None:
    """All scores negative, up to -1e4: nothing is attended to and nothing is learned from it."""
    q = torch.full((1, 1, 2, 4), 100.0, dtype=dtype, requires_grad=True)
    k = torch.full((1, 1, 3, 4), -50.0, dtype=dtype, requires_grad=True)
    v = torch.randn(1, 1, 3, 4).to(dtype).requires_grad_()
    context, penalty = relu_attention().to(dtype)(q, k, v, Visibility(2, 3), with_penalty=True)
    assert penalty is not None
    assert not context.any()
    total = context.float().sum() + penalty.normalisation + penalty.entropy
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (q, k, v)):
        assert not gradient.any()


def test_learned_gamma_gets_its_gradient() -> None:
    """Against finite differences, and d context / d ln gamma = -context."""
    torch.manual_seed(5)
    q, k, v = (torch.randn(1, 2, 4, 4, dtype=torch.float64) for _ in range(3))
    mechanism = relu_attention(num_heads=2, gamma=1.5, gamma_mode="learned").double()
    visibility = Visibility(4, 4, causal=True)
    context, _ = mechanism(q, k, v, visibility)
    (gradient,) = torch.autograd.grad((context * v).sum(), mechanism.log_gamma)
    torch.testing.assert_close(gradient, -(context * v).sum((0, 2, 3)).detach())
    assert torch.exp(mechanism.log_gamma).tolist() == pytest.approx([1.5, 1.5])


def test_fixed_gamma_is_no_parameter_but_is_saved() -> None:
    mechanism = relu_attention(gamma=3.0)
    assert not list(mechanism.parameters())
    assert torch.exp(mechanism.state_dict()["log_gamma"]).tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("causal", [False, True])
def test_centring_keeps_its_digits_in_bf16(causal: bool) -> None:
    """Keys with a large common component: the error stays that of bf16 operands (6e-3)."""
    torch.manual_seed(7)
    q, k, v = (torch.randn(4, 2, 32, 32).bfloat16() for _ in range(3))
    q, k = q + 3, k + 3
    visibility = Visibility(32, 32, causal=causal)
    mechanism = relu_attention(2, 32, center="row")
    exact = mechanism.double().weights(q.double(), k.double(), visibility) @ v.double()
    context, _ = mechanism.to(torch.bfloat16)(q, k, v, visibility)
    assert (context.double() - exact).norm() / exact.norm() < 6e-3


def test_a_centred_row_with_one_key_is_exactly_empty() -> None:
    """The first causal position in one pass, and a cache that holds one key."""
    q, k, v = (torch.randn(8, 1, 5, 4) for _ in range(3))
    mechanism = relu_attention(center="row")
    assert not mechanism(q, k, v, Visibility(5, 5, causal=True))[0][:, :, 0].any()
    step = Visibility(1, 1, causal=True)
    assert not mechanism(q[:, :, :1], k[:, :, :1], v[:, :, :1], step)[0].any()
    alone = Visibility(5, 5, torch.ones(8, dtype=torch.long))
    assert not mechanism(q, k, v, alone)[0].any()


def test_row_dropout_keeps_the_mean_and_leaves_the_penalty_alone() -> None:
    torch.manual_seed(6)
    q, k, v = (torch.randn(1, 1, 8, 4) for _ in range(3))
    mechanism = ReluAttention(1, 4, dropout=0.5, **OPTIONS)
    still = mechanism.eval()(q, k, v, Visibility(8, 8), True)
    mechanism.train()
    drawn = [mechanism(q, k, v, Visibility(8, 8), True) for _ in range(2000)]
    torch.testing.assert_close(
        torch.stack([context for context, _ in drawn]).mean(0), still[0], atol=0.15, rtol=0.1
    )
    assert drawn[0][1] == still[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gamma": 0.0}, "`gamma` must be a positive number, but is 0.0"),
        ({"gamma_mode": "free"}, "`gamma_mode` must be fixed, learned or calibrated"),
        ({"scale": False, "gamma_mode": "learned"}, "needs `scale` true"),
        ({"center": "column"}, "`center` must be none or row"),
        ({"entropy_c": 1.5}, "`entropy_c` must lie in"),
    ],
)
def test_wrong_options_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        relu_attention(**change)
