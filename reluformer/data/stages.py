"""From one kind of batches to others in the course of training: from sentences to documents."""

from collections.abc import Iterator, Sequence
from typing import Any

from reluformer.data.batch import Batch
from reluformer.data.batching import BatchStream


class Stages:
    """So many batches of each of the earlier streams, over all processes, and then the last one.

    Source: Bao et al. 2021 ("G-Transformer for Document-level Machine Translation"), section 5,
    and the literature there: a model that begins with documents may never learn to align them.
    """

    def __init__(self, earlier: Sequence[tuple[BatchStream, int]], last: BatchStream) -> None:
        self.earlier = list(earlier)
        self.last = last
        self.dealt = 0

    @property
    def batches(self) -> int:
        """Those before the last stage."""
        return sum(batches for _, batches in self.earlier)

    @property
    def current(self) -> BatchStream:
        ended = 0
        for stream, batches in self.earlier:
            ended += batches
            if self.dealt < ended:
                return stream
        return self.last

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """This process's batch of the next round."""
        stream = self.current
        self.dealt += stream.world_size
        return next(stream)

    def state_dict(self) -> dict[str, Any]:
        streams = [stream.state_dict() for stream in self._streams()]
        return {"epoch": self.current.epoch, "dealt": self.dealt, "streams": streams}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position; UserError if it is one in another sequence of batches."""
        for stream, saved in zip(self._streams(), state["streams"], strict=True):
            stream.load_state_dict(saved)
        self.dealt = state["dealt"]

    def _streams(self) -> list[BatchStream]:
        return [*(stream for stream, _ in self.earlier), self.last]
