"""What decoding remembers: of the source, of the positions decoded so far, and whose they are.

The beams of one sentence share its memory, so that reordering them moves no keys and no values:
every position that any of them ever had keeps its slot, and a table of ancestors says which slots
are a hypothesis's own past. K is the number of beams, and a slot is a step times K plus a beam.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class SourceMemory:
    """The source's keys and values at one cross-attention site, a row for each sentence."""

    def __init__(self, keys: Float[Tensor, "B H S D"], values: Float[Tensor, "B H S D"]) -> None:
        self.keys, self.values = keys.contiguous(), values.contiguous()  # every step reads them

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        self.keys = self.keys.index_select(0, sentences)
        self.values = self.values.index_select(0, sentences)


class TargetMemory:
    """The keys and values that all beams had so far at one self-attention site.

    The buffers double when full, so that appending costs little whatever the final length is.
    """

    def __init__(self, beam_size: int) -> None:
        self.beam_size = beam_size
        self.num_slots = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    @property
    def keys(self) -> Float[Tensor, "B H S D"]:
        assert self._keys is not None
        return self._keys[:, :, : self.num_slots]

    @property
    def values(self) -> Float[Tensor, "B H S D"]:
        assert self._values is not None
        return self._values[:, :, : self.num_slots]

    def append(self, keys: Float[Tensor, "N H 1 D"], values: Float[Tensor, "N H 1 D"]) -> None:
        """Add the newest position of every hypothesis."""
        self._keys = self._with(self._keys, keys)
        self._values = self._with(self._values, values)
        self.num_slots += self.beam_size

    def select(self, sentences: Int[Tensor, " B"]) -> None:
        """Keep these sentences, in this order."""
        assert self._keys is not None
        assert self._values is not None
        self._keys = self._keys.index_select(0, sentences)
        self._values = self._values.index_select(0, sentences)

    def _with(self, buffer: Tensor | None, added: Tensor) -> Tensor:
        added = added.squeeze(2).unflatten(0, (-1, self.beam_size)).transpose(1, 2)
        batch, heads, _, size = added.shape
        capacity = 0 if buffer is None else buffer.shape[2]
        if buffer is None or self.num_slots == capacity:
            grown = added.new_empty(batch, heads, max(2 * capacity, 16 * self.beam_size), size)
            if buffer is not None:
                grown[:, :, :capacity] = buffer
            buffer = grown
        buffer[:, :, self.num_slots : self.num_slots + self.beam_size] = added
        return buffer


class Ancestry:
    """Which slots are each hypothesis's own past: its beam's place at every step so far."""

    def __init__(self, num_sentences: int, beam_size: int, device: torch.device) -> None:
        self.beam_size = beam_size
        self.places = torch.zeros(
            num_sentences, beam_size, 0, dtype=torch.long, device=device
        )  # (B, K, T)

    def extend(self) -> None:
        """A step further: each hypothesis writes into its own slot."""
        own = torch.arange(self.beam_size, device=self.places.device)
        own = own.expand(len(self.places), -1)[..., None]
        self.places = torch.cat([self.places, own], dim=2)

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these hypotheses, in this order; one may be kept more than once."""
        self.places = self.places.flatten(0, 1)[rows].unflatten(0, (-1, self.beam_size))

    @property
    def visible(self) -> Bool[Tensor, "B 1 K S"]:
        """The slots that each hypothesis reads."""
        beams = torch.arange(self.beam_size, device=self.places.device)
        return (self.places[..., None] == beams).flatten(2)[:, None]


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
