"""What attention weights look like, as numbers."""

import torch
from jaxtyping import Float
from torch import Tensor

from reluformer.attention.base import Attention, row_entropy
from reluformer.visibility import Visibility


def attention_statistics(
    mechanism: Attention,
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    visibility: Visibility,
) -> dict[str, float]:
    """Means over the real rows of all heads, and what the mechanism has learned (its `report`).

    entropy: nats, of the row divided by its sum, over rows that are not dead; NaN where weights
        may be negative and so are no distribution.
    sparsity: share of visible weights that are exactly 0.
    dead_rows: share of rows that see two keys or more and whose weights are all 0.
    row_sum: mean sum of weights.
    score_deviation: standard deviation of a = q . k / sqrt(D) over visible pairs.
    """
    weights = mechanism.weights(q, k, visibility).float()
    rows = visibility.query_is_real.expand(weights.shape[:3])
    pairs = (visibility.dense & visibility.query_is_real[..., None]).expand(weights.shape)
    sums = weights.sum(-1)
    could_live = rows & (visibility.num_visible > 1).squeeze(-1)
    dead = (weights == 0).all(-1)
    entropy = row_entropy(weights)[rows & ~dead] if mechanism.traits.non_negative else sums[:0]
    return {
        "entropy": _mean(entropy),
        "sparsity": _mean((weights[pairs] == 0).float()),
        "dead_rows": _mean(dead[could_live].float()),
        "row_sum": _mean(sums[rows]),
        "score_deviation": float(mechanism.scores(q, k).float()[pairs].std()),
        **mechanism.report(),
    }


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else float("nan")


def mean_by_name(entries: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each number over entries with the same names, ignoring NaN."""
    table = torch.tensor([list(entry.values()) for entry in entries])
    return dict(zip(entries[0], table.nanmean(0).tolist(), strict=True))
