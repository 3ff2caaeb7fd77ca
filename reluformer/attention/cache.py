"""What decoding remembers of the positions decoded so far."""

from jaxtyping import Float, Int
from torch import Tensor


class KeyValueCache:
    """The keys and values of one attention site, row by row of the beam.

    Self-attention appends to it at every step; cross-attention fills it once from the encoder.
    The buffers double when full, so that appending costs little whatever the final length is.
    """

    def __init__(self) -> None:
        self.length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    @property
    def keys(self) -> Float[Tensor, "N H S D"]:
        assert self._keys is not None
        return self._keys[:, :, : self.length]

    @property
    def values(self) -> Float[Tensor, "N H S D"]:
        assert self._values is not None
        return self._values[:, :, : self.length]

    def append(self, keys: Float[Tensor, "N H S D"], values: Float[Tensor, "N H S D"]) -> None:
        """Add positions behind those already here."""
        added = keys.shape[2]
        if self._keys is None or self._values is None:
            self._keys, self._values = keys, values
        else:
            if self.length + added > self._keys.shape[2]:
                self._keys = self._grow(self._keys, added)
                self._values = self._grow(self._values, added)
            self._keys[:, :, self.length : self.length + added] = keys
            self._values[:, :, self.length : self.length + added] = values
        self.length += added

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these rows, in this order; a row may be kept more than once."""
        if self._keys is not None and self._values is not None:
            self._keys = self._keys.index_select(0, rows)
            self._values = self._values.index_select(0, rows)

    def _grow(self, buffer: Tensor, added: int) -> Tensor:
        rows, heads, capacity, size = buffer.shape
        grown = buffer.new_empty(rows, heads, max(2 * capacity, self.length + added, 16), size)
        grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown


class QueryMemory:
    """What a mechanism remembers of earlier queries (`Attention.prepare_queries`), row by row."""

    def __init__(self) -> None:
        self.past: Tensor | None = None

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these rows, in this order; a row may be kept more than once."""
        if self.past is not None:
            self.past = self.past.index_select(0, rows)


class LayerCache:
    """One decoder layer's memory: keys and values of the target so far and of the source.

    All of it has a row for each beam, except the source's keys and values: those have one for
    each sentence.
    """

    def __init__(self, source: KeyValueCache) -> None:
        self.source = source
        self.target = KeyValueCache()
        self.self_queries = QueryMemory()
        self.cross_queries = QueryMemory()

    def select(self, rows: Int[Tensor, " N"]) -> None:
        """Keep these beams, in this order."""
        self.target.select(rows)
        self.self_queries.select(rows)
        self.cross_queries.select(rows)
