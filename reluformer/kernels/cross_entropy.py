"""Label-smoothed cross-entropy of logits, whose memory its gradient takes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reluformer.kernels.attention import TRITON_DTYPES, has_triton

BLOCK = 4096  # types that a program of the Triton kernel has at a time, with WARPS warps
WARPS = 8


def cross_entropy_(
    logits: Float[Tensor, "N V"], target: Int[Tensor, " N"], smoothing: float, with_gradient: bool
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Each token's smoothed loss and nll in nats, in float32 at least; the logits are written over.

    With `with_gradient` by dloss/dlogits, otherwise by nothing of use. Smoothing is fairseq's: with
    e = smoothing / (V - 1), loss = (1 - smoothing - e) nll + e sum_v(-ln p_v), so that the true
    type keeps 1 - smoothing and every other one has e. The gradient is then
    p - e - (1 - smoothing - e) onehot. On a GPU one kernel does it all, and nothing of the logits'
    size is wider than they are; of a target outside the vocabulary losses are NaN there.
    """
    other_share = smoothing / (logits.shape[1] - 1)
    true_share = 1 - smoothing - other_share
    if logits.is_cuda and logits.dtype in TRITON_DTYPES and has_triton():
        with torch.cuda.device_of(logits):
            return by_triton(logits, target, true_share, other_share, with_gradient)
    return by_pytorch(logits, target, true_share, other_share, with_gradient)


def by_triton(
    logits: Tensor, target: Tensor, true_share: float, other_share: float, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    from reluformer.kernels.triton_cross_entropy import cross_entropy

    assert logits.is_contiguous()
    loss, nll = logits.new_empty(2, len(logits), dtype=torch.float32)
    if len(logits):
        cross_entropy[len(logits),](
            logits, target.contiguous(), loss, nll, logits.shape[1], true_share, other_share,
            GRADIENT=with_gradient, BLOCK=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return loss, nll


def by_pytorch(
    logits: Tensor, target: Tensor, true_share: float, other_share: float, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    truth = target[:, None]
    true_logit, total = wide.gather(1, truth), wide.sum(1, keepdim=True)
    highest = wide.amax(1, keepdim=True)
    odds = wide.sub_(highest).exp_()  # reuses the logits' memory, as do the lines below
    odds_sum = odds.sum(1, keepdim=True)
    log_z = highest + odds_sum.log()
    nll = log_z - true_logit
    loss = true_share * nll + other_share * (logits.shape[1] * log_z - total)
    if with_gradient:
        gradient = odds.div_(odds_sum).sub_(other_share)
        gradient.scatter_add_(1, truth, torch.full_like(true_logit, -true_share))
        logits.copy_(gradient)
    return loss[:, 0], nll[:, 0]
