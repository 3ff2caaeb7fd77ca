"""Every mechanism in conf/attention against every property, in float64.

A mechanism is found by its yaml: drop one there and it is tested here.
"""

from collections.abc import Iterator

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from reluformer.attention.base import Attention
from reluformer.attention.cache import KeyValueCache
from reluformer.attention.multihead import MultiHeadAttention
from reluformer.config.instantiate import instantiate
from reluformer.config.paths import config_dir
from reluformer.visibility import Visibility

B, H, D = 3, 2, 4
MECHANISMS = sorted(path.stem for path in (config_dir() / "attention").glob("*.yaml"))


def load_mechanism(name: str, **changes: object) -> Attention:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(overrides=[f"+attention={name}"])
    node = OmegaConf.to_container(config.attention)
    return instantiate({**node, **changes}, num_heads=H, head_dim=D).double()


@pytest.fixture(params=MECHANISMS)
def mechanism(request: pytest.FixtureRequest) -> Iterator[Attention]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield load_mechanism(request.param)


def random_qkv(num_queries: int, num_keys: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(
        torch.randn(B, H, n, D, dtype=torch.float64, generator=generator)
        for n in (num_queries, num_keys, num_keys)
    )


def lengths(*values: int) -> torch.Tensor:
    return torch.tensor(values)


def padded(num_queries: int = 5, num_keys: int = 7) -> Visibility:
    return Visibility(num_queries, num_keys, lengths(7, 4, 1), lengths(5, 2, 5))


def causal(n: int = 6) -> Visibility:
    return Visibility(n, n, lengths(6, 3, 1), lengths(6, 3, 1), causal=True)


@pytest.mark.parametrize("visibility", [padded(), causal()], ids=["padded", "causal"])
def test_context_is_weights_times_values(mechanism: Attention, visibility: Visibility) -> None:
    """The fast path agrees with the plain reference, forward and backward, on real queries."""
    q, k, v = random_qkv(visibility.num_queries, visibility.num_keys)
    real = visibility.query_is_real[..., None]
    upstream = torch.randn(B, H, visibility.num_queries, D, dtype=torch.float64) * real
    gradients = []
    for context_of in (
        lambda q, k, v: mechanism(q, k, v, visibility)[0],
        lambda q, k, v: mechanism.weights(q, k, visibility) @ v,
    ):
        inputs = [x.clone().requires_grad_() for x in (q, k, v)]
        context = context_of(*inputs)
        gradients.append((context * real, *torch.autograd.grad(context, inputs, upstream)))
    for fast, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fast, plain)


def test_padded_keys_change_nothing(mechanism: Attention) -> None:
    """A sentence alone gives what it gives among longer ones, whatever stands in the padding."""
    visibility = padded()
    q, k, v = random_qkv(5, 7)
    hidden = ~visibility.key_is_visible[:, None, :, None]
    together = mechanism(q, k, v, visibility)[0]
    disturbed = mechanism(q, k.masked_fill(hidden, 9.0), v.masked_fill(hidden, -9.0), visibility)
    torch.testing.assert_close(disturbed[0], together)
    for b, (n, t) in enumerate(zip((7, 4, 1), (5, 2, 5), strict=True)):
        alone = mechanism(
            q[b : b + 1, :, :t], k[b : b + 1, :, :n], v[b : b + 1, :, :n], Visibility(t, n)
        )[0]
        torch.testing.assert_close(alone, together[b : b + 1, :, :t])


def test_causal_positions_do_not_see_later_ones(mechanism: Attention) -> None:
    """Context t has a zero gradient by keys and values after t, and some non-zero one before."""
    q, k, v = (x.requires_grad_() for x in random_qkv(6, 6))
    context = mechanism(q, k, v, Visibility(6, 6, causal=True))[0]
    for t in range(6):
        by_key, by_value = torch.autograd.grad(context[:, :, t].sum(), (k, v), retain_graph=True)
        assert not by_key[:, :, t + 1 :].any()
        assert not by_value[:, :, t + 1 :].any()
        assert t == 0 or by_value[:, :, : t + 1].any()


def test_one_position_at_a_time_equals_all_at_once(mechanism: Attention) -> None:
    torch.manual_seed(2)
    layer = MultiHeadAttention(H * D, mechanism).double().eval()
    x = torch.randn(B, 6, H * D, dtype=torch.float64)
    whole, _ = layer(x, Visibility(6, 6, causal=True))
    cache = KeyValueCache()
    steps = torch.cat([layer.step(x[:, t : t + 1], cache) for t in range(6)], dim=1)
    torch.testing.assert_close(steps, whole)


@pytest.mark.parametrize("visibility", [padded(3, 7), causal()], ids=["padded", "causal"])
def test_gradients_agree_with_finite_differences(
    mechanism: Attention, visibility: Visibility
) -> None:
    """Context and penalty, by queries, keys, values and the mechanism's own parameters."""
    inputs = [x.requires_grad_() for x in random_qkv(visibility.num_queries, visibility.num_keys)]
    parameters = list(mechanism.parameters())
    scores = mechanism.scores(inputs[0], inputs[1])
    assert scores.abs().min() > 1e-4, "a kink too near for finite differences: take another seed"

    def function(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: torch.Tensor):
        context, penalty = mechanism(q, k, v, visibility, with_penalty=True)
        real = context * visibility.query_is_real[..., None]
        return (real,) if penalty is None else (real, penalty.normalisation, penalty.entropy)

    assert torch.autograd.gradcheck(function, (*inputs, *parameters))


def test_query_that_sees_nothing_gets_zero_and_finite_gradients(mechanism: Attention) -> None:
    q, k, v = (x.requires_grad_() for x in random_qkv(5, 7))
    visibility = Visibility(5, 7, lengths(7, 0, 3))
    context, penalty = mechanism(q, k, v, visibility, with_penalty=True)
    assert not context[1].any()
    total = context.sum() + sum(penalty or (torch.zeros(()),))
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (q, k, v)):
        assert torch.isfinite(gradient).all()
        assert not gradient[1].any()


def test_order_of_keys_does_not_matter(mechanism: Attention) -> None:
    q, k, v = random_qkv(5, 7)
    order = torch.tensor([3, 1, 6, 0, 5, 2, 4])
    visibility = Visibility(5, 7)
    torch.testing.assert_close(
        mechanism(q, k[:, :, order], v[:, :, order], visibility)[0],
        mechanism(q, k, v, visibility)[0],
    )


def test_promises_and_denials_hold(mechanism: Attention) -> None:
    """Each trait is true of all rows, or false of some: a denied trait has a witness."""
    q, k, _ = random_qkv(5, 7)
    visibility = Visibility(5, 7)
    weights = mechanism.weights(q, k, visibility)
    sums = weights.sum(-1)
    assert torch.allclose(sums, torch.ones_like(sums)) == mechanism.traits.normalised
    assert bool((weights >= 0).all()) == mechanism.traits.non_negative
    assert bool((weights == 0).any()) == mechanism.traits.exact_zeros
    # One number added to all scores of a row: the same vector added to all of its keys.
    shift = torch.full((D,), 0.5, dtype=torch.float64)
    shifted = mechanism.weights(q, k + shift, visibility)
    assert torch.allclose(shifted, weights) == mechanism.traits.shift_invariant


def test_low_precision_stays_near_float64(mechanism: Attention) -> None:
    """bf16 errs by at most twice what the plain reference errs in bf16."""
    visibility = padded()
    wide = random_qkv(5, 7)
    q, k, v = (x.bfloat16() for x in wide)
    truth = mechanism.weights(q.double(), k.double(), visibility) @ v.double()
    low = mechanism.to(torch.bfloat16)
    plain = low.weights(q, k, visibility).bfloat16() @ v
    fast = low(q, k, v, visibility)[0]
    real = visibility.query_is_real[..., None]
    error = ((fast.double() - truth) * real).norm()
    assert error <= 2 * ((plain.double() - truth) * real).norm() + 1e-3 * truth.norm()
