"""Feed-forward networks as key-value memories: how much they say, from how many slots."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from reluformer.analysis.statistics import mean_by_name
from reluformer.data.batch import Batch
from reluformer.model.ffn import FeedForward
from reluformer.model.transformer import Transformer

# Shares of the slots whose weight is compared with that of all, by their names in reports.
TOP_SHARES = {"top_0.2%": 0.002, "top_1%": 0.01, "top_10%": 0.1}
ENCODER, DECODER = FFN_SITES = ("encoder_ffn", "decoder_ffn")


@torch.no_grad()
def measure_ffn(model: Transformer, batch: Batch) -> dict[str, float]:
    """Statistics of one batch without dropout: `<site>/<statistic>`, averaged over layers.

    variance_ratio: variance of the network's output before it joins the residual stream, over that
        of the stream there, each over all channels of the real positions.
    top_<share>: part of a position's absolute slot weights that its largest `share` of slots holds
        (one slot at least); mean over the real positions that take anything from any slot.
    anisotropy: mean cosine between the values of two different slots.

    Source: Shen et al. 2023, section 3. Differs from it in: the variance's reference, ours, is the
    stream that the output joins. Networks without slots have a variance ratio only.
    """
    was_training = model.training
    model.eval()
    with captured_ffn(model, batch) as found:
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    model.train(was_training)
    return {
        f"{site}/{name}": value
        for site, layers in found.items()
        for name, value in mean_by_name(layers).items()
    }


@contextmanager
def captured_ffn(model: Transformer, batch: Batch) -> Iterator[dict[str, list[dict[str, float]]]]:
    """Within the block, a forward pass fills the yielded dict with each layer's statistics."""
    found: dict[str, list[dict[str, float]]] = {ENCODER: [], DECODER: []}
    places: list[tuple[str, Any, Tensor]] = [
        *((ENCODER, layer, batch.src_lengths) for layer in model.encoder_stack),
        *((DECODER, layer, batch.tgt_lengths) for layer in model.decoder_stack),
    ]

    def hook_for(site: str, layer: Any, lengths: Tensor) -> Any:
        def hook(residual: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
            stream, update = inputs
            real = torch.arange(stream.shape[1], device=lengths.device) < lengths[:, None]
            found[site].append(ffn_statistics(layer, stream, update, real))

        return hook

    handles = [
        layer.ffn_residual.register_forward_pre_hook(hook_for(site, layer, lengths))
        for site, layer, lengths in places
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def ffn_statistics(
    layer: Any,
    stream: Float[Tensor, "B T M"],
    update: Float[Tensor, "B T M"],
    real: Bool[Tensor, "B T"],
) -> dict[str, float]:
    """Those of one layer, where `update` of its network joins the stream."""
    report = {"variance_ratio": float(update[real].var() / stream[real].var())}
    if isinstance(layer.ffn, FeedForward):
        slots = layer.ffn.slots(layer.ffn_residual.enter(stream))
        report |= concentration(slots[real].float())
        report["anisotropy"] = anisotropy(layer.ffn.values.weight.float().T)
    return report


def concentration(slots: Float[Tensor, "N F"]) -> dict[str, float]:
    """The part of all absolute weight that the largest slots of each position hold."""
    sizes = slots.abs().sort(dim=-1, descending=True).values
    totals = sizes.sum(-1)
    sizes, totals = sizes[totals > 0], totals[totals > 0]
    report = {}
    for name, share in TOP_SHARES.items():
        count = max(1, round(share * slots.shape[-1]))
        report[name] = float((sizes[:, :count].sum(-1) / totals).mean())
    return report


def anisotropy(values: Float[Tensor, "F M"]) -> float:
    """Mean cosine between different rows; NaN of fewer than two."""
    count = len(values)
    if count < 2:
        return float("nan")
    units = functional.normalize(values, dim=-1)
    cosines = units.sum(0).square().sum() - units.square().sum()  # of all pairs of different ones
    return float(cosines / (count * (count - 1)))
