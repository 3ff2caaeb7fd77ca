"""Pointwise attention in one pass, with gradients of its own and memory linear in the length.

With s = q . k and z = scale s - offset, weights are P = c h(z) with c = gain n^-alpha, where n is
the number of keys that the query may read; what it may not read has weight 0. Besides the contexts
O = (D P) V, D dropout on the weights, there are two sums for each query, both before dropout:
r = sum P and e = sum P ln P. They are all that a penalty on row sums and entropies needs, as the
entropy of P / r is ln r - e / r. For upstream gradients dO, rho = dL/dr and eps = dL/de,

    G_ij = D_ij (dO_i . v_j) + rho_i + eps_i (1 + ln P_ij)
    dz_ij = c_i h'(z_ij) G_ij        d offset_i = - sum_j dz_ij
    dq_i = scale sum_j dz_ij k_j     dk_j = scale sum_i dz_ij q_i     dv_j = sum_i D_ij P_ij dO_i
    d gain_h = 1 / gain_h sum_i (dO_i . O_i + rho_i r_i + eps_i (r_i + e_i))

with the slope of ReLU taken as 0 at 0. A dead row (all scores at most 0) has O = r = e = 0 and no
gradient. Triton kernels compute this on a GPU, blocks of PyTorch elsewhere; both are one operator
to autograd, torch.compile and CUDA graphs. P itself is kept for the backward pass in one case:
relu's, of few keys, on a CPU, where computing it twice would take a sixth of the time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluformer.kernels import blocked
from reluformer.kernels.problem import OPTIONS, SCHEMA, Problem, empty_heads
from reluformer.visibility import Visibility

few_keys = 2  # times the head size: what is kept is then twice as large as queries at most
TRITON_HEAD_DIMS = (32, 64, 128)
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class PointwiseOutput(NamedTuple):
    """Contexts O as q; r and e of each query in float32 at least, or None where not asked for."""

    contexts: Tensor
    row_sums: Tensor | None
    entropy_sums: Tensor | None


def pointwise_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    visibility: Visibility,
    *,
    activation: str,
    gain: Float[Tensor, " H"],
    alpha: float,
    scale: float,
    offset: Float[Tensor, "B H T"] | None = None,
    row_sums: bool = False,
    entropies: bool = False,
    dropout: float = 0.0,
) -> PointwiseOutput:
    """Of padded sequences. With an offset, z is 0 where a query sees a single key.

    Contexts and sums of padded queries are finite; nothing else is said of them. Only relu has
    sums, and gain is positive.
    """
    assert visibility.chosen is None, "for whole sequences, not for steps of a search"
    assert activation == "relu" or not (row_sums or entropies)
    q, k, v = as_one_type(q, k, v)
    problem = Problem(
        activation,
        visibility.causal,
        scale,
        alpha,
        row_sums or entropies,
        entropies,
        dropout,
        visibility.num_queries,
        visibility.num_keys,
        query_lengths=visibility.query_lengths,
        key_lengths=visibility.key_lengths,
        seed=draw_seed(q.device) if dropout else None,
        keep_weights=activation == "relu" and keeps_weights(q, k, v, gain, offset),
    )
    return run(q, k, v, gain, offset, problem)


def packed_pointwise_attention(
    q: Float[Tensor, "N H D"],
    k: Float[Tensor, "K H D"],
    v: Float[Tensor, "K H D"],
    query_starts: Int[Tensor, " B+1"],
    key_starts: Int[Tensor, " B+1"],
    longest_query: int,
    longest_key: int,
    *,
    causal: bool,
    activation: str,
    gain: Float[Tensor, " H"],
    alpha: float,
    scale: float,
    offset: Float[Tensor, "N H"] | None = None,
    row_sums: bool = False,
    entropies: bool = False,
    dropout: float = 0.0,
) -> PointwiseOutput:
    """Of sequences one behind another: b has queries query_starts[b] to query_starts[b + 1].

    Starts are int32 on the device of q; causal queries and keys are aligned at their ends.
    Contexts are [N, H, D], sums [N, H].
    """
    problem = Problem(
        activation,
        causal,
        scale,
        alpha,
        row_sums or entropies,
        entropies,
        dropout,
        longest_query,
        longest_key,
        query_starts=query_starts,
        key_starts=key_starts,
        seed=draw_seed(q.device) if dropout else None,
    )
    q, k, v = (one.transpose(0, 1)[None] for one in as_one_type(q, k, v))
    found = run(q, k, v, gain, None if offset is None else offset.t()[None], problem)
    sums = (None if one is None else one[0].t() for one in found[1:])
    return PointwiseOutput(found.contexts[0].transpose(0, 1), *sums)


def run(
    q: Tensor, k: Tensor, v: Tensor, gain: Tensor, offset: Tensor | None, problem: Problem
) -> PointwiseOutput:
    """The operator, with names."""
    contexts, sums, logs, _ = OPERATOR(q, k, v, gain, offset, *values(problem))
    wanted = problem.row_sums, problem.entropies
    sums, logs = (one if asked else None for one, asked in zip((sums, logs), wanted, strict=True))
    return PointwiseOutput(contexts, sums, logs)


def values(problem: Problem) -> list[Any]:
    # By name, as torch.compile of PyTorch 2.11 cannot trace `vars` of a dataclass.
    return [getattr(problem, name) for name in OPTIONS]


def as_one_type(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As autocast would have them for a product; it leaves float64 alone."""
    kind = q.device.type
    if torch.is_autocast_enabled(kind) and q.dtype != torch.float64:
        wanted = torch.get_autocast_dtype(kind)
        return q.to(wanted), k.to(wanted), v.to(wanted)
    return q, k, v


def keeps_weights(q: Tensor, k: Tensor, *others: Tensor | None) -> bool:
    """Whether there are few keys, and inputs that want a gradient."""
    if torch.compiler.is_compiling():  # one graph is for all lengths
        return False
    few = q.device.type == "cpu" and k.shape[2] <= few_keys * q.shape[3]
    wide = q.dtype in (torch.float32, torch.float64)
    wanted = any(x is not None and x.requires_grad for x in (q, k, *others))
    return few and wide and torch.is_grad_enabled() and wanted


@contextmanager
def no_weights_kept() -> Iterator[None]:
    """Within, memory is the same for each position, of however many keys."""
    global few_keys
    before, few_keys = few_keys, 0
    try:
        yield
    finally:
        few_keys = before


def draw_seed(device: torch.device) -> Int[Tensor, ""]:
    """Follows `torch.manual_seed`, and stays on the device, so that a graph can replay it."""
    return torch.randint(2**31 - 1, (), device=device)


def runs_triton(q: Tensor) -> bool:
    """Whether the kernels serve these queries: a GPU with Triton, sizes and types they know."""
    known = q.shape[-1] in TRITON_HEAD_DIMS and q.dtype in TRITON_DTYPES
    return q.is_cuda and known and has_triton()


@cache
def has_triton() -> bool:
    return find_spec("triton") is not None


def _forward(
    q: Tensor, k: Tensor, v: Tensor, gain: Tensor, offset: Tensor | None, *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts, r, e, P; what is not asked for has no elements."""
    if runs_triton(q):
        from reluformer.kernels import launch

        with torch.cuda.device_of(q):
            return *launch.forward(q, k, v, gain, offset, Problem(*options)), q.new_empty(0)
    return blocked.forward(q, k, v, gain, offset, Problem(*options))


def _backward(
    d_contexts: Tensor,
    rho: Tensor | None,
    eps: Tensor | None,
    weights: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gain: Tensor,
    offset: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and of the offset, without elements where there is none."""
    problem = Problem(*options)
    if runs_triton(q):
        from reluformer.kernels import launch

        with torch.cuda.device_of(q):
            return launch.backward(d_contexts, rho, eps, q, k, v, gain, offset, problem)
    return blocked.backward(d_contexts, rho, eps, q, k, v, gain, offset, problem, weights)


INPUTS = "Tensor q, Tensor k, Tensor v, Tensor gain, Tensor? offset"
OPERATOR = torch.library.custom_op(
    "reluformer::pointwise_attention",
    _forward,
    mutates_args=(),
    schema=f"({INPUTS}, {SCHEMA}) -> (Tensor, Tensor, Tensor, Tensor)",
)
BACKWARD = torch.library.custom_op(
    "reluformer::pointwise_attention_backward",
    _backward,
    mutates_args=(),
    schema=f"(Tensor d_contexts, Tensor? rho, Tensor? eps, Tensor? weights, {INPUTS}, {SCHEMA})"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)


@OPERATOR.register_fake
def _shapes(
    q: Tensor, k: Tensor, v: Tensor, gain: Tensor, offset: Tensor | None, *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    problem = Problem(*options)
    wide = torch.promote_types(q.dtype, torch.float32)
    wanted = problem.row_sums, problem.entropies
    sums, logs = (q.new_empty(q.shape[:-1] if one else (0,), dtype=wide) for one in wanted)
    pairs = (*q.shape[:-1], k.shape[-2]) if problem.keep_weights else (0,)
    return empty_heads(q), sums, logs, q.new_empty(pairs)


@BACKWARD.register_fake
def _gradient_shapes(
    d_contexts: Tensor,
    rho: Tensor | None,
    eps: Tensor | None,
    weights: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gain: Tensor,
    offset: Tensor | None,
    *options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    wide = torch.promote_types(q.dtype, torch.float32)
    d_offset = q.new_empty(q.shape[:-1] if offset is not None else (0,), dtype=wide)
    return empty_heads(q), empty_heads(k), empty_heads(v), d_offset


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    q, k, v, gain, offset, *options = inputs
    ctx.keeps_weights = Problem(*options).keep_weights
    tensors = [option for option in options if isinstance(option, Tensor)]
    ctx.options = [None if isinstance(option, Tensor) else option for option in options]
    ctx.places = [i for i, option in enumerate(options) if isinstance(option, Tensor)]
    ctx.save_for_backward(q, k, v, gain, offset, *output, *tensors)


def _differentiate(
    ctx: Any, d_contexts: Tensor | None, rho: Tensor | None, eps: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    q, k, v, gain, offset, contexts, row_sums, entropy_sums, weights, *tensors = ctx.saved_tensors
    options = list(ctx.options)
    for place, tensor in zip(ctx.places, tensors, strict=True):
        options[place] = tensor
    if d_contexts is None:
        d_contexts = torch.zeros_like(contexts)
    inputs = (weights if ctx.keeps_weights else None), q, k, v, gain, offset
    d_q, d_k, d_v, d_offset = BACKWARD(d_contexts, rho, eps, *inputs, *options)
    d_gain = None
    if ctx.needs_input_grad[3]:
        wide = torch.promote_types(q.dtype, torch.float32)
        rows = (d_contexts.to(wide) * contexts.to(wide)).sum(-1)
        if rho is not None:
            rows = rows + rho * row_sums
        if eps is not None:
            rows = rows + eps * (row_sums + entropy_sums)
        d_gain = (rows.sum((0, 2)) / gain).to(gain.dtype)
    d_offset = d_offset.to(offset.dtype) if offset is not None else None
    return d_q, d_k, d_v, d_gain, d_offset, *(None for _ in options)


OPERATOR.register_autograd(_differentiate, setup_context=_keep)
