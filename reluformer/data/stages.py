"""From one kind of batches to another in the course of training: from sentences to documents."""

from collections.abc import Iterator
from typing import Any

from reluformer.data.batch import Batch
from reluformer.data.batching import BatchStream


class Stages:
    """The first `batches` of one stream, over all processes, and then those of another.

    Source: Bao et al. 2021 ("G-Transformer for Document-level Machine Translation"), section 5,
    and the literature there: a model that begins with documents may never learn to align them.
    """

    def __init__(self, first: BatchStream, batches: int, second: BatchStream) -> None:
        self.first = first
        self.batches = batches
        self.second = second
        self.dealt = 0

    @property
    def current(self) -> BatchStream:
        return self.first if self.dealt < self.batches else self.second

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """This process's batch of the next round."""
        stream = self.current
        self.dealt += stream.world_size
        return next(stream)

    def state_dict(self) -> dict[str, Any]:
        streams = {"first": self.first.state_dict(), "second": self.second.state_dict()}
        return {"epoch": self.current.epoch, "dealt": self.dealt, **streams}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position; UserError if it is one in another sequence of batches."""
        self.first.load_state_dict(state["first"])
        self.second.load_state_dict(state["second"])
        self.dealt = state["dealt"]
