"""What training minimises: label-smoothed cross-entropy plus lambda times the regulariser."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reluformer.attention.base import Penalty
from reluformer.data.batch import Batch
from reluformer.kernels.cross_entropy import cross_entropy_
from reluformer.kernels.linear import linear
from reluformer.model.transformer import ENCODER_SELF, Transformer

# Rows of logits held at once: enough for full speed, a few MB at usual vocabularies on a CPU.
CPU_ROWS, GPU_ROWS = 512, 8192


class Totals(NamedTuple):
    """Real tokens of one whole update, over all its micro-batches and processes."""

    source_tokens: int
    target_tokens: int


class Losses(NamedTuple):
    """Parts of one micro-batch's loss; summed over an update's micro-batches they are its means.

    `total` is what is minimised; `smoothed` and `nll` are per target token in nats (nll without
    smoothing); the regulariser's terms come without lambda.
    """

    total: Float[Tensor, ""]
    smoothed: Float[Tensor, ""]
    nll: Float[Tensor, ""]
    normalisation: Float[Tensor, ""]
    entropy: Float[Tensor, ""]


class MeanPenalty(NamedTuple):
    """The regulariser's two terms, without lambda; 0 for one that is off everywhere."""

    normalisation: Float[Tensor, ""]
    entropy: Float[Tensor, ""]


class Criterion(nn.Module):
    """The model together with its loss, so that data parallelism wraps both as one module."""

    def __init__(self, model: Transformer, label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(self, batch: Batch, totals: Totals, regulariser_weight: float) -> Losses:
        """Losses of one micro-batch, each divided by the count over the whole update.

        Dividing by the global count makes accumulation and data parallelism give the gradient
        that one process would compute on everything at once.
        """
        output = self.model(
            batch.src_tokens,
            batch.src_lengths,
            batch.prev_output_tokens,
            batch.tgt_lengths,
            with_penalty=regulariser_weight > 0,
        )
        places = batch.target_places
        smoothed, nll = LinearCrossEntropy.apply(
            output.states.flatten(0, 1).index_select(0, places),
            self.model.output_projection.weight,
            batch.target.flatten().index_select(0, places),
            self.label_smoothing,
            torch.is_grad_enabled(),
        )
        smoothed, nll = smoothed / totals.target_tokens, nll / totals.target_tokens
        normalisation, entropy = mean_penalty(output.penalties, totals)
        total = smoothed + regulariser_weight * (normalisation + entropy)
        return Losses(total, smoothed, nll, normalisation, entropy)


def mean_penalty(penalties: Mapping[str, list[Penalty]], totals: Totals) -> MeanPenalty:
    """Each term averaged over the update's real rows, then over layers and sites that have it."""
    normalisation: list[Tensor] = []
    entropy: list[Tensor] = []
    for site, layers in penalties.items():
        rows = totals.source_tokens if site == ENCODER_SELF else totals.target_tokens
        for penalty in layers:
            if penalty.normalisation is not None:
                normalisation.append(penalty.normalisation / rows)
            if penalty.entropy is not None:
                entropy.append(penalty.entropy / rows)
    return MeanPenalty(_mean(normalisation), _mean(entropy))


def _mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean() if terms else torch.zeros(())


class LinearCrossEntropy(torch.autograd.Function):
    """Output projection and label-smoothed cross-entropy in one, never holding all logits.

    Of N tokens it gives the summed smoothed loss and the summed nll, in nats (`cross_entropy_`).
    Forward computes all gradients while a block of logits is at hand. Only the first output has
    one.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Float[Tensor, "N M"],
        weight: Float[Tensor, "V M"],
        target: Int[Tensor, " N"],
        smoothing: float,
        with_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        weight = weight.to(states.dtype)
        loss, nll = (
            states.new_zeros((), dtype=_wide(states)),
            states.new_zeros((), dtype=_wide(states)),
        )
        state_gradient = torch.empty_like(states) if with_gradient else None
        weight_gradient = torch.zeros_like(weight, dtype=_wide(states)) if with_gradient else None
        rows = GPU_ROWS if states.is_cuda else CPU_ROWS
        for first in range(0, len(states), rows):
            block, truth = states[first : first + rows], target[first : first + rows]
            logits = linear(block, weight, None)
            losses, nlls = cross_entropy_(logits, truth, smoothing, with_gradient)
            loss, nll = loss + losses.sum(), nll + nlls.sum()
            if state_gradient is not None and weight_gradient is not None:
                gradient = logits  # which lies where they were
                state_gradient[first : first + rows] = linear(gradient, weight.t(), None)
                weight_gradient += gradient.t() @ block
        if state_gradient is not None:
            ctx.save_for_backward(state_gradient, weight_gradient)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        state_gradient, weight_gradient = ctx.saved_tensors
        return (
            state_gradient * upstream[0].to(state_gradient.dtype),
            weight_gradient * upstream[0],
            None,
            None,
            None,
        )


def _wide(tensor: Tensor) -> torch.dtype:
    """float32, or float64 where the input is."""
    return torch.promote_types(tensor.dtype, torch.float32)
