"""Every mechanism in conf/attention against every property, in float64.

A mechanism is found by its yaml: drop one there and it is tested here. Settings that a yaml only
mentions are tested through VARIANTS.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from mechanisms import MECHANISMS, load_mechanism

from reluformer.attention.base import Attention
from reluformer.attention.cache import Ancestry, QueryMemory, SourceMemory, TargetMemory
from reluformer.attention.multihead import MultiHeadAttention
from reluformer.visibility import Visibility

B, H, D = 3, 2, 4
ACTIVATIONS = ("relu_squared", "gelu", "softplus", "identity", "sigmoid")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in MECHANISMS},
    **{f"pointwise {h}": ("pointwise", {"activation": h, "alpha": 0.5}) for h in ACTIVATIONS},
    "pointwise plain": ("pointwise", {"qk_norm": False}),
    "pointwise centred": (
        "pointwise",
        {"center": "row", "activation": "softplus", "qk_norm": False},
    ),
    "pointwise gate": ("pointwise", {"gate": True}),
    "entmax fixed": ("entmax", {"alpha": 1.3, "alpha_mode": "fixed"}),
    "relu unscaled": ("relu", {"scale": False, "gamma_mode": "fixed"}),
}


@pytest.fixture(params=VARIANTS)
def mechanism(request: pytest.FixtureRequest) -> Iterator[Attention]:
    name, changes = VARIANTS[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield load_mechanism(name, H, D, **changes)


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


def random_layer(mechanism: Attention) -> tuple[MultiHeadAttention, torch.Tensor, torch.Tensor]:
    """A layer around the mechanism, six target positions and seven source positions."""
    torch.manual_seed(2)
    layer = MultiHeadAttention(H * D, mechanism).double().eval()
    x = torch.randn(B, 6, H * D, dtype=torch.float64)
    memory = torch.randn(B, 7, H * D, dtype=torch.float64)
    return layer, x, memory


def test_decoder_positions_do_not_see_later_ones(mechanism: Attention) -> None:
    """Output t has a zero gradient by inputs after t, and a non-zero one by those before.

    In self-attention and in cross-attention, where later queries must not matter either.
    """
    layer, x, memory = random_layer(mechanism)
    x.requires_grad_()
    own, _ = layer(x, Visibility(6, 6, causal=True))
    across, _ = layer(x, Visibility(6, 7, ordered=True), memory)
    for t in range(6):
        for output in (own, across):
            (gradient,) = torch.autograd.grad(output[:, t].square().sum(), x, retain_graph=True)
            assert not gradient[:, t + 1 :].any()
            assert t == 0 or gradient[:, : t + 1].any()


def test_one_position_at_a_time_equals_all_at_once(mechanism: Attention) -> None:
    """Six positions of two beams of three sentences; half-way one beam takes over the other."""
    layer, x, _ = random_layer(mechanism)
    beams = torch.stack([x, x.flip(1)], dim=1).flatten(0, 1)  # rows: (sentence, beam)
    ancestry = Ancestry(3, torch.device("cpu"))
    memory, queries = TargetMemory(ancestry, layer._queries(x)), QueryMemory()
    ancestry.select(torch.tensor([[0, 0], [1, 1], [2, 2]]))
    for t in range(6):
        if t == 3:
            kept = torch.tensor([[1, 1], [3, 3], [4, 4]])
            beams = beams[kept.flatten()].clone()
            beams[:, t:] += torch.randn(6, 6 - t, x.shape[2])  # from here on all of them differ
            ancestry.select(kept)
            queries.select(kept)
        ancestry.extend()
        memory.reserve()
        chosen = Visibility(2, ancestry.num_slots, ordered=True, chosen=ancestry.visible)
        output = layer.step(beams[:, t : t + 1], memory, queries, chosen)
        whole, _ = layer(beams, Visibility(6, 6, causal=True))
        torch.testing.assert_close(output, whole[:, t : t + 1])
    assert ancestry.slots.max() + 1 == 2 * 6 - 3  # what the other beam had before was overwritten


def test_beams_across_one_position_at_a_time_equal_all_at_once(mechanism: Attention) -> None:
    """Six positions of two beams of three padded sentences, and beams swapped half-way."""
    layer, x, memory = random_layer(mechanism)
    beams = torch.stack([x, x.flip(1)], dim=1).flatten(0, 1)  # rows: (sentence, beam)
    sizes = lengths(7, 4, 1)
    source, queries = SourceMemory(*layer.project_memory(memory)), QueryMemory()
    visibility = Visibility(2, 7, sizes)
    for t in range(6):
        if t == 3:
            swapped = torch.tensor([[1, 0], [3, 2], [5, 4]])
            beams = beams[swapped.flatten()]
            queries.select(swapped)
        output = layer.step_across(beams[:, t : t + 1], source, queries, visibility)
    doubled = memory.repeat_interleave(2, 0)
    whole, _ = layer(beams, Visibility(6, 7, sizes.repeat_interleave(2), ordered=True), doubled)
    torch.testing.assert_close(output, whole[:, 5:])


def test_other_sentences_of_a_batch_change_nothing(mechanism: Attention) -> None:
    """A layer's output for a sentence, in a padded batch of others and alone."""
    layer, x, memory = random_layer(mechanism)
    source_sizes, target_sizes = (7, 4, 1), (6, 2, 5)
    together, _ = layer(
        x, Visibility(6, 7, lengths(*source_sizes), lengths(*target_sizes), ordered=True), memory
    )
    own, _ = layer(memory, Visibility(7, 7, lengths(*source_sizes), lengths(*source_sizes)))
    for b, (s, t) in enumerate(zip(source_sizes, target_sizes, strict=True)):
        one, source = x[b : b + 1, :t], memory[b : b + 1, :s]
        alone, _ = layer(one, Visibility(t, s, ordered=True), source)
        torch.testing.assert_close(together[b : b + 1, :t], alone)
        alone, _ = layer(source, Visibility(s, s))
        torch.testing.assert_close(own[b : b + 1, :s], alone)


def test_layer_gradients_agree_with_finite_differences(mechanism: Attention) -> None:
    """By the layer's input and every parameter of the mechanism, through heads put together."""
    layer, x, _ = random_layer(mechanism)
    x = x[:1, :4].clone().requires_grad_()
    parameters = list(mechanism.parameters())

    def function(x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return layer(x, Visibility(4, 4, causal=True))[0]

    assert torch.autograd.gradcheck(function, (x, *parameters), fast_mode=True)


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

    assert torch.autograd.gradcheck(function, (*inputs, *parameters), fast_mode=True)


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
    shift = torch.linspace(-1, 2, D, dtype=torch.float64)
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


def test_fused_mechanisms_keep_no_weights_for_backward(mechanism: Attention) -> None:
    """Nothing of T x S is saved where `fused` is promised, and something where it is denied."""
    device = "cuda" if torch.cuda.is_available() else "cpu"  # where a fused path would run
    mechanism = mechanism.float().to(device)
    q, k, v = (torch.randn(1, H, 128, D, device=device).requires_grad_() for _ in range(3))
    sizes: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        mechanism(q, k, v, Visibility(128, 128, causal=True, device=device))
    assert (max(sizes) < 128 * 128) == mechanism.traits.fused
