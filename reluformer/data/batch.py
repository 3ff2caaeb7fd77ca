"""A batch of sentence pairs as padded tensors, and how to make one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int64
from torch import Tensor

from reluformer.data.corpus import Split
from reluformer.data.vocabulary import BOS, EOS, PAD


@dataclass(frozen=True)
class Batch:
    """B sentence pairs, right-padded with PAD. Every source and target ends with EOS.

    The lengths count the EOS; `prev_output_tokens` is `target` shifted right behind a BOS, so
    position t of it predicts position t of `target`. The token counts are the sums of the
    lengths, as plain integers so that asking for them never waits for the device.
    """

    src_tokens: Int64[Tensor, "B S"]
    src_lengths: Int64[Tensor, " B"]
    prev_output_tokens: Int64[Tensor, "B T"]
    target: Int64[Tensor, "B T"]
    tgt_lengths: Int64[Tensor, " B"]
    ids: Int64[np.ndarray, " B"]
    num_source_tokens: int
    num_target_tokens: int

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device; a GPU's copies from pinned memory do not block."""
        to_gpu = torch.device(device).type == "cuda"
        moved: dict[str, Any] = {
            name: (value.pin_memory() if to_gpu and value.device.type == "cpu" else value).to(
                device, non_blocking=True
            )
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)

    @property
    def target_places(self) -> Int64[Tensor, " N"]:
        """Where real target positions are in the flattened target, in order.

        As N is known, nothing waits for the device, as it would for what a mask picks out.
        """
        lengths, width = self.tgt_lengths, self.target.shape[1]
        before = torch.arange(len(lengths), device=lengths.device) * width
        before += lengths - lengths.cumsum(0)  # less all earlier real positions
        number = self.num_target_tokens
        rows = torch.repeat_interleave(before, lengths, output_size=number)
        return rows + torch.arange(number, device=lengths.device)

    def halves(self) -> list["Batch"]:
        """The batch as two of half as many rows, or as it is if it has one row only."""
        middle = (len(self) + 1) // 2
        parts = [slice(0, middle), slice(middle, len(self))]
        return [self._rows(part) for part in parts] if len(self) > 1 else [self]

    def _rows(self, rows: slice) -> "Batch":
        src_lengths, tgt_lengths = self.src_lengths[rows], self.tgt_lengths[rows]
        source, target = slice(int(src_lengths.max())), slice(int(tgt_lengths.max()))
        return Batch(
            src_tokens=self.src_tokens[rows, source],
            src_lengths=src_lengths,
            prev_output_tokens=self.prev_output_tokens[rows, target],
            target=self.target[rows, target],
            tgt_lengths=tgt_lengths,
            ids=self.ids[rows],
            num_source_tokens=int(src_lengths.sum()),
            num_target_tokens=int(tgt_lengths.sum()),
        )


def collate(split: Split, ids: npt.NDArray[np.integer]) -> Batch:
    """The sentence pairs `ids` of a split, in this order."""
    source, src_lengths = split.source.take(ids)
    target, tgt_lengths = split.target.take(ids)
    padded = pad_rows(target, tgt_lengths)
    prev_output_tokens = np.roll(padded, 1, axis=1)  # its last column is PAD everywhere
    prev_output_tokens[:, 0] = BOS
    return Batch(
        src_tokens=torch.from_numpy(end_rows(pad_rows(source, src_lengths), src_lengths)),
        src_lengths=torch.from_numpy(src_lengths + 1),
        prev_output_tokens=torch.from_numpy(prev_output_tokens),
        target=torch.from_numpy(end_rows(padded, tgt_lengths)),
        tgt_lengths=torch.from_numpy(tgt_lengths + 1),
        ids=np.asarray(ids, dtype=np.int64),
        num_source_tokens=int(src_lengths.sum()) + len(ids),
        num_target_tokens=int(tgt_lengths.sum()) + len(ids),
    )


def collate_sources(
    sentences: Sequence[Sequence[int]],
) -> tuple[Int64[Tensor, "B S"], Int64[Tensor, " B"]]:
    """Source tokens, padded and ended with EOS, and their lengths (counting the EOS)."""
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    tokens = np.fromiter((token for row in sentences for token in row), dtype=np.int64)
    rows = end_rows(pad_rows(tokens, lengths), lengths)
    return torch.from_numpy(rows), torch.from_numpy(lengths + 1)


def pad_rows(
    tokens: Int64[np.ndarray, " N"], lengths: Int64[np.ndarray, " B"]
) -> Int64[np.ndarray, "B T"]:
    """Rows of PAD, one column longer than the longest sequence, filled from the left."""
    rows = np.full((len(lengths), int(lengths.max()) + 1), PAD, dtype=np.int64)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = tokens
    return rows


def end_rows(
    rows: Int64[np.ndarray, "B T"], lengths: Int64[np.ndarray, " B"]
) -> Int64[np.ndarray, "B T"]:
    """Put EOS behind each row's last token, in place."""
    rows[np.arange(len(rows)), lengths] = EOS
    return rows
