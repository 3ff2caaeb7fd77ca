"""The Triton kernels in Triton's interpreter, or on the GPU where there is one.

Small shapes, odd lengths, and every configuration that can be selected.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("triton")

import triton.language as tl
from pointwise_formula import FORMULAS, Case, case
from torch import Tensor
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

from reluformer.kernels import launch
from reluformer.kernels.attention import TRITON_HEAD_DIMS
from reluformer.kernels.problem import Problem

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HALVES = [torch.float16, torch.bfloat16]
REPEATS = 20 if DEVICE == "cuda" else 2  # a race shows now and then only


@pytest.fixture(autouse=True)
def products_of_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter would multiply their bit patterns: it is given the numbers, in float32."""
    multiply = InterpreterBuilder.create_dot

    def create_dot(builder: InterpreterBuilder, a: Any, b: Any, *others: Any) -> Any:
        return multiply(builder, widened(a), widened(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)


def widened(x: TensorHandle) -> TensorHandle:
    if x.dtype.scalar != tl.bfloat16:
        return x
    return TensorHandle((x.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def moved(tensor: Tensor | None, dtype: torch.dtype | None = None) -> Tensor | None:
    return None if tensor is None else tensor.to(DEVICE, dtype)


def run(one: Case) -> dict[str, Tensor]:
    """All outputs, from inputs that lie in memory as the projections leave them."""
    q, k, v = (heads_inside(tensor).to(DEVICE) for tensor in (one.q, one.k, one.v))
    options = {
        name: moved(value) if isinstance(value, Tensor) else value
        for name, value in vars(one.problem).items()
    }
    problem = Problem(**options)
    gain, offset = one.gain.float().to(DEVICE), moved(one.offset, torch.float32)
    contexts, sums, logs = launch.forward(q, k, v, gain, offset, problem)
    upstream = heads_inside(one.d_contexts).to(DEVICE), moved(one.rho), moved(one.eps)
    gradients = launch.backward(*upstream, q, k, v, gain, offset, problem)
    names = "contexts", "row_sums", "entropy_sums", "d_q", "d_k", "d_v", "d_offset"
    found = zip(names, (contexts, sums, logs, *gradients), strict=True)
    return {name: tensor.cpu() for name, tensor in found} | {"d_gain": one.wanted["d_gain"]}


def check(one: Case) -> None:
    """In float32. The gradient holds ln P, large where P is all but 0 and rounding decides it."""
    for name, error in one.errors(run(one)).items():
        assert error < (1e-4 if name.startswith("d_") else 2e-6), name


def heads_inside(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.mark.parametrize("length", [1, 17, 127, 128, 129])
@pytest.mark.parametrize("causal", [False, True])
def test_odd_lengths(length: int, causal: bool) -> None:
    """ReLU with both sums, in float32: several tiles, whole and cut."""
    one = case(
        length, length, causal=causal, centered=causal, sums=True, heads=1, dtype=torch.float32
    )
    check(one)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (1, 70), (70, 1), (33, 40), (40, 33)])
@pytest.mark.parametrize(("causal", "padded"), [(False, True), (True, True), (True, False)])
def test_unequal_and_empty_lengths(shape: tuple[int, int], causal: bool, padded: bool) -> None:
    check(case(*shape, causal=causal, sums=True, padded=padded, heads=1, dtype=torch.float32))


@pytest.mark.parametrize("activation", [name for name in FORMULAS if name != "relu"])
def test_the_pointwise_family(activation: str) -> None:
    for causal, centered in ((False, True), (True, False)):
        one = case(
            33,
            36,
            activation=activation,
            causal=causal,
            centered=centered,
            alpha=0.7,
            heads=1,
            dtype=torch.float32,
        )
        assert max(one.errors(run(one)).values()) < 5e-6, (causal, centered)


@pytest.mark.parametrize("head_dim", TRITON_HEAD_DIMS)
@pytest.mark.parametrize("length", [30, 60, 100, 140])
@pytest.mark.parametrize("dtype", HALVES)
def test_every_configuration_in_16_bits(dtype: torch.dtype, length: int, head_dim: int) -> None:
    """Against float64 on the same inputs; the rounding of weights and of gradients is expected."""
    one = case(
        length,
        length,
        causal=True,
        centered=length == 60,
        sums=True,
        head_dim=head_dim,
        heads=1,
        dtype=dtype,
    )
    errors = one.errors(run(one))
    sums = errors.pop("row_sums"), errors.pop("entropy_sums")
    assert max(sums) < 2e-5
    assert max(errors.values()) < 8e-3


def test_cards_with_little_shared_memory_take_other_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launch, "has_large_memory", lambda _: False)
    for dtype, length in ((torch.float32, 20), (torch.float16, 100)):
        one = case(length, length, causal=True, sums=True, head_dim=128, heads=1, dtype=dtype)
        assert launch.tile_for("short_gradient", one.q, length) is None
        assert max(one.errors(run(one)).values()) < (1e-4 if dtype == torch.float32 else 8e-3)


@pytest.mark.parametrize("length", [30, 140])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_bits_every_time(dtype: torch.dtype, length: int) -> None:
    kind = {"causal": True, "centered": True, "sums": True, "heads": 1}
    one = case(length, length, head_dim=32, dtype=dtype, **kind)
    first = run(one)
    for _ in range(REPEATS - 1):
        for name, tensor in run(one).items():
            assert torch.equal(tensor, first[name]), name


@pytest.mark.parametrize("head_dim", TRITON_HEAD_DIMS)
@pytest.mark.parametrize("length", [31, 64, 127, 130])
@pytest.mark.parametrize("dtype", HALVES)
def test_whole_numbers_come_out_exactly(dtype: torch.dtype, length: int, head_dim: int) -> None:
    """Small whole numbers, powers of two for factors: nothing is rounded, in any configuration.

    But bfloat16's results, once, in the end.
    """
    q, k, v, d_contexts = (
        torch.randint(-1, 2, (1, 1, length, head_dim)).to(dtype) for _ in range(4)
    )
    causal = length % 2 == 0
    problem = Problem("relu", causal, 1.0, 0.0, True, False, 0.0, length, length)
    gain, rho = torch.ones(1), torch.zeros(1, 1, length)
    one = Case(problem, q, k, v, gain, None, d_contexts, rho, None, {"d_gain": gain})
    scores = q.double() @ k.double().transpose(2, 3)
    scores = scores.tril() if causal else scores
    weights, slope = scores.clamp(min=0), (scores > 0).double()
    d_scores = slope * (d_contexts.double() @ v.double().transpose(2, 3))
    expected = {
        "contexts": weights @ v.double(),
        "d_q": d_scores @ k.double(),
        "d_k": d_scores.transpose(2, 3) @ q.double(),
        "d_v": weights.transpose(2, 3) @ d_contexts.double(),
    }
    for _ in range(REPEATS):
        found = run(one)
        assert torch.equal(found["row_sums"].double(), weights.sum(-1))
        for name, wanted in expected.items():
            assert wanted.abs().max() < 2048, "float16 holds these exactly"
            assert torch.equal(found[name], wanted.to(dtype)), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_packed_sequences_equal_padded_ones(dtype: torch.dtype) -> None:
    """Lengths 40, 0, 3 and 1 behind one another; 16 bits take other tiles for a short one."""
    close = {} if dtype == torch.float32 else {"rtol": 3e-3, "atol": 3e-3}
    lengths = [40, 0, 3, 1]
    starts = torch.tensor([0, 40, 40, 43, 44], dtype=torch.int32, device=DEVICE)
    q, k, v, d_contexts = (torch.randn(1, 2, 44, 32, device=DEVICE, dtype=dtype) for _ in range(4))
    gain = torch.rand(2, device=DEVICE)
    offset, rho, eps = (torch.randn(1, 2, 44, device=DEVICE) for _ in range(3))
    options = {"row_sums": True, "entropies": True, "dropout": 0.0}
    base = Problem("relu", True, 0.2, 0.5, **options, longest_query=40, longest_key=40)
    packed = Problem(**{**vars(base), "query_starts": starts, "key_starts": starts})
    outputs = launch.forward(q, k, v, gain, offset, packed)
    gradients = launch.backward(d_contexts, rho, eps, q, k, v, gain, offset, packed)
    for begin, length in zip(starts.tolist(), lengths, strict=False):
        here = slice(begin, begin + length)
        single = Problem(**{**vars(base), "longest_query": length, "longest_key": length})
        cut = [one[:, :, here] for one in (q, k, v)]
        shift = offset[:, :, here]
        parts = launch.forward(*cut, gain, shift, single)
        upstream = d_contexts[:, :, here], rho[:, :, here], eps[:, :, here]
        parts += launch.backward(*upstream, *cut, gain, shift, single)
        for whole, part in zip((*outputs, *gradients), parts, strict=True):
            torch.testing.assert_close(whole[:, :, here], part, **close)


@pytest.mark.parametrize(
    ("dtype", "length"),
    [
        *((torch.float32, length) for length in (32, 64)),
        *((torch.float16, length) for length in (32, 64, 128, 160)),
    ],
)
def test_dropout_drops_the_same_weights_in_all_kernels(dtype: torch.dtype, length: int) -> None:
    """Values and upstream gradients that pick out a key and a query each show the weights."""
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 3e-3, "atol": 4e-3}
    q, k = torch.rand(2, 1, 1, length, 32, device=DEVICE, dtype=dtype).unbind(0)
    gain = torch.ones(1, device=DEVICE)
    seed = torch.tensor(11, device=DEVICE)
    problem = Problem("relu", False, 1.0, 0.0, False, False, 0.4, length, length, seed=seed)
    weights = torch.empty(1, 1, length, length, device=DEVICE, dtype=dtype)
    transposed = torch.empty_like(weights)
    d_q, d_k = torch.zeros_like(q), torch.zeros_like(k)
    eye = torch.eye(length, device=DEVICE, dtype=dtype)[None, None]
    for columns, picked in zip(weights.split(32, -1), eye.split(32, -1), strict=True):
        columns.copy_(launch.forward(q, k, picked, gain, None, problem)[0])
    for columns, picked in zip(transposed.split(32, -1), eye.split(32, -1), strict=True):
        found = launch.backward(picked, None, None, q, k, picked, gain, None, problem)
        d_q, d_k = d_q + found[0], d_k + found[1]
        columns.copy_(found[2])
    kept = weights != 0
    assert 0.55 < kept.double().mean() < 0.65
    torch.testing.assert_close(weights, (q @ k.transpose(2, 3)).relu() * kept / 0.6, **close)
    torch.testing.assert_close(transposed, weights.transpose(2, 3), **close)
    d_scores = eye * kept / 0.6
    torch.testing.assert_close(d_q, d_scores @ k, **close)
    torch.testing.assert_close(d_k, d_scores.transpose(2, 3) @ q, **close)


def test_dropout_draws_anew_for_each_seed_head_and_place() -> None:
    """Of 16 heads and two seeds no two masks agree more often than chance has it."""
    q = torch.ones(1, 16, 64, 32, device=DEVICE)
    v = torch.eye(64, device=DEVICE)[None, None, :, :32].expand(1, 16, 64, 32)
    gain = torch.ones(16, device=DEVICE)
    masks = []
    for number in (3, 4):
        seed = torch.tensor(number, device=DEVICE)
        problem = Problem("relu", False, 1.0, 0.0, False, False, 0.5, 64, 64, seed=seed)
        masks.append(launch.forward(q, q, v, gain, None, problem)[0][0] != 0)
    signs = torch.cat(masks).double().flatten(1).cpu() * 2 - 1
    by_place = torch.cat(masks).double().mean(0).cpu()
    correlations = (signs @ signs.t() / signs.shape[1]).fill_diagonal_(0)
    assert correlations.abs().max() < 5 / math.sqrt(signs.shape[1])
    assert (by_place - 0.5).abs().max() < 5 / math.sqrt(4 * len(signs))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_softmax_control(causal: bool, dtype: torch.dtype) -> None:
    """The same kernels with softmax in them, against PyTorch."""
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 3e-3, "atol": 5e-3}
    q, k, v = (torch.randn(2, 2, 37, 32, requires_grad=True) for _ in range(3))
    upstream = torch.randn(2, 2, 37, 32)
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
    gradients = torch.autograd.grad((wanted * upstream).sum(), (q, k, v))
    problem = Problem("softmax", causal, 1 / math.sqrt(32), 0.0, False, False, 0.0, 37, 37)
    inputs = [one.detach().to(DEVICE, dtype) for one in (q, k, v)] + [
        torch.ones(2, device=DEVICE),
        None,
    ]
    contexts, log_sums, _ = launch.forward(*inputs, problem)
    found = launch.backward(
        upstream.to(DEVICE, dtype), None, None, *inputs, problem, out=contexts, log_sums=log_sums
    )
    torch.testing.assert_close(contexts.cpu().float(), wanted, **close)
    for gradient, expected in zip(found, gradients, strict=False):
        torch.testing.assert_close(gradient.cpu().float(), expected, **close)
