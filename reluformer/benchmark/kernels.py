"""Attention kernels, forward and backward apart, against those that a GPU user has otherwise.

The unit is TFLOP/s by the usual count: 4 heads length^2 head_dim a sentence forward, half of it if
causal, 2.5 times as much backward, whatever a kernel computes again or leaves out.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from reluformer.benchmark.rounds import Work
from reluformer.console import console
from reluformer.kernels import blocked
from reluformer.kernels.attention import runs_triton
from reluformer.kernels.problem import Problem

Run = Callable[[], object]
REPEATS = 20  # in one timing on a GPU
BACKENDS = {
    "SDPA flash": SDPBackend.FLASH_ATTENTION,
    "SDPA cuDNN": SDPBackend.CUDNN_ATTENTION,
    "SDPA efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def kernel_work(
    *,
    num_heads: int,
    head_dim: int,
    length: int,
    positions: int,
    causal: bool,
    dtype: torch.dtype,
    seed: int,
    device: torch.device,
) -> Iterator[Work]:
    """Forward, then backward, for sentences of `length`, `positions` in all."""
    sentences = max(1, positions // length)
    torch.manual_seed(seed)
    shape = (sentences, length, num_heads, head_dim)
    # Heads lie inside positions, as the projections leave them.
    q, k, v, upstream = (
        torch.randn(shape, device=device, dtype=dtype).transpose(1, 2) for _ in range(4)
    )
    products = 4 * sentences * num_heads * length**2 * head_dim / (2 if causal else 1)
    problem = plain_relu(head_dim, causal, length)
    systems = dict(ours(q, k, v, upstream, problem)) | dict(rivals(q, k, v, upstream, causal))
    repeats = REPEATS if device.type == "cuda" else 1
    for place, (direction, share) in enumerate((("forward", 1.0), ("backward", 2.5))):
        tasks = dict(repeated(name, runs[place], device) for name, runs in systems.items())
        yield Work(
            title=f"Kernels, {direction}, {length} positions, {'' if causal else 'not '}causal",
            unit="TFLOP",
            amount=repeats * share * products / 1e12,
            tasks=tasks,
            conditions=f"{sentences} sentences of {length} positions, {num_heads} heads of "
            f"{head_dim}, {str(dtype).removeprefix('torch.')}, {repeats} calls a timing; scores of "
            "random normal queries and keys, half of them positive; r: with row sums, e: with "
            "sums of P ln P",
        )


def repeated(name: str, run: Run, device: torch.device) -> tuple[str, Run]:
    """REPEATS of it on a GPU, as a CUDA graph, so that launching from Python does not count; with
    the name for the table, which says where that cannot be."""
    if device.type != "cuda":
        return name, run

    def repeat() -> None:
        for _ in range(REPEATS):
            run()

    before = torch.cuda.current_stream()
    try:
        return name, captured(repeat)
    except RuntimeError as problem:
        console.print(f"{name} is timed without a CUDA graph: {first_line(problem)}", markup=False)
        torch.cuda.set_stream(before)  # a capture that fails leaves its own
        return f"{name}, launched one by one", repeat


def captured(run: Run) -> Run:
    """What replays the kernels that it launches."""
    with beside_the_default_stream():
        run()  # what is compiled or allocated once
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=capture_stream()):
        run()
    replay: Run = graph.replay
    return replay


@contextmanager
def beside_the_default_stream() -> Iterator[None]:
    """On a GPU, where graphs are captured: a backward pass runs where its forward pass did."""
    if not torch.cuda.is_available():
        yield
        return
    capture_stream().wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(capture_stream()):
        yield
    torch.cuda.current_stream().wait_stream(capture_stream())


@cache
def capture_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()


def first_line(problem: Exception) -> str:
    return next(iter(str(problem).splitlines()), type(problem).__name__)


def plain_relu(head_dim: int, causal: bool, longest: int) -> Problem:
    """Self-attention of whole sequences, without sums or dropout."""
    scale = 1 / math.sqrt(head_dim)
    return Problem("relu", causal, scale, 0.5, False, False, 0.0, longest, longest)


def ours(
    q: Tensor, k: Tensor, v: Tensor, upstream: Tensor, base: Problem
) -> Iterator[tuple[str, tuple[Run, Run]]]:
    """ReLU attention with and without its regulariser's sums, and softmax in the same kernels."""
    gain = torch.ones(q.shape[1], device=q.device)
    sums = torch.randn(q.shape[:3], device=q.device)
    inputs = (q, k, v, gain)
    forward: Callable[..., Any] = blocked.forward
    backward: Callable[..., Any] = blocked.backward
    if runs_triton(q):
        from reluformer.kernels import launch

        forward, backward = launch.forward, launch.backward
    for name, offset, row_sums, entropies in (
        ("relu", None, False, False),
        ("relu, r", None, True, False),
        ("relu, r and e", None, True, True),
        ("relu centred, r and e", sums, True, True),
    ):
        problem = Problem(**{**vars(base), "row_sums": row_sums, "entropies": entropies})
        given = sums if row_sums else None, sums if entropies else None
        yield (
            name,
            (
                partial(forward, *inputs, offset, problem),
                partial(backward, upstream, *given, *inputs, offset, problem),
            ),
        )
    if runs_triton(q):
        problem = Problem(**{**vars(base), "activation": "softmax", "alpha": 0.0})
        contexts, log_sums, _ = launch.forward(*inputs, None, problem)
        yield (
            "softmax, the same kernels",
            (
                partial(launch.forward, *inputs, None, problem),
                partial(
                    launch.backward,
                    upstream,
                    None,
                    None,
                    *inputs,
                    None,
                    problem,
                    contexts,
                    log_sums,
                ),
            ),
        )


def rivals(
    q: Tensor, k: Tensor, v: Tensor, upstream: Tensor, causal: bool
) -> Iterator[tuple[str, tuple[Run, Run]]]:
    """Those that run here, and a line for each that does not; the last is what the others are
    compared with."""
    if q.is_cuda:
        for name, attend in rivals_on_gpus(q, causal):
            try:
                yield name, runs_of(attend, q, k, v, upstream)
            except Exception as problem:  # whatever another library finds wrong
                console.print(f"{name} does not run here: {first_line(problem)}", markup=False)
    attend = partial(scaled_dot_product_attention, is_causal=causal)
    yield "SDPA as PyTorch chooses", runs_of(attend, q, k, v, upstream)


def rivals_on_gpus(q: Tensor, causal: bool) -> Iterator[tuple[str, Callable[..., Tensor]]]:
    yield "FlexAttention, ReLU by logarithms", flex_relu(causal, q.shape[2], q.device)
    if find_spec("adasplash") is not None:
        yield "AdaSplash, 1.5-entmax", partial(entmax15_by_adasplash, causal=causal)
    for name, backend in BACKENDS.items():
        yield name, partial(sdpa, backend=backend, causal=causal)


def entmax15_by_adasplash(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """It takes no views: the copies count, as its users pay them too."""
    import adasplash

    dense = (one.contiguous() for one in (q, k, v))
    return adasplash.adasplash_v1(*dense, alpha=1.5, is_causal=causal)


def sdpa(q: Tensor, k: Tensor, v: Tensor, backend: SDPBackend, causal: bool) -> Tensor:
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(q, k, v, is_causal=causal)


def flex_relu(causal: bool, length: int, device: torch.device) -> Callable[..., Tensor]:
    """ReLU attention through a softmax engine: ln s where s > 0, undone by the row's sum."""
    from torch._functorch import config as compiled_gradients
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled_gradients.donated_buffer = False  # its backward pass is run more than once
    flex: Callable[..., tuple[Tensor, Tensor]] = torch.compile(flex_attention)

    def logarithm(score: Tensor, *_: Tensor) -> Tensor:
        positive = torch.where(score > 0, score, 1.0)
        return torch.where(score > 0, positive.log(), -torch.inf)

    mask = None
    if causal:
        mask = create_block_mask(lambda b, h, i, j: i >= j, None, None, length, length, device)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, log_sum = flex(q, k, v, score_mod=logarithm, block_mask=mask, return_lse=True)
        return out * log_sum.exp()[..., None].to(out.dtype)

    return attend


def runs_of(
    attend: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, upstream: Tensor
) -> tuple[Run, Run]:
    """Forward, and backward through autograd; both run once to see that they can."""
    leaves = [tensor.detach().requires_grad_() for tensor in (q, k, v)]

    def backward() -> object:
        return torch.autograd.grad(out, leaves, upstream, retain_graph=True)

    with beside_the_default_stream():
        out = attend(*leaves)
        backward()
    return partial(attend, *(tensor.detach() for tensor in leaves)), backward
