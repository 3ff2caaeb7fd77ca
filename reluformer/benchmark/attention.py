"""Attention alone: query positions a second, forward and backward."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from reluformer.attention.base import Attention
from reluformer.benchmark.rounds import Work
from reluformer.training.memory import keep_freed_memory
from reluformer.training.update import autocast
from reluformer.visibility import Visibility


class PyTorchAttention(nn.Module):
    """The rival: torch.nn.functional.scaled_dot_product_attention, called as by hand."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, with_penalty: bool = False
    ) -> tuple[Tensor, None]:
        context = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=visibility.causal)
        return context, None


def attention_work(
    mechanisms: Mapping[str, Attention | PyTorchAttention],
    *,
    num_heads: int,
    head_dim: int,
    length: int,
    positions: int,
    causal: bool,
    with_penalty: bool,
    precision: str,
    seed: int,
    device: torch.device,
) -> Work:
    """Self-attention over sentences of `length`, as many as give `positions` in all.

    Each system goes forward and backward, by queries, keys, values and its own parameters, in
    every round; the regulariser of those that have one is part of it on request.
    """
    keep_freed_memory()  # as reluformer-train does; all systems gain by it
    sentences = max(1, positions // length)
    generator = torch.Generator().manual_seed(seed)
    shape = (sentences, length, num_heads, head_dim)
    # Heads lie inside positions, as the projections leave them.
    drawn = [torch.randn(shape, generator=generator).to(device).transpose(1, 2) for _ in range(4)]
    inputs, upstream = [one.requires_grad_() for one in drawn[:3]], drawn[3]
    visibility = Visibility(length, length, causal=causal, device=device)
    tasks = {
        name: partial(
            _run, mechanism.to(device), inputs, upstream, visibility, with_penalty, precision
        )
        for name, mechanism in mechanisms.items()
    }
    kind = "causal" if causal else "not causal"
    return Work(
        title=f"Attention, {length} positions, {kind}",
        unit="positions",
        amount=sentences * length,
        tasks=tasks,
        conditions=f"forward and backward of {sentences} sentences of {length} positions, "
        f"{num_heads} heads of {head_dim}, {kind}, regulariser "
        f"{'included' if with_penalty else 'left out'}, {precision}",
        parameters={
            name: sum(parameter.numel() for parameter in mechanism.parameters())
            for name, mechanism in mechanisms.items()
        },
    )


def _run(
    mechanism: Callable[..., tuple[Tensor, tuple[Tensor | None, ...] | None]],
    inputs: list[Tensor],
    upstream: Tensor,
    visibility: Visibility,
    with_penalty: bool,
    precision: str,
) -> None:
    with autocast(upstream.device, precision):
        context, penalty = mechanism(*inputs, visibility, with_penalty)
    total = (context * upstream).sum()
    for term in penalty or ():
        if term is not None:
            total = total + term
    total.backward()
    for tensor in inputs:
        tensor.grad = None
