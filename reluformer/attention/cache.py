"""What decoding remembers: of the source, of the positions decoded so far, and whose they are.

The beams of one sentence share its memory, so that reordering them moves no keys and no values: a
table of ancestors says which slots are a hypothesis's own past. A new position is written where
nobody's past is any more. K is the number of beams, T the steps so far, S the slots in use,
rounded up.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

MULTIPLE = 8  # of slots: products of few sizes, whose code is generated once


class SourceMemory:
    """The source's keys and values at one cross-attention site, a row for each sentence."""

    def __init__(self, keys: Float[Tensor, "B H S D"], values: Float[Tensor, "B H S D"]) -> None:
        self.keys = keys.contiguous()  # every step reads them
        self.values = values.contiguous()

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)


class Ancestry:
    """Which slots are each hypothesis's own past: of one hypothesis a sentence, until `select`."""

    def __init__(self, num_sentences: int, device: torch.device) -> None:
        self.slots = torch.zeros(num_sentences, 1, 0, dtype=torch.long, device=device)  # (B, K, T)
        self.newest = self.slots.new_zeros(num_sentences, 1)  # (B, K), where the last step writes
        self.num_slots = 0

    def extend(self) -> None:
        """A step further: each hypothesis writes into a slot of its own, the first that are free.

        Which those are depends on no other sentence.
        """
        beams = self.slots.shape[1]
        is_past = torch.nn.functional.pad(self.visible.any(2)[:, 0], (0, beams))
        self.newest = is_past.int().argsort(dim=1, stable=True)[:, :beams]
        self.slots = torch.cat([self.slots, self.newest[..., None]], dim=2)
        self.num_slots = (int(self.slots.max()) // MULTIPLE + 1) * MULTIPLE

    def select(self, rows: Int[Tensor, "B K"]) -> None:
        """Keep these hypotheses, in this order; one may be kept more than once."""
        self.slots = self.slots.flatten(0, 1)[rows]

    @property
    def visible(self) -> Bool[Tensor, "B 1 K S"]:
        """The slots that each hypothesis reads."""
        none = self.slots.new_zeros(*self.slots.shape[:2], self.num_slots, dtype=torch.bool)
        return none.scatter_(2, self.slots, True)[:, None]


class TargetMemory:
    """The keys and values that all beams had so far at one self-attention site, in slots.

    Slots of nobody's past hold zeros or what was there before, which is finite.
    """

    def __init__(self, ancestry: Ancestry, like: Float[Tensor, "B H _ D"]) -> None:
        """For heads as those of `like`."""
        self.ancestry = ancestry
        batch, heads, _, size = like.shape
        # (B, H, slots, D), of which those in use come first
        self.key_slots = like.new_zeros(batch, heads, 0, size)
        self.value_slots = like.new_zeros(batch, heads, 0, size)

    @property
    def keys(self) -> Float[Tensor, "B H S D"]:
        return self.key_slots[:, :, : self.ancestry.num_slots]

    @property
    def values(self) -> Float[Tensor, "B H S D"]:
        return self.value_slots[:, :, : self.ancestry.num_slots]

    def reserve(self) -> None:
        """Have more slots than are in use: never as many, which torch.compile would take for a
        case of its own."""
        used, there = self.ancestry.num_slots, self.key_slots.shape[2]
        if there <= used:
            more = (0, 0, 0, used + used // 2 - there)
            self.key_slots = torch.nn.functional.pad(self.key_slots, more)
            self.value_slots = torch.nn.functional.pad(self.value_slots, more)

    def write(self, keys: Float[Tensor, "N H 1 D"], values: Float[Tensor, "N H 1 D"]) -> None:
        """The newest position of every hypothesis."""
        slots = self.ancestry.newest
        sentences = torch.arange(len(slots), device=slots.device)[:, None]
        for buffer, added in ((self.key_slots, keys), (self.value_slots, values)):
            buffer[sentences, :, slots] = added.squeeze(2).unflatten(0, slots.shape)

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        self.key_slots = self.key_slots.index_select(0, sentences)
        self.value_slots = self.value_slots.index_select(0, sentences)


class QueryMemory:
    """What a mechanism remembers of earlier queries (`Attention.prepare_queries`), row by row."""

    def __init__(self) -> None:
        self.past: Tensor | None = None

    def select(self, rows: Int[Tensor, "B K"]) -> None:
        """Keep these rows, in this order; a row may be kept more than once."""
        if self.past is not None:
            self.past = self.past.index_select(0, rows.flatten())


class LayerMemory:
    """What one decoder layer remembers; of queries a row for each hypothesis."""

    def __init__(self, source: SourceMemory, ancestry: Ancestry) -> None:
        self.source = source
        self.target = TargetMemory(ancestry, source.keys)
        self.self_queries = QueryMemory()
        self.cross_queries = QueryMemory()
