"""Attention kernels on sentences of different lengths, one behind another without padding.

The unit is positions a second: the work of short sentences is moving them, not multiplying.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from reluformer.benchmark.kernels import (
    REPEATS,
    Run,
    first_line,
    ours,
    plain_relu,
    repeated,
    runs_of,
)
from reluformer.benchmark.rounds import Work
from reluformer.benchmark.synthetic import random_lengths
from reluformer.console import console

PADDED = "relu, r and e"


def packed_work(
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
    """Forward, then backward, for sentences of `length` on average, `positions` in all."""
    lengths = cut_lengths(length, positions, seed)
    torch.manual_seed(seed)
    q, k, v, upstream = (
        torch.randn(positions, num_heads, head_dim, device=device, dtype=dtype) for _ in range(4)
    )
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    longest = max(lengths)
    systems = dict(packed(q, k, v, upstream, causal, starts, longest))
    systems |= dict(padded(q, k, v, upstream, causal, lengths))
    repeats = REPEATS if device.type == "cuda" else 1
    for place, direction in enumerate(("forward", "backward")):
        tasks = dict(repeated(name, runs[place], device) for name, runs in systems.items())
        yield Work(
            title=f"Kernels, {direction}, sentences of about {length} positions, "
            f"{'' if causal else 'not '}causal",
            unit="positions",
            amount=repeats * positions,
            tasks=tasks,
            conditions=f"{len(lengths)} sentences of {min(lengths)} to {longest} positions, "
            f"{positions} in all, "
            f"{num_heads} heads of {head_dim}, {str(dtype).removeprefix('torch.')}, {repeats} "
            f"calls a timing: {positions / 1e-4:.4g} positions/s are 100 us a call; padded: "
            f"{len(lengths) * longest} positions",
        )


def cut_lengths(mean: int, positions: int, seed: int) -> list[int]:
    """Of as many sentences as have so many positions together; the last is cut."""
    drawn = random_lengths(np.random.default_rng(seed), positions, mean)
    lengths = np.maximum(drawn.round().astype(np.int64), 1)
    count = int(np.searchsorted(np.cumsum(lengths), positions)) + 1
    lengths = lengths[:count]
    lengths[-1] -= lengths.sum() - positions
    return [int(length) for length in lengths]


def packed(
    q: Tensor, k: Tensor, v: Tensor, upstream: Tensor, causal: bool, starts: Tensor, longest: int
) -> Iterator[tuple[str, tuple[Run, Run]]]:
    """Our kernels, and PyTorch's for packed sentences, which is FlashAttention's."""
    problem = replace(
        plain_relu(q.shape[2], causal, longest), query_starts=starts, key_starts=starts
    )
    inner = [one.transpose(0, 1)[None] for one in (q, k, v, upstream)]
    for name, runs in ours(inner[0], inner[1], inner[2], inner[3], problem):
        yield f"{name}, packed", runs
    if q.is_cuda:
        try:
            yield (
                "PyTorch varlen_attn, packed",
                runs_of(varlen_attention(causal, starts, longest), q, k, v, upstream),
            )
        except Exception as reason:  # whatever this version of PyTorch finds wrong
            console.print(f"varlen_attn does not run here: {first_line(reason)}", markup=False)


def varlen_attention(causal: bool, starts: Tensor, longest: int) -> Callable[..., Tensor]:
    from torch.nn.attention.varlen import varlen_attn

    window = (-1, 0) if causal else (-1, -1)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = varlen_attn(q, k, v, starts, starts, longest, longest, window_size=window)
        assert isinstance(out, Tensor)
        return out

    return attend


def padded(
    q: Tensor, k: Tensor, v: Tensor, upstream: Tensor, causal: bool, lengths: list[int]
) -> Iterator[tuple[str, tuple[Run, Run]]]:
    """The same sentences with padding: our kernels, and PyTorch's with a mask."""
    q, k, v, upstream = (
        pad_sequence(one.split(lengths), batch_first=True).transpose(1, 2)
        for one in (q, k, v, upstream)
    )
    real, longest = torch.tensor(lengths, device=q.device), max(lengths)
    problem = replace(plain_relu(q.shape[3], causal, longest), query_lengths=real, key_lengths=real)
    yield f"{PADDED}, padded", dict(ours(q, k, v, upstream, problem))[PADDED]
    place = torch.arange(longest, device=q.device)
    mask = (place < real[:, None])[:, None, None]
    if causal:
        mask = mask & (place <= place[:, None])
    attend = partial(scaled_dot_product_attention, attn_mask=mask)
    yield "SDPA as PyTorch chooses, padded", runs_of(attend, q, k, v, upstream)
