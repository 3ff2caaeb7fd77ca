"""Calling the Triton kernels: their tiles, their arguments, what they write to."""

import math
import os
from functools import cache
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from reluformer.kernels import triton_backward, triton_forward
from reluformer.kernels.problem import Problem, empty_heads


class Tile(NamedTuple):
    """A launch configuration: rows of queries and keys, warps, stages of the load pipeline.

    `large` ones need more shared memory than the 99 KB of cards of capability 8.6 and 8.9.
    """

    queries: int
    keys: int
    warps: int
    stages: int
    large: bool = False


ANY = math.inf
# Every configuration that can be selected, by kernel, head size and the longest sequence that it
# serves; docs/results/speed-gpu.md has the registers that each takes on sm_90.
HALF_TILES: dict[str, dict[int, dict[float, Tile]]] = {
    "forward": {
        32: {32: Tile(32, 32, 4, 1), 64: Tile(64, 64, 4, 1), ANY: Tile(128, 128, 8, 3)},
        64: {32: Tile(32, 32, 4, 1), 64: Tile(64, 64, 4, 1), ANY: Tile(128, 128, 8, 3)},
        128: {32: Tile(32, 32, 4, 1), 64: Tile(64, 32, 4, 2), ANY: Tile(128, 64, 8, 3)},
    },
    "short_gradient": {
        32: {32: Tile(32, 32, 4, 2), 64: Tile(32, 64, 4, 1), 128: Tile(16, 128, 8, 1)},
        64: {32: Tile(32, 32, 4, 1), 64: Tile(32, 64, 4, 1), 128: Tile(32, 128, 8, 1)},
        128: {32: Tile(32, 32, 4, 1), 64: Tile(32, 64, 8, 1), 128: Tile(16, 128, 8, 1, large=True)},
    },
    "query_gradient": {size: {ANY: Tile(128, 64, 8, 2)} for size in (32, 64, 128)},
    "key_gradient": {
        32: {ANY: Tile(32, 128, 8, 2)},
        64: {ANY: Tile(32, 128, 8, 2)},
        128: {ANY: Tile(16, 128, 8, 2)},
    },
}
FLOAT32_TILE = {32: Tile(16, 16, 4, 1), 64: Tile(16, 32, 4, 1), 128: Tile(16, 32, 8, 1)}
FLOAT32_TILES: dict[str, dict[int, dict[float, Tile]]] = {
    kernel: {size: {ANY: tile} for size, tile in FLOAT32_TILE.items()}
    for kernel in ("forward", "query_gradient", "key_gradient")
} | {"short_gradient": {size: {32: Tile(32, 32, 8, 1, large=size == 128)} for size in FLOAT32_TILE}}
LARGE_MEMORY = 160 * 1024  # bytes of shared memory: A100 has 163 KB, Hopper 227


def tile_for(kernel: str, q: Tensor, longest: int) -> Tile | None:
    """The configuration for sequences of so many positions at most; None if they are too long."""
    tiles = (FLOAT32_TILES if q.dtype == torch.float32 else HALF_TILES)[kernel][q.shape[-1]]
    fitting = (tile for most, tile in tiles.items() if longest <= most)
    return next((tile for tile in fitting if not tile.large or has_large_memory(q.device)), None)


@cache
def has_large_memory(device: torch.device) -> bool:
    """Whether it runs the tiles that need much shared memory, as does the interpreter."""
    if device.type != "cuda":
        return True
    card = torch.cuda.get_device_properties(device)
    there: int = card.shared_memory_per_block_optin  # type: ignore[attr-defined]
    return there >= LARGE_MEMORY


def tensors(problem: Problem) -> list[Tensor | None]:
    """Those of the problem, in the order of the kernels' arguments."""
    given = [problem.query_starts, problem.key_starts, problem.query_lengths, problem.key_lengths]
    return [*(None if one is None else one.contiguous() for one in given), problem.seed]


def scalars(problem: Problem, num_heads: int) -> list[float]:
    """The kernels' numbers, in their order."""
    longest = [problem.longest_query, problem.longest_key]
    return [num_heads, *longest, problem.scale, problem.alpha, problem.dropout]


def options(problem: Problem, q: Tensor, offset: Tensor | None) -> dict[str, Any]:
    """The kernels' compile-time arguments, tiles aside."""
    exact = q.dtype == torch.float32 and not torch.backends.cuda.matmul.allow_tf32
    return {
        "HEAD_DIM": q.shape[-1],
        "ACTIVATION": problem.activation,
        "CAUSAL": problem.causal,
        "CENTERED": offset is not None,
        "PACKED": problem.packed,
        "QUERIES_PADDED": problem.query_lengths is not None,
        "KEYS_PADDED": problem.key_lengths is not None,
        "ROW_SUM": problem.row_sums,
        "ENTROPY": problem.entropies,
        "DROPOUT": problem.dropout > 0,
        "PRECISION": "ieee" if exact else "tf32",
        "FAST": not interpreted(),
    }


def interpreted() -> bool:
    """Whether Triton runs in its interpreter, as it does in tests without a GPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def forward(
    q: Tensor, k: Tensor, v: Tensor, gain: Tensor, offset: Tensor | None, problem: Problem
) -> tuple[Tensor, Tensor, Tensor]:
    """Contexts, row sums and sums of P ln P; for softmax the second are log2 sums of exponentials.

    q [B, H, T, D], k and v [B, H, S, D], gain [H], offset [B, H, T] in float32; packed with B = 1
    and all sequences one behind another in T and S.
    """
    q, k, v = (with_rows_together(one) for one in (q, k, v))
    out = empty_heads(q)
    wanted = problem.row_sums or problem.activation == "softmax", problem.entropies
    sums = [q.new_empty(q.shape[:-1] if one else (0,), dtype=torch.float32) for one in wanted]
    if q.numel():
        tile = tile_for("forward", q, problem.longest)
        assert tile is not None
        triton_forward.forward[grid(problem.longest_query, tile.queries, q, problem)](
            q, k, v, as_float(gain), as_float(offset), out, *sums, *tensors(problem),
            *strides(problem, q, k, v, out), *sums_strides(q, problem),
            *scalars(problem, q.shape[1]), **options(problem, q, offset), **launch(tile),
        )  # fmt: skip
    return out, sums[0], sums[1]


def backward(
    d_out: Tensor,
    rho: Tensor | None,
    eps: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gain: Tensor,
    offset: Tensor | None,
    problem: Problem,
    out: Tensor | None = None,
    log_sums: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dQ, dK, dV and the gradient of the offsets; `rho` and `eps` are dL/dr and dL/de.

    Softmax wants the first two outputs of `forward` as well.
    """
    q, k, v, d_out = (with_rows_together(one) for one in (q, k, v, d_out))
    d_q, d_k, d_v = empty_heads(q), empty_heads(k), empty_heads(v)
    d_offset = q.new_empty(q.shape[:-1] if offset is not None else (0,), dtype=torch.float32)
    if not q.numel() or not k.numel():
        return d_q.zero_(), d_k.zero_(), d_v.zero_(), d_offset.zero_()
    delta = None if out is None else (d_out.float() * out.float()).sum(-1)
    inputs = [q, k, v, as_float(gain), as_float(offset), d_out, as_float(rho), as_float(eps)]
    inputs += [log_sums, delta]
    strided = [*strides(problem, q, k, v, d_out), *sums_strides(q, problem)]
    numbers, longest = scalars(problem, q.shape[1]), problem.longest
    given = {"ROW_SUM": rho is not None, "ENTROPY": eps is not None}
    constants = options(problem, q, offset) | given
    if tile := tile_for("short_gradient", q, longest):
        triton_backward.short_gradient[grid(1, 1, q, problem)](
            *inputs, d_q, d_k, d_v, d_offset, *tensors(problem),
            *strided, *strides(problem, d_q, d_k), *numbers, **constants, **launch(tile),
        )  # fmt: skip
        return d_q, d_k, d_v, d_offset
    tile = tile_for("query_gradient", q, longest)
    assert tile is not None
    triton_backward.query_gradient[grid(problem.longest_query, tile.queries, q, problem)](
        *inputs, d_q, d_offset, *tensors(problem),
        *strided, *strides(problem, d_q), *numbers, **constants, **launch(tile),
    )  # fmt: skip
    tile = tile_for("key_gradient", q, longest)
    assert tile is not None
    triton_backward.key_gradient[grid(problem.longest_key, tile.keys, q, problem)](
        *inputs, d_k, d_v, *tensors(problem),
        *strided, *strides(problem, d_k), *numbers, **constants, **launch(tile),
    )  # fmt: skip
    return d_q, d_k, d_v, d_offset


def grid(length: int, block: int, q: Tensor, problem: Problem) -> tuple[int]:
    """Tiles of all heads of all sequences, in one dimension: the others end at 65,535."""
    sequences = len(q) if problem.query_starts is None else len(problem.query_starts) - 1
    return (triton.cdiv(length, block) * sequences * q.shape[1],)


def launch(tile: Tile) -> dict[str, int]:
    """A configuration as Triton calls it."""
    blocks = {"BLOCK_M": tile.queries, "BLOCK_N": tile.keys}
    return blocks | {"num_warps": tile.warps, "num_stages": tile.stages}


def with_rows_together(tensor: Tensor) -> Tensor:
    """[B, H, T, D] with each row's D numbers next to each other, copied only if they are not."""
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def as_float(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.float().contiguous()


def strides(problem: Problem, *tensors: Tensor) -> list[int]:
    """Of batch, head and row; a packed tensor's sequences differ in their rows only."""
    return [
        stride
        for tensor in tensors
        for stride in (0 if problem.packed else tensor.stride(0), *tensor.stride()[1:3])
    ]


def sums_strides(q: Tensor, problem: Problem) -> list[int]:
    """Of batch and head in what has one number for each query."""
    _, heads, rows, _ = q.shape
    return [0 if problem.packed else heads * rows, rows]
