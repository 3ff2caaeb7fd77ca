"""How much attention adds to the residual stream, by layer and by the number of visible keys."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from reluformer.data.batch import Batch
from reluformer.model.transformer import CROSS, DECODER_SELF, ENCODER_SELF, Transformer

# Lengths are put together from one power of two to the next: 1, 2-3, 4-7, 8-15, ...
MAX_BUCKETS = 16


class VarianceTable:
    """Sums of variances by bucket of n, over as many batches as are added.

    The variance of a vector is that of its channels; `ratio` is that of the sublayer's update over
    that of the stream that it joins, each averaged over the positions of a bucket.
    """

    def __init__(self) -> None:
        self.update = torch.zeros(MAX_BUCKETS, dtype=torch.float64)
        self.stream = torch.zeros(MAX_BUCKETS, dtype=torch.float64)
        self.count = torch.zeros(MAX_BUCKETS, dtype=torch.int64)

    def add(
        self,
        update: Float[Tensor, "B T M"],
        stream: Float[Tensor, "B T M"],
        n: Int[Tensor, "B T"],
        real: Bool[Tensor, "B T"],
    ) -> None:
        """Count the real positions, each of which sees n keys."""
        bucket = n[real].double().log2().floor().long().cpu()
        for total, vectors in ((self.update, update), (self.stream, stream)):
            total.index_add_(0, bucket, vectors.var(-1)[real].double().cpu())
        self.count.index_add_(0, bucket, torch.ones_like(bucket))

    @property
    def overall(self) -> float:
        """Ratio over all positions."""
        return float(self.update.sum() / self.stream.sum())

    @property
    def ratio(self) -> dict[str, float]:
        """Ratio by bucket, such as `8-15`; buckets without a position are left out."""
        return {
            bucket_name(i): float(self.update[i] / self.stream[i])
            for i in range(MAX_BUCKETS)
            if self.count[i]
        }


def bucket_name(i: int) -> str:
    first, last = 2**i, 2 ** (i + 1) - 1
    return str(first) if first == last else f"{first}-{last}"


@contextmanager
def captured_variance(
    model: Transformer, batch: Batch, tables: dict[tuple[str, int], VarianceTable]
) -> Iterator[None]:
    """Within the block, a forward pass of this batch adds to the table of each site and layer."""
    source, target = _positions(batch.src_lengths), _positions(batch.tgt_lengths)
    source_n = batch.src_lengths[:, None]
    places: list[tuple[tuple[str, int], nn.Module, Tensor, Tensor]] = []
    for i, layer in enumerate(model.encoder_stack):
        n, real = source_n.expand_as(source), source < source_n
        places.append(((ENCODER_SELF, i), layer.self_attention_residual, n, real))
    for i, decoder_layer in enumerate(model.decoder_stack):
        real = target < batch.tgt_lengths[:, None]
        own, across = decoder_layer.self_attention_residual, decoder_layer.cross_attention_residual
        places.append(((DECODER_SELF, i), own, (target + 1).expand_as(real), real))
        places.append(((CROSS, i), across, source_n.expand_as(real), real))

    def hook_for(place: tuple[str, int], n: Tensor, real: Tensor) -> Any:
        def hook(residual: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
            stream, update = inputs
            tables.setdefault(place, VarianceTable()).add(update, stream, n, real)

        return hook

    with ExitStack() as stack:
        for place, residual, n, real in places:
            handle = residual.register_forward_pre_hook(hook_for(place, n, real))
            stack.callback(handle.remove)
        yield


def _positions(lengths: Int[Tensor, " B"]) -> Int[Tensor, "B T"]:
    """0, 1, ... up to the longest, for each sentence."""
    positions = torch.arange(int(lengths.max()), device=lengths.device)
    return positions.expand(len(lengths), -1)
