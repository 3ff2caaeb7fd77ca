"""What decoding remembers: of the source, of the positions decoded so far, and whose they are.

The beams of one sentence share its memory, so that reordering them moves no keys and no values:
every position that any of them ever had gets a slot, and a table of ancestors says which slots are
a hypothesis's own past. Beams soon have most of their past in common; now and then the slots that
are nobody's past any more are given up. K is the number of beams, T the steps so far, S the slots.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NEW_STEPS = 4  # that slots are made for at once, at least


class SourceMemory:
    """The source's keys and values at one cross-attention site, a row for each sentence."""

    def __init__(self, keys: Float[Tensor, "B H S D"], values: Float[Tensor, "B H S D"]) -> None:
        self.keys = keys.contiguous()  # every step reads them
        self.values = values.contiguous()

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)


class TargetMemory:
    """The keys and values that all beams had so far at one self-attention site.

    A slot for each that is still of use, and slots of zeros for the next steps (see `Ancestry`).
    """

    def __init__(self, beam_size: int) -> None:
        self.beam_size = beam_size
        self.num_slots = 0
        self.keys = torch.empty(0)  # (B, H, S, D)
        self.values = torch.empty(0)

    def append(self, keys: Float[Tensor, "N H 1 D"], values: Float[Tensor, "N H 1 D"]) -> None:
        """Add the newest position of every hypothesis."""
        if not self.num_slots:
            shape = len(keys) // self.beam_size, keys.shape[1], NEW_STEPS * self.beam_size
            self.keys = keys.new_zeros(*shape, keys.shape[-1])
            self.values = values.new_zeros(*shape, values.shape[-1])
        end = self.num_slots + self.beam_size
        for buffer, added in ((self.keys, keys), (self.values, values)):
            slots = added.squeeze(2).unflatten(0, (-1, self.beam_size)).transpose(1, 2)
            buffer[:, :, self.num_slots : end] = slots
        self.num_slots = end

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)

    def keep(self, slots: Int[Tensor, "B N"], capacity: int) -> None:
        """Keep these slots of each sentence, in this order, with zeros up to the capacity."""
        self.num_slots = slots.shape[1]
        self.keys, self.values = (
            _rearranged(buffer, slots, capacity) for buffer in (self.keys, self.values)
        )


def _rearranged(
    buffer: Float[Tensor, "B H S D"], slots: Int[Tensor, "B N"], capacity: int
) -> Float[Tensor, "B H C D"]:
    batch, heads, before, size = buffer.shape
    firsts = torch.arange(batch * heads, device=slots.device)[:, None] * before
    rows = firsts + slots.repeat_interleave(heads, dim=0)
    kept = buffer.flatten(0, 2).index_select(0, rows.flatten())
    new = buffer.new_zeros(batch, heads, capacity, size)
    new[:, :, : slots.shape[1]] = kept.unflatten(0, (batch, heads, -1))
    return new


class Ancestry:
    """Which slots are each hypothesis's own past."""

    def __init__(self, num_sentences: int, beam_size: int, device: torch.device) -> None:
        self.beam_size = beam_size
        self.num_slots = 0
        self.capacity = NEW_STEPS * beam_size
        self.slots = torch.zeros(
            num_sentences, beam_size, 0, dtype=torch.long, device=device
        )  # (B, K, T)

    def extend(self) -> None:
        """A step further: each hypothesis writes into a slot of its own."""
        own = torch.arange(self.beam_size, device=self.slots.device) + self.num_slots
        own = own.expand(len(self.slots), -1)[..., None]
        self.slots = torch.cat([self.slots, own], dim=2)
        self.num_slots += self.beam_size

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these hypotheses, in this order; one may be kept more than once."""
        self.slots = self.slots.flatten(0, 1)[rows].unflatten(0, (-1, self.beam_size))

    def tidy(self) -> Int[Tensor, "B N"] | None:
        """Where no step has room any more: give up the slots that are nobody's past, make new ones.

        Returns the old numbers of those that stay, in order (sentences with fewer than others keep
        some of the rest); None while there is room.
        """
        if self.num_slots + self.beam_size <= self.capacity:
            return None
        is_past = self.visible.any(2)[:, 0]
        self.num_slots = int(is_past.sum(1).max())
        self.capacity = self.num_slots + max(self.num_slots // 4, NEW_STEPS * self.beam_size)
        numbers = is_past.cumsum(1) - 1
        self.slots = numbers.gather(1, self.slots.flatten(1)).view_as(self.slots)
        return is_past.int().argsort(dim=1, descending=True, stable=True)[:, : self.num_slots]

    @property
    def visible(self) -> Bool[Tensor, "B 1 K S"]:
        """The slots that each hypothesis reads."""
        none = self.slots.new_zeros(*self.slots.shape[:2], self.capacity, dtype=torch.bool)
        return none.scatter_(2, self.slots, True)[:, None]


class QueryMemory:
    """What a mechanism remembers of earlier queries (`Attention.prepare_queries`), row by row."""

    def __init__(self) -> None:
        self.past: Tensor | None = None

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these rows, in this order; a row may be kept more than once."""
        if self.past is not None:
            self.past = self.past.index_select(0, rows)


class LayerMemory:
    """What one decoder layer remembers; of queries a row for each hypothesis."""

    def __init__(self, source: SourceMemory, beam_size: int) -> None:
        self.source = source
        self.target = TargetMemory(beam_size)
        self.self_queries = QueryMemory()
        self.cross_queries = QueryMemory()
