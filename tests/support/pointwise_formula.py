"""Pointwise attention written out in float64, for autograd to differentiate: what kernels are
held to. One sentence's unpadded rows at a time, so that no mask but the causal one is needed.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reluformer.kernels.problem import Problem

FORMULAS = {
    "relu": torch.relu,  # with slope 0 at 0
    "relu_squared": lambda z: torch.relu(z) ** 2,
    "gelu": lambda z: z * (1 + torch.erf(z / math.sqrt(2))) / 2,
    "softplus": lambda z: torch.log1p(z.exp()),
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
}


@dataclass
class Case:
    """Inputs and upstream gradients, 0 in padding, and what the formulas make of them."""

    problem: Problem
    q: Tensor
    k: Tensor
    v: Tensor
    gain: Tensor
    offset: Tensor | None
    d_contexts: Tensor
    rho: Tensor | None
    eps: Tensor | None
    wanted: dict[str, Tensor]

    def errors(self, found: dict[str, Tensor]) -> dict[str, float]:
        """Relative errors by norm of all that is wanted; padding aside."""
        assert found.keys() >= self.wanted.keys()
        assert all(found[name].isfinite().all() for name in self.wanted)
        return {
            name: float(
                (found[name].double() * self.real(name) - wanted).norm()
                / wanted.norm().clamp(min=1e-12)
            )
            for name, wanted in self.wanted.items()
        }

    def real(self, name: str) -> Tensor:
        """1 for real rows of queries; gradients of padding are to be 0 themselves."""
        lengths = self.problem.query_lengths
        if lengths is None or name.startswith("d_"):
            return torch.ones(())
        mask = (torch.arange(self.q.shape[2]) < lengths[:, None])[:, None].double()
        return mask[..., None] if name == "contexts" else mask


def case(
    num_queries: int,
    num_keys: int,
    *,
    activation: str = "relu",
    causal: bool = False,
    centered: bool = False,
    sums: bool = False,
    head_dim: int = 32,
    heads: int = 2,
    padded: bool = True,
    dtype: torch.dtype = torch.float64,
    alpha: float = 0.5,
) -> Case:
    """Two sentences, the second a few positions shorter; relu rows of which some are dead."""
    shape = (2, heads, num_queries, head_dim)
    q = torch.randn(shape, dtype=torch.float64).to(dtype)
    k, v = (
        torch.randn(2, heads, num_keys, head_dim, dtype=torch.float64).to(dtype) for _ in range(2)
    )
    if not centered and num_queries > 2:
        q[1, -1, 2] = 0  # a dead row of zeros, and one of negative scores
        q[1, -1, 1], q[1, -1, 1, 0] = 0, -1
        k[1, -1, :, 0] = k[1, -1, :, 0].abs() + 0.5
    gain = torch.rand(heads, dtype=torch.float64) + 0.5
    offset = torch.randn(shape[:3], dtype=torch.float64) / 3 if centered else None
    short = 5 if padded else 0
    lengths = [[n, max(n - short, 0)] for n in (num_queries, num_keys)]
    problem = Problem(
        activation,
        causal,
        head_dim**-0.5,
        alpha,
        sums,
        sums,
        0.0,
        num_queries,
        num_keys,
        query_lengths=torch.tensor(lengths[0]) if padded else None,
        key_lengths=torch.tensor(lengths[1]) if padded else None,
    )
    d_contexts = torch.randn(shape, dtype=torch.float64).to(dtype)
    rho, eps = (torch.randn(shape[:3], dtype=torch.float64) if sums else None for _ in range(2))
    for b, length in enumerate(lengths[0]):
        for one in (d_contexts, rho, eps):
            if one is not None:
                one[b, :, length:] = 0
    made = Case(problem, q, k, v, gain, offset, d_contexts, rho, eps, {})
    made.wanted = solve(made, lengths)
    return made


def solve(one: Case, lengths: list[list[int]]) -> dict[str, Tensor]:
    """Outputs and gradients, sentence by sentence."""
    leaves = {
        name: getattr(one, name).double().clone().requires_grad_()
        for name in ("q", "k", "v", "gain", "offset")
        if getattr(one, name) is not None
    }
    num_queries, num_keys = one.q.shape[2], one.k.shape[2]
    wanted = {"contexts": torch.zeros(one.q.shape, dtype=torch.float64)}
    for name in ("row_sums", "entropy_sums") if one.problem.row_sums else ():
        wanted[name] = torch.zeros(one.q.shape[:3], dtype=torch.float64)
    loss = sum((leaf.sum() * 0 for leaf in leaves.values()), torch.zeros(()))
    for b, (rows, keys) in enumerate(zip(*lengths, strict=True)):
        if not rows:
            continue
        offset = leaves["offset"][b, :, :rows] if one.offset is not None else None
        p = weights(
            leaves["q"][b, :, :rows],
            leaves["k"][b, :, :keys],
            leaves["gain"],
            offset,
            one.problem,
            num_keys - num_queries,
        )
        contexts = p @ leaves["v"][b, :, :keys]
        wanted["contexts"][b, :, :rows] = contexts.detach()
        loss = loss + (contexts * one.d_contexts[b, :, :rows].double()).sum()
        if one.rho is not None and one.eps is not None:
            sums = p.sum(-1), (p * p.clamp(min=1e-300).log()).sum(-1)
            wanted["row_sums"][b, :, :rows] = sums[0].detach()
            wanted["entropy_sums"][b, :, :rows] = sums[1].detach()
            loss = loss + (sums[0] * one.rho[b, :, :rows]).sum()
            loss = loss + (sums[1] * one.eps[b, :, :rows]).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return wanted | {f"d_{name}": found for name, found in zip(leaves, gradients, strict=True)}


def weights(
    q: Tensor, k: Tensor, gain: Tensor, offset: Tensor | None, problem: Problem, shift: int
) -> Tensor:
    """P [H, T, S] of one sentence."""
    rows, keys = q.shape[1], k.shape[1]
    seen = torch.ones(rows, keys, dtype=torch.bool)
    if problem.causal:
        seen = seen.tril(shift)
    n = seen.sum(1, keepdim=True)
    z = problem.scale * q @ k.transpose(1, 2)
    if offset is not None:
        z = (z - offset[..., None]) * (n > 1)
    c = gain[:, None, None] * n.clamp(min=1).double() ** -problem.alpha
    return c * FORMULAS[problem.activation](z) * seen
