"""Reading attention inside a model without changing the run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reluformer.analysis.statistics import attention_statistics, mean_by_name
from reluformer.attention.base import Attention
from reluformer.data.batch import Batch
from reluformer.model.transformer import CROSS, DECODER_SELF, ENCODER_SELF, Transformer


def attention_modules(model: Transformer) -> dict[tuple[str, int], Attention]:
    """Every mechanism in the model by (site, layer from 0)."""
    modules: dict[tuple[str, int], Attention] = {}
    for i, layer in enumerate(model.encoder_stack):
        modules[ENCODER_SELF, i] = layer.self_attention.mechanism
    for i, decoder_layer in enumerate(model.decoder_stack):
        modules[DECODER_SELF, i] = decoder_layer.self_attention.mechanism
        modules[CROSS, i] = decoder_layer.cross_attention.mechanism
    return modules


@contextmanager
def captured_statistics(model: Transformer) -> Iterator[dict[tuple[str, int], dict[str, float]]]:
    """Within the block, every forward pass fills the yielded dict with each site's statistics."""
    found: dict[tuple[str, int], dict[str, float]] = {}

    def hook_for(place: tuple[str, int]) -> Any:
        def hook(mechanism: Attention, inputs: tuple[Any, ...]) -> None:
            q, k, _, visibility = inputs[:4]
            found[place] = attention_statistics(mechanism, q, k, visibility)

        return hook

    handles = [
        mechanism.register_forward_pre_hook(hook_for(place))
        for place, mechanism in attention_modules(model).items()
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def measure_attention(model: Transformer, batch: Batch) -> dict[str, float]:
    """Statistics of one batch without dropout: `<site>/<statistic>`, averaged over layers."""
    was_training = model.training
    model.eval()
    with captured_statistics(model) as found:
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    model.train(was_training)
    report: dict[str, float] = {}
    for site in (ENCODER_SELF, DECODER_SELF, CROSS):
        layers = [values for (where, _), values in found.items() if where == site]
        for name, value in mean_by_name(layers).items():
            report[f"{site}/{name}"] = value
    return report
