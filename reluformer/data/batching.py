"""Which sentences make up which batch, and an endless, resumable stream of batches.

The order of batches depends on the lengths, the seed and the epoch, never on the number of
processes or workers; a position in it is two integers.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from reluformer.data.batch import Batch, collate
from reluformer.data.corpus import Split
from reluformer.data.windows import WindowedSequences
from reluformer.errors import UserError

Lengths = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]


def plan_batches(
    source_lengths: Lengths,
    target_lengths: Lengths,
    max_tokens: int,
    seed: int = 0,
    epoch: int = 0,
    shuffle: bool = True,
    attention_cost: float = 0.0,
) -> list[Ids]:
    """Batches of sentence ids that together hold every sentence once.

    A batch of R rows has R * width <= max_tokens, where width is the longest source or target
    in it, counting the EOS. With `attention_cost` c it has R * (width + c width^2) <= max_tokens,
    unless it is one row, so that long sentences need no more memory. Rows of a batch are of
    similar length; with `shuffle`, sentences of equal length meet in other batches each epoch and
    the batches come in random order, without it they are the same each time, from short to long.
    The given lengths exclude the EOS.
    Raises ValueError for a sentence that is wider than `max_tokens`; see `sentences_within`.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    num_sentences = len(source_lengths)
    order = random.permutation(num_sentences) if shuffle else np.arange(num_sentences)
    widths = padded_widths(source_lengths, target_lengths)
    key = _padding_order(source_lengths, target_lengths, widths)
    order = order[np.argsort(key[order], kind="stable")]
    cuts = _cut(widths[order], max_tokens, attention_cost)
    batches = [order[begin:end] for begin, end in pairwise(cuts)]
    return [batches[i] for i in random.permutation(len(batches))] if shuffle else batches


def padded_widths(source_lengths: Lengths, target_lengths: Lengths) -> Lengths:
    """Columns that a sentence pair needs: its longer side and the EOS."""
    return np.maximum(source_lengths, target_lengths) + np.int32(1)


def sentences_within(source_lengths: Lengths, target_lengths: Lengths, max_tokens: int) -> Ids:
    """The sentences that fit into a batch of `max_tokens` at all."""
    return np.flatnonzero(padded_widths(source_lengths, target_lengths) <= max_tokens)


class BatchStream:
    """Batches of a split without end, epoch after epoch, for one of `world_size` processes.

    All processes plan the same sequence of batches; in each round process r takes the r-th of
    the next `world_size` of them, across the border of an epoch if need be, so every process
    always gets a batch. `epoch` and `offset` (batches of this epoch already dealt out, to
    anyone) are therefore the same everywhere and mean the same at any world size.
    """

    def __init__(
        self,
        split: Split,
        max_tokens: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        skip_too_long: bool = False,
        attention_cost: float = 0.0,
    ) -> None:
        self.split = split
        self.max_tokens = max_tokens
        self.attention_cost = attention_cost
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.offset = 0
        source, target = split.source_lengths, split.target_lengths
        self._kept = sentences_within(source, target, max_tokens)
        self.num_skipped = len(source) - len(self._kept)
        if self.num_skipped and not skip_too_long:
            raise _too_long(split, padded_widths(source, target), max_tokens)
        if not len(self._kept):
            raise UserError(f"the {split.name} split has no sentence to make a batch of")
        self._source_lengths, self._target_lengths = source[self._kept], target[self._kept]
        self._plan = self._plan_epoch()

    @property
    def batches_in_epoch(self) -> int:
        """Batches of the current epoch, over all processes."""
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """This process's batch of the next round."""
        return collate(self.split, self.next_ids())

    def next_ids(self) -> Ids:
        """The sentences of this process's batch of the next round."""
        mine = self._deal(self.rank + 1)
        self._deal(self.world_size - self.rank - 1)
        return mine

    def skip(self, rounds: int) -> None:
        """Go on by this many rounds without reading any sentence."""
        self._deal(rounds * self.world_size)

    def widest(self) -> Batch:
        """The batch with the most padded positions, to find out early whether it fits."""
        widths = padded_widths(self._source_lengths, self._target_lengths)
        rows = [len(ids) * int(widths[ids].max()) for ids in self._plan]
        return collate(self.split, self._kept[self._plan[int(np.argmax(rows))]])

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "offset": self.offset, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position; UserError if it is one in another sequence of batches.

        The cost of attention, which is measured, stays what it was then.
        """
        self.attention_cost = state.get("attention_cost", 0.0)
        for key, value in self._identity().items():
            if state.get(key, 0) != value:
                raise UserError(
                    f"cannot continue the {self.split.name} data where it was left: "
                    f"`{key}` was {state.get(key, 0)} and is {value}"
                )
        position = state["epoch"], state["offset"]
        if not all(type(number) is int and number >= 0 for number in position):
            raise ValueError(f"no position: {position}")
        self.epoch, self.offset = position
        self._plan = self._plan_epoch()

    def _identity(self) -> dict[str, float]:
        """What the sequence of batches depends on."""
        return {
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "attention_cost": self.attention_cost,
            "num_sentences": len(self._kept),
            "num_source_tokens": int(self._source_lengths.sum(dtype=np.int64)),
            "num_target_tokens": int(self._target_lengths.sum(dtype=np.int64)),
        }

    def _deal(self, count: int) -> Ids:
        """Deal out `count` batches and return the last one's sentences."""
        self.offset += count
        while self.offset > len(self._plan):
            self.offset -= len(self._plan)
            self.epoch += 1
            self._plan = self._plan_epoch()
        return self._kept[self._plan[self.offset - 1]]

    def _plan_epoch(self) -> list[Ids]:
        return plan_batches(
            self._source_lengths,
            self._target_lengths,
            self.max_tokens,
            self.seed,
            self.epoch,
            attention_cost=self.attention_cost,
        )


def _padding_order(source: Lengths, target: Lengths, widths: Lengths) -> npt.NDArray[np.int64]:
    """A sort key that puts pairs of like shape next to one another.

    First by width, then by source minus target, upwards and downwards in turn, so that both
    lengths change little from one pair to the next, also where the width steps up.
    """
    difference = source.astype(np.int64) - target
    turn = np.where(widths % 2, difference, -difference)
    return (widths.astype(np.int64) << 32) + turn


def _cut(widths: Lengths, max_tokens: int, attention_cost: float) -> list[int]:
    """Borders of the longest batches within the budget, for rows in ascending order of width."""
    costs = np.minimum(widths * (1.0 + attention_cost * widths), max_tokens)
    if len(widths) and widths[-1] > max_tokens:
        raise ValueError(f"a sentence of width {widths[-1]} exceeds `max_tokens` ({max_tokens})")
    cuts = [0]
    while (begin := cuts[-1]) < len(widths):
        most = costs[begin : begin + int(max_tokens / costs[begin])]
        sizes = most * np.arange(1, len(most) + 1)  # non-decreasing, as the widths are
        cuts.append(begin + int(np.searchsorted(sizes, max_tokens, side="right")))
    return cuts


def _too_long(split: Split, widths: Lengths, max_tokens: int) -> UserError:
    worst = int(np.argmax(widths))
    what, remedy = "sentence", "prepare the corpus with a lower `max_length`"
    if isinstance(split.source, WindowedSequences):
        what, remedy = "window", "lower `windows.length`"
    return UserError(
        f"{what} {worst} of the {split.name} split needs {widths[worst]:,} tokens with its EOS, "
        f"but `max_tokens` is {max_tokens:,}; raise it, or {remedy}"
    )
