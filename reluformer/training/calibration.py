"""gamma chosen from data: the variance of attention's update relative to the residual stream."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reluformer.attention.relu import ReluAttention
from reluformer.data.batch import Batch
from reluformer.errors import UserError
from reluformer.model.layers import Residual
from reluformer.model.transformer import Transformer


@torch.no_grad()
def calibrate_gamma(model: Transformer, batch: Batch, ratio: float) -> int:
    """Set gamma of every `calibrated` ReLU attention so that var(update) / var(stream) = `ratio`.

    Per layer and site, on real positions, without dropout. The update is proportional to
    1 / gamma (biases are 0 at initialisation), so one forward pass is exact on this batch: each
    site is set before the layers above it run. Returns how many sites were calibrated. Raises
    UserError where no row of a site is alive.
    """
    sites = _calibrated_sites(model)
    was_training = model.training
    model.eval()
    handles = [
        residual.register_forward_pre_hook(_setter(mechanism, from_source, batch, ratio))
        for residual, mechanism, from_source in sites
    ]
    if sites:
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    for handle in handles:
        handle.remove()
    model.train(was_training)
    return len(sites)


def _calibrated_sites(model: Transformer) -> list[tuple[Residual, ReluAttention, bool]]:
    """(where the update joins the stream, its mechanism, whether rows are the source's)."""
    pairs: list[tuple[nn.Module, Any, bool]] = []
    for layer in model.encoder_stack:
        pairs.append((layer.self_attention_residual, layer.self_attention.mechanism, True))
    for decoder_layer in model.decoder_stack:
        pairs.append(
            (decoder_layer.self_attention_residual, decoder_layer.self_attention.mechanism, False)
        )
        pairs.append(
            (decoder_layer.cross_attention_residual, decoder_layer.cross_attention.mechanism, False)
        )
    return [
        (residual, mechanism, from_source)
        for residual, mechanism, from_source in pairs
        if isinstance(residual, Residual)
        and isinstance(mechanism, ReluAttention)
        and mechanism.gamma_mode == "calibrated"
    ]


def _setter(
    mechanism: ReluAttention,
    from_source: bool,
    batch: Batch,
    ratio: float,
) -> Any:
    tokens, lengths = (
        (batch.src_tokens, batch.src_lengths) if from_source else (batch.target, batch.tgt_lengths)
    )
    real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]

    def hook(residual: Residual, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        stream, update = inputs
        found = float(variance(update, real) / variance(stream, real))
        if found == 0:
            raise UserError(
                "gamma cannot be calibrated: attention gives nothing at one of its sites, all of "
                "whose rows are dead; take `gamma_mode` fixed or learned, or another seed"
            )
        change = 0.5 * math.log(found / ratio)  # the update is proportional to 1 / gamma
        mechanism.log_gamma.add_(change)
        return stream, update * math.exp(-change)

    return hook


def variance(x: Float[Tensor, "B T M"], real: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Variance of all channels over the real positions."""
    return x[real].var()
