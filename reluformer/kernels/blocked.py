"""Pointwise attention in blocks of plain PyTorch: the fused kernels' twin for any device and dtype.

A block of scores is small enough for a core's cache and does not outlive its turn: the backward
pass computes it again. So memory grows with the sequence instead of its square. Only of short
sequences the weights are kept, on request. The gradients are those of
`reluformer.kernels.attention`, whose arguments these functions take.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reluformer.kernels.blocks import ACTIVATIONS, Place, Weights, is_whole, wide
from reluformer.kernels.problem import Problem, empty_heads
from reluformer.kernels.products import batched_product, suits_own_threads
from reluformer.threads import on_own_threads

LN2 = math.log(2)
HALVES = (torch.bfloat16, torch.float16)
# dL/dz from dL/dh, z and h.
GRADIENTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "relu": lambda d, z, h: torch.ops.aten.threshold_backward.grad_input(d, h, 0, grad_input=d),
    "relu_squared": lambda d, z, h: d.mul_(functional.relu(z)).mul_(2),
    "gelu": lambda d, z, h: torch.ops.aten.gelu_backward(d, z),
    "softplus": lambda d, z, h: torch.ops.aten.softplus_backward(d, z, 1, 20),
    "identity": lambda d, z, h: d,
    "sigmoid": lambda d, z, h: torch.ops.aten.sigmoid_backward(d, h),
}


def forward(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    gain: Float[Tensor, " H"],
    offset: Float[Tensor, "B H T"] | None,
    problem: Problem,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Contexts, row sums, sums of P ln P and P; what is not asked for is without elements."""
    if problem.packed and q.numel():
        parts = [
            forward(q[queries], k[keys], v[keys], gain, pick(offset, queries), single)
            for queries, keys, single in sequences(problem)
        ]
        contexts, sums, logs, _ = map(join, zip(*parts, strict=True), (q, None, None, None))
        return contexts, sums, logs, q.new_empty(0)
    if needs_float32(q):
        with torch.autocast(q.device.type, enabled=False):
            found = forward(q.float(), k.float(), v.float(), gain, offset, problem)
        return found[0].to(q.dtype), *found[1:]
    context = room_for_sums(q, q, k)
    kind = torch.promote_types(q.dtype, torch.float32)
    sums = q.new_zeros(q.shape[:3] if problem.row_sums else (0,), dtype=kind)
    logs = q.new_zeros(q.shape[:3] if problem.entropies else (0,), dtype=kind)
    kept_weights = q.new_empty((*q.shape[:3], k.shape[2]) if problem.keep_weights else (0,))

    def compute(heads: Place) -> None:
        forward_of_heads(
            q[heads], k[heads], v[heads], gain[heads[1]], pick(offset, heads), problem,
            context[heads], *(of_heads(one, heads) for one in (sums, logs, kept_weights)),
        )  # fmt: skip

    run_by_heads(compute, q, problem)
    return context.to(v.dtype), sums, logs, kept_weights


def forward_of_heads(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gain: Tensor,
    offset: Tensor | None,
    problem: Problem,
    context: Tensor,
    sums: Tensor,
    logs: Tensor,
    kept_weights: Tensor,
) -> None:
    """`forward`, into the last four."""
    weights = Weights(q, k, gain, offset, problem)
    values, beta = weights.laid_out(v), begin_sums(q, k, context)
    for block in weights.blocks():
        place = block.queries
        room = kept_weights[block.pairs] if problem.keep_weights else None
        z = weights.scores(block, out=room)
        p = weights.mask(ACTIVATIONS[problem.activation](z), block)
        if problem.row_sums:
            sums[place] += p.sum(-1)
        if problem.entropies:
            logs[place] += log2(p).mul_(p).sum(-1).mul_(LN2)
        kept = weights.kept(block, p)
        p = p if kept is None else p * kept
        add_product(context[place], p.to(v.dtype), values[block.keys], beta)
    if weights.context_factor is not None:
        context.mul_(weights.context_factor)


def backward(
    d_context: Float[Tensor, "B H T D"],
    rho: Float[Tensor, "B H T"] | None,
    eps: Float[Tensor, "B H T"] | None,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    gain: Float[Tensor, " H"],
    offset: Float[Tensor, "B H T"] | None,
    problem: Problem,
    kept_weights: Float[Tensor, "B H T S"] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of q, k, v and the offset, from those of contexts, row sums and sums of P ln P."""
    if problem.packed and q.numel():
        parts = [
            backward(
                d_context[queries], pick(rho, queries), pick(eps, queries),
                q[queries], k[keys], v[keys], gain, pick(offset, queries), single,
            )
            for queries, keys, single in sequences(problem)
        ]  # fmt: skip
        d_q, d_k, d_v, d_offset = map(join, zip(*parts, strict=True), (q, k, v, None))
        return d_q, d_k, d_v, d_offset
    if needs_float32(q):
        upstream, *full = (one.float() for one in (d_context, q, k, v))
        with torch.autocast(q.device.type, enabled=False):
            found = backward(upstream, rho, eps, full[0], full[1], full[2], gain, offset, problem)
        return found[0].to(q.dtype), found[1].to(q.dtype), found[2].to(q.dtype), found[3]
    d_q, d_k, d_v = (room_for_sums(one, q, k) for one in (q, k, v))
    kind = torch.promote_types(q.dtype, torch.float32)
    d_offset = q.new_zeros(q.shape[:3] if offset is not None else (0,), dtype=kind)

    def compute(heads: Place) -> None:
        backward_of_heads(
            d_context[heads], pick(rho, heads), pick(eps, heads),
            q[heads], k[heads], v[heads], gain[heads[1]], pick(offset, heads), problem,
            pick(kept_weights, heads),
            d_q[heads], d_k[heads], d_v[heads], of_heads(d_offset, heads),
        )  # fmt: skip

    run_by_heads(compute, q, problem)
    return d_q.to(q.dtype), d_k.to(q.dtype), d_v.to(q.dtype), d_offset


def backward_of_heads(
    d_context: Tensor,
    rho: Tensor | None,
    eps: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gain: Tensor,
    offset: Tensor | None,
    problem: Problem,
    kept_weights: Tensor | None,
    d_q: Tensor,
    d_k: Tensor,
    d_v: Tensor,
    d_offset: Tensor,
) -> None:
    """`backward`, into the last four."""
    weights = Weights(q, k, gain, offset, problem)
    values, d_context = weights.laid_out(v), weights.laid_out(d_context)
    if weights.context_factor is not None:
        d_context = d_context * weights.context_factor
    # rho + eps (1 + ln P) = (rho + eps) + eps ln 2 log2 P
    constant = rho if eps is None else eps if rho is None else rho + eps
    slope = None if eps is None else LN2 * eps
    constant, slope = (None if one is None else wide(one[..., None]) for one in (constant, slope))
    beta = begin_sums(q, k, d_q, d_k, d_v)
    for block in weights.blocks():
        place, keys = block.queries, block.keys
        if kept_weights is None:
            z = weights.scores(block)
            p = weights.mask(ACTIVATIONS[problem.activation](z), block)
        else:  # those of relu, whose gradient looks at nothing else
            z = p = kept_weights[block.pairs]
        d_p = wide(batched_product(d_context[place], values[keys].transpose(2, 3)))
        kept = weights.kept(block, p)
        if kept is not None:
            d_p.mul_(kept)
        add_gradients_of_sums(d_p, p, pick(constant, place), pick(slope, place))
        d_z = GRADIENTS[problem.activation](d_p, z, p)
        if problem.activation != "relu":  # whose masked weights of 0 have no gradient
            d_z = weights.mask(d_z, block)
        if offset is not None:
            d_offset[place] -= d_z.sum(-1)
        if weights.plane_factor is not None:
            d_z.mul_(weights.plane_factor[place])
        d_z, p = d_z.to(q.dtype), (p if kept is None else p * kept).to(q.dtype)
        add_product(d_q[place], d_z, weights.keys[keys], beta)
        add_product(d_k[keys], d_z.transpose(2, 3), weights.queries[place], beta)
        add_product(d_v[keys], p.transpose(2, 3), d_context[place], beta)
    if weights.query_factor is not None:
        d_q.mul_(weights.query_factor)
    if weights.key_mask is not None and problem.activation != "relu":  # of which zeros get none
        d_k.mul_(weights.key_mask)
    if offset is not None:
        d_offset.mul_(weights.score_factor.squeeze(-1))


def run_by_heads(compute: Callable[[Place], None], q: Tensor, problem: Problem) -> None:
    """All heads at once, or shares of them side by side on threads of their own.

    Dropout's noise must not depend on the number of threads.
    """
    threads = torch.get_num_threads()
    if not suits_own_threads(q) or q.shape[1] % threads or problem.dropout:
        compute((slice(None), slice(None)))
        return
    share = q.shape[1] // threads
    firsts = range(0, q.shape[1], share)
    on_own_threads(compute, [(slice(None), slice(first, first + share)) for first in firsts])


def of_heads(output: Tensor, heads: Place) -> Tensor:
    """Those of an output; one that is not asked for has none."""
    return output[heads] if output.dim() > 1 else output


def room_for_sums(tensor: Tensor, q: Tensor, k: Tensor) -> Tensor:
    """For products that are summed over blocks: in float32 at least, where there are several."""
    room = empty_heads(tensor)
    return room if is_whole(q.shape[2], k.shape[2]) else wide(room)


def begin_sums(q: Tensor, k: Tensor, *rooms: Tensor) -> int:
    """What to multiply them with before each product is added."""
    if is_whole(q.shape[2], k.shape[2]):
        return 0
    for room in rooms:
        room.zero_()
    return 1


def add_gradients_of_sums(
    d_p: Float[Tensor, "B H T S"],
    p: Float[Tensor, "B H T S"],
    constant: Float[Tensor, "B H T 1"] | None,
    slope: Float[Tensor, "B H T 1"] | None,
) -> None:
    """d_p += constant + slope log2 p, in place."""
    if constant is not None:
        d_p.add_(constant)
    # Entropies seldom exceed their margin; asking a GPU takes longer than the product.
    if slope is not None and (slope.is_cuda or slope.any()):
        d_p.addcmul_(log2(p), slope)


def sequences(problem: Problem) -> Iterator[tuple[Place, Place, Problem]]:
    """Of packed ones: where each has its queries and its keys, and its own problem."""
    assert problem.query_starts is not None
    assert problem.key_starts is not None
    starts = zip(problem.query_starts.tolist(), problem.key_starts.tolist(), strict=True)
    for i, ((query, key), (query_end, key_end)) in enumerate(itertools.pairwise(starts)):
        single = replace(
            problem,
            longest_query=query_end - query,
            longest_key=key_end - key,
            query_starts=None,
            key_starts=None,
            seed=None if problem.seed is None else problem.seed + 7_368_787 * i,
        )
        everything = slice(None)
        queries = everything, everything, slice(query, query_end)
        yield queries, (everything, everything, slice(key, key_end)), single


def pick(tensor: Tensor | None, place: Place) -> Tensor | None:
    return None if tensor is None else tensor[place]


def join(parts: Sequence[Tensor], like: Tensor | None) -> Tensor:
    """One behind another again, as heads like those of `like`; what is empty stays so."""
    if parts[0].dim() == 1:
        return parts[0]
    whole = torch.cat(list(parts), dim=2)
    return whole if like is None else empty_heads(like).copy_(whole)


def add_product(
    sums: Float[Tensor, "B H T D"], left: Float[Tensor, "B H T S"], right: Tensor, beta: int
) -> None:
    """sums = beta sums + left @ right, in place; of 16 bits each product is rounded, no sum."""
    if beta == 0:
        batched_product(left, right, out=sums)
    else:
        sums.add_(batched_product(left, right))


def needs_float32(q: Tensor) -> bool:
    """Whether 16 bits are computed with in 32, as few CPUs multiply them faster."""
    native = q.dtype == torch.bfloat16 and q.device.type == "cpu" and multiplies_bf16()
    return q.dtype in HALVES and not native


def multiplies_bf16() -> bool:
    """Whether this CPU has instructions for it."""
    return torch.cpu._is_avx512_bf16_supported()


def log2(p: Tensor) -> Tensor:
    """log2 p, finite where p is 0; without a gradient, as all that happens within an operator."""
    positive = p.clamp(min=torch.finfo(p.dtype).tiny)
    fast = p.device.type == "cpu" and torch.cpu._is_avx512_supported()
    if fast and torch.get_num_threads() <= 2:  # NumPy's takes a third of the time, on one thread
        np.log2(positive.numpy(), out=positive.numpy())
        return positive
    return positive.log2_()
