"""What attention weights look like, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reluformer.attention.base import Attention, row_entropy
from reluformer.visibility import Visibility

MOST_SCORES = 2**21  # that are looked at together


@dataclass(frozen=True)
class Tally:
    """Count, sum and sum of squares of some values, of as many batches as are added up.

    So a statistic is of all rows alike, however they were put into batches.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: Tensor) -> "Tally":
        values = values.double()
        return cls(values.numel(), float(values.sum()), float(values.square().sum()))

    def __add__(self, other: "Tally") -> "Tally":
        sums = self.count + other.count, self.total + other.total, self.squares + other.squares
        return Tally(*sums)

    @property
    def mean(self) -> float:
        """NaN of nothing."""
        return self.total / self.count if self.count else float("nan")

    @property
    def variance(self) -> float:
        """Without Bessel's correction."""
        return max(self.squares / self.count - self.mean**2, 0.0) if self.count else float("nan")


Tallies = Mapping[str, Tally]


def add_tallies(before: Tallies, more: Tallies) -> dict[str, Tally]:
    """Those of both, by name."""
    return {name: before.get(name, Tally()) + tally for name, tally in more.items()}


def tally_attention(
    mechanism: Attention,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    visibility: Visibility,
) -> dict[str, Tally]:
    """What `attention_statistics` are of, some queries at a time: the memory that this needs does
    not grow with the square of the length."""
    scores_of_query = q.shape[0] * q.shape[1] * k.shape[2]
    step = max(1, MOST_SCORES // max(scores_of_query, 1))
    tallies: dict[str, Tally] = {}
    for begin in range(0, q.shape[2], step):
        part = visibility.part(begin, min(begin + step, q.shape[2]))
        rows = q[:, :, begin : begin + step]
        tallies = add_tallies(tallies, _tally(mechanism, rows, k[:, :, : part.num_keys], part))
    learned = {name: Tally(1, value, value**2) for name, value in mechanism.report().items()}
    return tallies | learned


def _tally(
    mechanism: Attention,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    visibility: Visibility,
) -> dict[str, Tally]:
    weights = mechanism.weights(q, k, visibility).float()
    rows = visibility.query_is_real.expand(weights.shape[:3])
    pairs = (visibility.dense & visibility.query_is_real[..., None]).expand(weights.shape)
    sums = weights.sum(-1)
    could_live = rows & (visibility.num_visible > 1).squeeze(-1)
    dead = (weights == 0).all(-1)
    entropy = row_entropy(weights)[rows & ~dead] if mechanism.traits.non_negative else sums[:0]
    return {
        "entropy": Tally.of(entropy),
        "sparsity": Tally.of(weights[pairs] == 0),
        "dead_rows": Tally.of(dead[could_live]),
        "row_sum": Tally.of(sums[rows]),
        "score_deviation": Tally.of(mechanism.scores(q, k)[pairs]),
    }


def attention_statistics(tallies: Tallies) -> dict[str, float]:
    """Means over the real rows of all heads, and what the mechanism has learned (its `report`).

    entropy: nats, of the row divided by its sum, over rows that are not dead; NaN where weights
        may be negative and so are no distribution.
    sparsity: share of visible weights that are exactly 0.
    dead_rows: share of rows that see two keys or more and whose weights are all 0.
    row_sum: mean sum of weights.
    score_deviation: standard deviation over visible pairs of the scores a = q . k / sqrt(D), of
        queries and keys as the mechanism hands them over (SimA's queries are normalised by then).
    """
    values = {name: tally.mean for name, tally in tallies.items()}
    return values | {"score_deviation": tallies["score_deviation"].variance ** 0.5}


def mean_by_name(entries: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each number over entries with the same names, ignoring NaN."""
    table = torch.tensor([list(entry.values()) for entry in entries])
    return dict(zip(entries[0], table.nanmean(0).tolist(), strict=True))
