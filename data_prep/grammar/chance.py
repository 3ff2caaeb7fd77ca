"""Random choices that come out the same on every Python and every machine."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import TypeVar

Item = TypeVar("Item")


@cache
def _zipf(size: int) -> list[float]:
    """Cumulative shares of ranks 1..size with frequency proportional to (rank + 1) ** -1.3."""
    weights = list(accumulate((rank + 1) ** -1.3 for rank in range(1, size + 1)))
    return [weight / weights[-1] for weight in weights]


class Chance:
    """A seeded stream of choices.

    Only `random.Random.random` is used: Python promises its sequence for an integer seed, while
    `choice`, `shuffle` and the like have changed between versions.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def maybe(self, probability: float) -> bool:
        return self._random() < probability

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self._random() * limit)

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + self.below(high - low + 1)

    def log_between(self, low: int, high: int) -> int:
        """A whole number from low to high whose logarithm is spread evenly."""
        return min(high, int(low * ((high + 1) / low) ** self._random()))

    def pick(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def common(self, items: Sequence[Item]) -> Item:
        """An item, the first ones far more often than the last (Zipf's law)."""
        return items[min(bisect_right(_zipf(len(items)), self._random()), len(items) - 1)]

    def weighted(self, items: Sequence[tuple[Item, float]]) -> Item:
        """An item by its weight."""
        point = self._random() * sum(weight for _, weight in items)
        for item, weight in items:
            point -= weight
            if point < 0:
                return item
        return items[-1][0]

    def fork(self) -> int:
        """A seed for a stream of its own."""
        return self.below(1 << 48)
