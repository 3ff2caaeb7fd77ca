"""Feed-forward networks as key-value memories: how much they say, from how many slots."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from reluformer.analysis.capture import read
from reluformer.analysis.statistics import Tallies, Tally, add_tallies, mean_by_name
from reluformer.data.batch import Batch
from reluformer.model.ffn import FeedForward
from reluformer.model.transformer import Transformer

# Shares of the slots whose weight is compared with that of all, by their names in reports.
TOP_SHARES = {"top_0.2%": 0.002, "top_1%": 0.01, "top_10%": 0.1}
VARIANCES = ("update", "stream")  # tallies that only their variances' ratio is reported of
ENCODER, DECODER = FFN_SITES = ("encoder_ffn", "decoder_ffn")


Place = tuple[str, int]  # site and layer, from 0


def measure_ffn(model: Transformer, batches: Sequence[Batch]) -> dict[str, float]:
    """Statistics of the batches without dropout: `<site>/<statistic>`, averaged over layers.

    variance_ratio: variance of the network's output before it joins the residual stream, over that
        of the stream there, each over all channels of the real positions.
    top_<share>: part of a position's absolute slot weights that its largest `share` of slots holds;
        mean over the real positions that take anything from any slot. NaN if that is no slot.
    anisotropy: mean cosine between the values of two different slots.

    Source: Shen et al. 2023, section 3. Differs from it in: the variance's reference, ours, is the
    stream that the output joins. Networks without slots have a variance ratio only.
    """
    found: dict[Place, Tallies] = {}
    for batch in batches:
        with captured_ffn(model, batch, found):
            read(model, [batch])
    report: dict[str, float] = {}
    for site in FFN_SITES:
        layers = [ffn_statistics(tallies) for (where, _), tallies in found.items() if where == site]
        for name, value in mean_by_name(layers).items():
            report[f"{site}/{name}"] = value
    return report


@contextmanager
def captured_ffn(model: Transformer, batch: Batch, found: dict[Place, Tallies]) -> Iterator[None]:
    """Within the block, a forward pass of this batch adds to the tallies of each place."""
    places: list[tuple[Place, Any, Tensor]] = [
        *(((ENCODER, i), layer, batch.src_lengths) for i, layer in enumerate(model.encoder_stack)),
        *(((DECODER, i), layer, batch.tgt_lengths) for i, layer in enumerate(model.decoder_stack)),
    ]

    def hook_for(place: Place, layer: Any, lengths: Tensor) -> Any:
        def hook(residual: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
            stream, update = inputs
            real = torch.arange(stream.shape[1], device=lengths.device) < lengths[:, None]
            more = tally_ffn(layer, stream, update, real)
            found[place] = add_tallies(found.get(place, {}), more)

        return hook

    handles = [
        layer.ffn_residual.register_forward_pre_hook(hook_for(place, layer, lengths))
        for place, layer, lengths in places
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def tally_ffn(
    layer: Any,
    stream: Float[Tensor, "B T M"],
    update: Float[Tensor, "B T M"],
    real: Bool[Tensor, "B T"],
) -> dict[str, Tally]:
    """Those of one layer, where `update` of its network joins the stream."""
    tallies = {"update": Tally.of(update[real]), "stream": Tally.of(stream[real])}
    if isinstance(layer.ffn, FeedForward):
        slots = layer.ffn.slots(layer.ffn_residual.enter(stream))
        tallies |= concentration(slots[real].float())
        value = anisotropy(layer.ffn.values.weight.float().T)
        tallies["anisotropy"] = Tally(1, value, value**2)
    return tallies


def ffn_statistics(tallies: Tallies) -> dict[str, float]:
    """What `measure_ffn` reports of one layer."""
    ratio = tallies["update"].variance / tallies["stream"].variance
    means = {name: tally.mean for name, tally in tallies.items() if name not in VARIANCES}
    return {"variance_ratio": ratio, **means}


def concentration(slots: Float[Tensor, "N F"]) -> dict[str, Tally]:
    """The part of all absolute weight that the largest slots of each position hold."""
    sizes = slots.abs().sort(dim=-1, descending=True).values
    totals = sizes.sum(-1)
    sizes, totals = sizes[totals > 0], totals[totals > 0]
    tallies = {}
    for name, share in TOP_SHARES.items():
        count = round(share * slots.shape[-1])
        tallies[name] = Tally.of(sizes[:, :count].sum(-1) / totals) if count else Tally()
    return tallies


def anisotropy(values: Float[Tensor, "F M"]) -> float:
    """Mean cosine between different rows; NaN of fewer than two."""
    count = len(values)
    if count < 2:
        return float("nan")
    units = functional.normalize(values, dim=-1)
    cosines = units.sum(0).square().sum() - units.square().sum()  # of all pairs of different ones
    return float(cosines / (count * (count - 1)))
