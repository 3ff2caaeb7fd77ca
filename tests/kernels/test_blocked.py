"""Blocks of plain PyTorch against the formulas in float64, many blocks and few."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from pointwise_formula import FORMULAS, Case, case

from reluformer.kernels import blocked, blocks, products
from reluformer.threads import on_own_threads


def run(one: Case) -> dict[str, torch.Tensor]:
    inputs = one.q, one.k, one.v, one.gain, one.offset, one.problem
    *outputs, weights = blocked.forward(*inputs)
    kept = weights if one.problem.keep_weights else None
    gradients = blocked.backward(one.d_contexts, one.rho, one.eps, *inputs, kept)
    names = "contexts", "row_sums", "entropy_sums", "d_q", "d_k", "d_v", "d_offset"
    found = dict(zip(names, (*outputs, *gradients), strict=True))
    return found | {"d_gain": one.wanted["d_gain"]}  # the operator's affair


@pytest.mark.parametrize("block", [64, 2**18])
@pytest.mark.parametrize("shape", [(1, 1), (17, 17), (6, 40), (40, 6), (0, 3), (3, 0)])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_all_outputs_and_gradients(
    causal: bool,
    centered: bool,
    shape: tuple[int, int],
    block: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "SIDE", 7)
    for activation in FORMULAS:
        one = case(
            *shape,
            activation=activation,
            causal=causal,
            centered=centered,
            sums=activation == "relu",
        )
        assert max(one.errors(run(one)).values()) < 1e-12, activation
        if activation == "relu":
            one.problem = replace(one.problem, keep_weights=True)
            assert max(one.errors(run(one)).values()) < 1e-12


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Of PyTorch, and of Python for shares of the heads; counts these."""
    shares: list[int] = []

    def counted(work: Callable[[object], None], items: Sequence[object]) -> None:
        shares.append(len(items))
        on_own_threads(work, items)

    monkeypatch.setattr(blocked, "on_own_threads", counted)
    monkeypatch.setattr(products, "numpy_threads", lambda: 1)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    torch.set_num_threads(2)
    yield shares
    torch.set_num_threads(1)


@pytest.mark.parametrize("block", [64, 2**18])
@pytest.mark.parametrize("shape", [(17, 17), (6, 40), (40, 6), (0, 3), (3, 0)])
@pytest.mark.parametrize(("causal", "centered"), [(False, True), (True, True), (True, False)])
def test_threads_change_no_bit(
    causal: bool,
    centered: bool,
    shape: tuple[int, int],
    block: int,
    two_threads: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "SIDE", 7)
    one = case(*shape, causal=causal, centered=centered, sums=True, heads=4, dtype=torch.float32)
    for problem in (one.problem, replace(one.problem, keep_weights=True)):
        one.problem = problem
        found = run(one)
        torch.set_num_threads(1)
        for name, tensor in run(one).items():
            assert torch.equal(tensor, found[name]), name
        torch.set_num_threads(2)
    assert two_threads == [2] * 4
    assert max(one.errors(found).values()) < 1e-4


def test_dropout_and_heads_that_cannot_be_shared_out_are_one_threads(
    two_threads: list[int],
) -> None:
    """Noise must not depend on the number of threads."""
    for heads, dropout in ((4, 0.4), (3, 0.0)):
        one = case(9, 9, sums=True, heads=heads, dtype=torch.float32)
        one.problem = replace(one.problem, dropout=dropout, seed=torch.tensor(5))
        found = run(one)
        torch.set_num_threads(1)
        for name, tensor in run(one).items():
            torch.testing.assert_close(tensor, found[name])
        torch.set_num_threads(2)
    assert two_threads == []


@pytest.mark.parametrize("keep_weights", [False, True])
def test_dropout_is_the_same_in_both_passes(keep_weights: bool) -> None:
    """With values of 1 the contexts are sums of the weights kept, and dV shows which they are."""
    one = case(8, 12, padded=False)
    problem = replace(one.problem, dropout=0.4, seed=torch.tensor(7), keep_weights=keep_weights)
    inputs = one.q, one.k, torch.ones_like(one.v), one.gain, None, problem
    contexts, _, _, weights = blocked.forward(*inputs)
    ones = torch.ones_like(contexts)
    kept = weights if keep_weights else None
    _, _, d_v, _ = blocked.backward(ones, None, None, *inputs, kept)
    torch.testing.assert_close(contexts.sum((2, 3)), d_v.sum((2, 3)))
    full, *_ = blocked.forward(*inputs[:5], one.problem)
    assert not torch.allclose(contexts, full)
    many = [
        blocked.forward(*inputs[:5], replace(problem, seed=torch.tensor(i)))[0] for i in range(400)
    ]
    torch.testing.assert_close(torch.stack(many).mean(0), full, rtol=0.2, atol=0.2)


@pytest.mark.parametrize("numpy", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logarithms(numpy: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: numpy)
    p = torch.tensor([[0.0, 1e-30, 0.3], [1.0, 7.5, 1e6]], dtype=dtype)
    expected = p.double().clamp(min=torch.finfo(dtype).tiny).log2().to(dtype)
    torch.testing.assert_close(blocked.log2(p), expected, rtol=1e-6, atol=0)
    assert blocked.log2(torch.tensor([torch.nan])).isnan()
