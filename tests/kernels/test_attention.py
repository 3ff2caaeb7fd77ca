"""The operator: gradients through autograd, what PyTorch demands of operators, packed sequences."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from pointwise_formula import FORMULAS, Case, case
from torch import Tensor

from reluformer.kernels import blocked, blocks
from reluformer.kernels.attention import (
    OPERATOR,
    PointwiseOutput,
    keeps_weights,
    no_weights_kept,
    packed_pointwise_attention,
    pointwise_attention,
    values,
)
from reluformer.kernels.problem import Problem
from reluformer.visibility import Visibility


def visibility_of(problem: Problem) -> Visibility:
    return Visibility(
        problem.longest_query,
        problem.longest_key,
        problem.key_lengths,
        problem.query_lengths,
        problem.causal,
    )


def attend(one: Case, visibility: Visibility, *inputs: Tensor) -> PointwiseOutput:
    q, k, v, gain, *offset = inputs
    problem = one.problem
    return pointwise_attention(
        q,
        k,
        v,
        visibility,
        activation=problem.activation,
        gain=gain,
        alpha=problem.alpha,
        scale=problem.scale,
        offset=offset[0] if offset else None,
        row_sums=problem.row_sums,
        entropies=problem.entropies,
    )


def leaves(one: Case) -> list[Tensor]:
    tensors = [one.q, one.k, one.v, one.gain]
    tensors += [] if one.offset is None else [one.offset]
    return [tensor.clone().requires_grad_() for tensor in tensors]


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("centered", [False, True])
def test_gradients_through_autograd(activation: str, causal: bool, centered: bool) -> None:
    one = case(
        9, 11, activation=activation, causal=causal, centered=centered, sums=activation == "relu"
    )
    inputs = leaves(one)
    found = attend(one, visibility_of(one.problem), *inputs)
    loss = (found.contexts * one.d_contexts).sum()
    outputs = {"contexts": found.contexts.detach()}
    if found.row_sums is not None and found.entropy_sums is not None:
        loss = loss + (found.row_sums * one.rho).sum() + (found.entropy_sums * one.eps).sum()
        outputs |= {
            "row_sums": found.row_sums.detach(),
            "entropy_sums": found.entropy_sums.detach(),
        }
    gradients = torch.autograd.grad(loss, inputs)
    names = ("d_q", "d_k", "d_v", "d_gain", "d_offset")
    outputs |= dict(zip(names, gradients, strict=False))
    assert max(one.errors(outputs).values()) < 1e-12


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("head_dim", [24, 32, 64, 128])
@pytest.mark.parametrize("length", [30, 200])
@pytest.mark.parametrize("centered", [False, True])
def test_gradients_through_autograd_on_a_gpu(
    dtype: torch.dtype, head_dim: int, length: int, centered: bool
) -> None:
    """By the kernels; heads of 24, which they do not know, by blocks of PyTorch."""
    one = case(
        length, length, causal=True, centered=centered, sums=True, head_dim=head_dim, dtype=dtype
    )
    compute, _ = on_a_gpu(one)
    errors = one.errors({name: tensor.cpu() for name, tensor in compute().items()})
    assert max(errors.values()) < (2e-4 if dtype == torch.float32 else 8e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [30, 200])
def test_a_graph_of_a_gpu_replays_the_operator(length: int) -> None:
    """Forward and backward recorded once, then run again on other numbers in the same places."""
    kind = {"sums": True, "head_dim": 64, "dtype": torch.bfloat16}
    first, second = (case(length, length, causal=True, centered=True, **kind) for _ in range(2))
    compute, inputs = on_a_gpu(first)
    others, other_inputs = on_a_gpu(second)
    expected = others()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        compute()  # what is compiled or allocated once
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = compute()
    with torch.no_grad():
        for place, tensor in zip(inputs, other_inputs, strict=True):
            place.copy_(tensor)
    graph.replay()
    torch.cuda.synchronize()
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name


def on_a_gpu(one: Case) -> tuple[Callable[[], dict[str, Tensor]], list[Tensor]]:
    """What computes outputs and gradients there, and all the tensors that it reads."""
    problem = {
        name: value.cuda() if isinstance(value, Tensor) else value
        for name, value in vars(one.problem).items()
    }
    moved = replace(one, problem=Problem(**problem))
    wide = (one.gain, one.offset, one.rho, one.eps)
    gain, offset, rho, eps = (None if x is None else x.float().cuda() for x in wide)
    given = [one.q.cuda(), one.k.cuda(), one.v.cuda(), gain, offset]
    inputs = [tensor.requires_grad_() for tensor in given if tensor is not None]
    lengths = problem["key_lengths"], problem["query_lengths"]
    size = one.q.shape[2]
    visibility = Visibility(size, one.k.shape[2], *lengths, causal=True, device="cuda")
    upstream = [one.d_contexts.cuda(), rho, eps]

    def compute() -> dict[str, Tensor]:
        outputs = attend(moved, visibility, *inputs)
        gradients = torch.autograd.grad(outputs, inputs, upstream)
        found = dict(zip(("contexts", "row_sums", "entropy_sums"), outputs, strict=True))
        found |= dict(zip(("d_q", "d_k", "d_v", "d_gain", "d_offset"), gradients, strict=False))
        return {name: tensor.detach() for name, tensor in found.items()}

    return compute, [*inputs, *upstream, *(one for one in lengths if one is not None)]


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("length", [5, 13])
@pytest.mark.parametrize("kind", ["padded", "packed", "kept"])
def test_pytorch_accepts_the_operator(centered: bool, length: int, kind: str) -> None:
    """Schema, autograd registration, shapes without data, and ahead-of-time compilation."""
    num_keys = length if kind == "packed" else length + 3
    one = case(length, num_keys, causal=True, centered=centered, sums=True, head_dim=8)
    inputs = leaves(one)
    offset = inputs[4] if centered else None
    problem = replace(one.problem, keep_weights=kind == "kept")
    if kind == "packed":
        ends = torch.tensor([0, 3, length], dtype=torch.int32)
        unpadded = {"query_lengths": None, "key_lengths": None}
        problem = replace(problem, **unpadded, query_starts=ends, key_starts=ends)
    torch.library.opcheck(OPERATOR, (*inputs[:4], offset, *values(problem)))


@pytest.mark.parametrize(
    ("num_keys", "dtype", "differentiated", "kept"),
    [
        (16, torch.float32, 0, True),
        (16, torch.float64, 2, True),
        (17, torch.float32, 0, False),
        (16, torch.bfloat16, 0, False),
    ],
)
def test_weights_of_few_keys_are_kept_for_a_backward_pass(
    num_keys: int, dtype: torch.dtype, differentiated: int, kept: bool
) -> None:
    """Up to twice the head size, 8; without them, memory is linear in the length."""
    q, k, v = (torch.randn(2, 3, n, 8, dtype=dtype) for n in (5, num_keys, num_keys))
    (q, k, v)[differentiated].requires_grad_()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: sizes.append(one.numel()) or one, lambda one: one
    ):
        pointwise_attention(
            q, k, v, Visibility(5, num_keys),
            activation="relu", gain=torch.ones(3), alpha=0.5, scale=1.0,
        )  # fmt: skip
    assert (2 * 3 * 5 * num_keys in sizes) == kept


def test_nothing_is_kept_where_no_backward_pass_follows() -> None:
    q = torch.randn(1, 1, 3, 4, requires_grad=True)
    assert keeps_weights(q, q)
    assert not keeps_weights(q.detach(), q.detach(), None)
    with torch.no_grad():
        assert not keeps_weights(q, q)
    with no_weights_kept():
        assert not keeps_weights(q, q)
    assert keeps_weights(q, q)


def test_kept_weights_serve_more_than_one_backward_pass() -> None:
    """With dropout; and they are what the gradients come from."""
    q, k, v = torch.randn(3, 1, 2, 6, 8).requires_grad_().unbind(0)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.append(one) or one, lambda one: one
    ):
        found = pointwise_attention(
            q, k, v, Visibility(6, 6),
            activation="relu", gain=torch.ones(2), alpha=0.5, scale=1.0, dropout=0.5,
        ).contexts  # fmt: skip
    first, second = (torch.autograd.grad(found.sum(), v, retain_graph=True) for _ in range(2))
    assert torch.equal(first[0], second[0])
    (weights,) = (one for one in kept if one.shape == (1, 2, 6, 6))
    with torch.no_grad():
        weights.data.mul_(3)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), v)[0], 3 * first[0])


@pytest.mark.parametrize("length", [6, 20, 600])
def test_results_have_heads_inside_positions_wherever_inputs_lie(length: int) -> None:
    """As the next projection reads them, and as torch.compile is told beforehand."""
    gain = torch.ones(2)
    projected = torch.randn(2, length, 3 * 16).split(16, 2)
    inside = [one.unflatten(2, (2, 8)).transpose(1, 2) for one in projected]
    for layout in (inside, [one.contiguous() for one in inside]):
        q, k, v = (one.detach().requires_grad_() for one in layout)
        found = pointwise_attention(
            q, k, v, Visibility(length, length), activation="relu", gain=gain, alpha=0.5, scale=1.0
        )
        gradients = torch.autograd.grad(found.contexts.square().sum(), (q, k, v))
        for one in (found.contexts, *gradients):
            assert one.transpose(1, 2).is_contiguous()


def test_compiles_as_one_graph() -> None:
    one = case(7, 7, causal=True, sums=True, head_dim=8)
    visibility = visibility_of(one.problem)

    def penalised(*inputs: Tensor) -> Tensor:
        found = attend(one, visibility, *inputs)
        assert found.row_sums is not None
        assert found.entropy_sums is not None
        real = one.real("row_sums")
        return found.contexts.square().sum() + ((found.row_sums + found.entropy_sums) * real).sum()

    compiled = torch.compile(penalised, backend="aot_eager", fullgraph=True)
    plain, fused = leaves(one), leaves(one)
    expected = torch.autograd.grad(penalised(*plain), plain)
    for gradient, wanted in zip(
        torch.autograd.grad(compiled(*fused), fused), expected, strict=True
    ):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("lengths", [[0, 1], [1], [0, 0]])
def test_packed_sequences_of_one_row_in_all(lengths: list[int]) -> None:
    """Whose row is part of a fused projection, with strides of its own."""
    q, k, v = torch.randn(sum(lengths), 3, 2, 8).unbind(1)
    starts = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
    found = packed_pointwise_attention(
        q, k, v, starts, starts, 1, 1,
        causal=True, activation="identity", gain=torch.ones(2), alpha=0.5, scale=1.0,
    )  # fmt: skip
    expected = (q * k).sum(-1, keepdim=True) * v
    torch.testing.assert_close(found.contexts, expected)


@pytest.mark.parametrize("causal", [False, True])
def test_packed_sequences_are_those_one_by_one(causal: bool) -> None:
    """Lengths 4, 0, 7 and 1 with keys of 5, 2, 7 and 0."""
    queries, keys = torch.tensor([0, 4, 4, 11, 12]), torch.tensor([0, 5, 7, 14, 14])
    q, k, v = (torch.randn(n, 2, 8, dtype=torch.float64, requires_grad=True) for n in (12, 14, 14))
    gain = torch.rand(2, dtype=torch.float64, requires_grad=True)
    offset = torch.randn(12, 2, dtype=torch.float64, requires_grad=True)
    options = {"activation": "relu", "alpha": 0.5, "scale": 0.4, "entropies": True}
    packed = packed_pointwise_attention(
        q, k, v, queries.int(), keys.int(), 7, 7, causal=causal, gain=gain, offset=offset, **options
    )
    parts = []
    for (begin, end), (first, last) in zip(
        itertools.pairwise(queries),
        itertools.pairwise(keys),
        strict=True,
    ):
        found = pointwise_attention(
            *(one[None].transpose(1, 2) for one in (q[begin:end], k[first:last], v[first:last])),
            Visibility(int(end - begin), int(last - first), causal=causal),
            gain=gain,
            offset=offset[begin:end].t()[None],
            **options,
        )
        assert found.row_sums is not None
        parts.append((found.contexts[0].transpose(0, 1), found.row_sums[0].t()))
    assert packed.row_sums is not None
    assert packed.row_sums.shape == (12, 2)
    contexts, sums = (torch.cat(part) for part in zip(*parts, strict=True))
    torch.testing.assert_close(packed.contexts, contexts)
    torch.testing.assert_close(packed.row_sums, sums)
    inputs = (q, k, v, gain, offset)
    upstream = torch.randn_like(contexts)
    gradients = torch.autograd.grad((packed.contexts * upstream).sum(), inputs, retain_graph=True)
    expected = torch.autograd.grad((contexts * upstream).sum(), inputs)
    for gradient, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_no_packed_sequences_at_all() -> None:
    nothing, starts = torch.zeros(0, 2, 8), torch.zeros(1, dtype=torch.int32)
    options = {"activation": "relu", "alpha": 0.5, "scale": 0.4, "gain": torch.ones(2)}
    packed = packed_pointwise_attention(
        nothing, nothing, nothing, starts, starts, 0, 0, causal=True, row_sums=True, **options
    )
    assert packed.contexts.shape == (0, 2, 8)
    assert packed.row_sums is not None
    assert packed.row_sums.shape == (0, 2)


@pytest.mark.parametrize("block", [64, 2**18])
@pytest.mark.parametrize(("native", "bound"), [(False, 2e-3), (True, 4e-2)])
def test_16_bits_are_rounded_once(
    native: bool, bound: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU: inputs and results in bf16, in between nothing unless the CPU multiplies them.

    Then also the products' operands, as on GPUs: d_q is a difference of large terms, as much of the
    scores' gradient is the same for all keys.
    """
    monkeypatch.setattr(blocked, "multiplies_bf16", lambda: native)
    monkeypatch.setattr(blocks, "BLOCK", block)
    monkeypatch.setattr(blocks, "SIDE", 8)
    one = case(40, 40, causal=True, centered=True, sums=True, dtype=torch.bfloat16)
    inputs = [tensor.detach() for tensor in leaves(one)]
    inputs[3:] = [tensor.float() for tensor in inputs[3:]]
    for tensor in inputs:
        tensor.requires_grad_()
    found = attend(one, visibility_of(one.problem), *inputs)
    assert one.rho is not None
    assert one.eps is not None
    upstream = one.d_contexts, one.rho.float(), one.eps.float()
    gradients = torch.autograd.grad(found, inputs, upstream)
    names = ("contexts", "row_sums", "entropy_sums", "d_q", "d_k", "d_v", "d_gain", "d_offset")
    outputs = zip(names, (*found, *gradients), strict=True)
    errors = one.errors({name: tensor.detach() for name, tensor in outputs})
    assert max(errors.values()) < bound


def test_autocast_gives_bf16_contexts_and_float32_sums() -> None:
    one = case(5, 5, sums=True)
    inputs = [tensor.float() for tensor in (one.q, one.k, one.v, one.gain)]
    with torch.autocast("cpu", torch.bfloat16):
        found = attend(one, visibility_of(one.problem), *inputs)
    assert found.contexts.dtype == torch.bfloat16
    assert found.row_sums is not None
    assert found.row_sums.dtype == torch.float32
    torch.testing.assert_close(
        found.row_sums.double(), one.wanted["row_sums"], rtol=0.03, atol=0.03
    )
