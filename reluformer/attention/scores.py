"""Scores of the visible pairs, with all but one product kept out of the T x S plane."""

import torch
from jaxtyping import Float
from torch import Tensor

from reluformer.errors import UserError
from reluformer.visibility import Visibility


def centered(scores: Float[Tensor, "B H T S"], visibility: Visibility) -> Float[Tensor, "B H T S"]:
    """Scores minus each row's mean over its visible keys; 0 in rows that see a single key.

    The plain reference of `visible_scores`' centring.
    """
    n = visibility.num_visible.clamp(min=1)
    mean = (scores * visibility.dense.to(scores.dtype)).sum(-1, keepdim=True) / n
    return (scores - mean) * (n > 1)  # one key: exactly 0, not what rounding leaves


def visible_scores(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    visibility: Visibility,
    center: bool = False,
) -> Float[Tensor, "B H T S"]:
    """q . k, centred on request, and exactly 0 wherever the query may not read the key.

    Factors belong into q; a padded key becomes a key of zeros; centring subtracts a mean key.
    """
    if visibility.causal:
        return _causal_scores(q, k, visibility, center)
    mask = visibility.key_mask(k)
    if center:
        wide = torch.promote_types(k.dtype, torch.float32)
        n = visibility.num_visible.clamp(min=1)
        total = (k if mask is None else k * mask).sum(-2, keepdim=True, dtype=wide)
        k = ((k.to(wide) - total / n) * (n > 1)).to(k.dtype)
    if mask is not None:
        k = k * mask
    return q @ k.transpose(-1, -2)


def _causal_scores(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], visibility: Visibility, center: bool
) -> Float[Tensor, "B H T S"]:
    """With right padding a real query never sees a padded key, so the triangle is all it needs."""
    if center:
        # What all keys have in common cancels: taken out first, it costs no digits in bf16.
        # Every query sees the first key, so taking that leaks nothing.
        wide = torch.promote_types(k.dtype, torch.float32)
        k = (k.to(wide) - k[:, :, :1].to(wide)).to(k.dtype)
    scores = q @ k.transpose(-1, -2)
    if center:
        scores = scores - _causal_row_mean(q, k, visibility)
    if q.shape[-2] > 1:
        scores = scores.tril(k.shape[-2] - q.shape[-2])
    return scores


def _causal_row_mean(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], visibility: Visibility
) -> Float[Tensor, "B H T 1"]:
    """q . (mean of the keys up to each query): the mean score of each causal row.

    The cumulative sum runs in float32 at least, as a long prefix in bf16 would lose digits.
    """
    wide = torch.promote_types(k.dtype, torch.float32)
    prefix = k.to(wide).cumsum(-2)[..., k.shape[-2] - q.shape[-2] :, :]
    mean_key = prefix / visibility.num_visible.clamp(min=1)
    return (q.to(wide) * mean_key).sum(-1, keepdim=True).to(q.dtype)


def check_center(center: str) -> None:
    """Raise UserError unless `center` is none or row."""
    if center not in ("none", "row"):
        raise UserError(f"`center` must be none or row, but is {center!r}")
