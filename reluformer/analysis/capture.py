"""Reading attention inside a model without changing the run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from reluformer.analysis.statistics import (
    Tallies,
    add_tallies,
    attention_statistics,
    mean_by_name,
    tally_attention,
)
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
def captured_attention(model: Transformer) -> Iterator[dict[tuple[str, int], Tallies]]:
    """Within the block, every forward pass adds to the tallies of each (site, layer)."""
    found: dict[tuple[str, int], Tallies] = {}

    def hook_for(place: tuple[str, int]) -> Any:
        def hook(mechanism: Attention, inputs: tuple[Any, ...]) -> None:
            q, k, _, visibility = inputs[:4]
            more = tally_attention(mechanism, q, k, visibility)
            found[place] = add_tallies(found.get(place, {}), more)

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
def measure_attention(model: Transformer, batches: Sequence[Batch]) -> dict[str, float]:
    """Statistics of the batches without dropout: `<site>/<statistic>`, averaged over layers."""
    with captured_attention(model) as found:
        read(model, batches)
    report: dict[str, float] = {}
    for site in (ENCODER_SELF, DECODER_SELF, CROSS):
        layers = [
            attention_statistics(tallies) for (where, _), tallies in found.items() if where == site
        ]
        for name, value in mean_by_name(layers).items():
            report[f"{site}/{name}"] = value
    return report


@torch.no_grad()
def read(model: Transformer, batches: Sequence[Batch]) -> None:
    """Let the model read the batches, without dropout, for what listens inside it."""
    was_training = model.training
    model.eval()
    for batch in batches:
        model(batch.src_tokens, batch.src_lengths, batch.prev_output_tokens, batch.tgt_lengths)
    model.train(was_training)
