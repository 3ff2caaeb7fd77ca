"""gamma chosen from data: the variance of attention's update relative to the residual stream."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from reluformer.attention.relu import ReluAttention
from reluformer.data.batch import Batch
from reluformer.model.layers import Residual
from reluformer.model.transformer import Transformer


@torch.no_grad()
def calibrate_gamma(model: Transformer, batches: Iterable[Batch], ratio: float) -> int:
    """Set gamma of every `calibrated` ReLU attention so that var(update) / var(stream) = `ratio`.

    Per layer and site, on real positions, without dropout. The update is proportional to
    1 / gamma (biases are 0 at initialisation), so one forward pass per batch is exact: each
    site is set before the layers above it run. Over batches the geometric mean is taken.
    Returns how many sites were calibrated.
    """
    sites = _calibrated_sites(model)
    if not sites:
        return 0
    model.eval()
    logs: dict[ReluAttention, list[float]] = {mechanism: [] for _, mechanism, _ in sites}
    for batch in batches:
        handles = [
            residual.register_forward_pre_hook(_setter(mechanism, from_source, batch, ratio, logs))
            for residual, mechanism, from_source in sites
        ]
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
        for handle in handles:
            handle.remove()
    for mechanism, values in logs.items():
        mechanism.log_gamma.fill_(sum(values) / len(values))
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
    logs: dict[ReluAttention, list[float]],
) -> Any:
    tokens, lengths = (
        (batch.src_tokens, batch.src_lengths) if from_source else (batch.target, batch.tgt_lengths)
    )
    real = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]

    def hook(residual: Residual, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        stream, update = inputs
        found = variance(update, real) / variance(stream, real)
        change = 0.5 * math.log(max(float(found), 1e-30) / ratio)  # update ~ 1 / gamma
        logs[mechanism].append(float(mechanism.log_gamma[0]) + change)
        return stream, update * math.exp(-change)

    return hook


def variance(x: Float[Tensor, "B T M"], real: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Variance of all channels over the real positions."""
    return x[real].var()
