"""Scores of the visible pairs, with all but one product kept out of the T x S plane."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from reluformer.errors import UserError
from reluformer.kernels.products import batched_product
from reluformer.visibility import Visibility


def centered(scores: Float[Tensor, "B H T S"], visibility: Visibility) -> Float[Tensor, "B H T S"]:
    """Scores minus each row's mean over its visible keys; 0 in rows that see a single key.

    The plain reference of `centered_keys`.
    """
    n = visibility.num_visible.clamp(min=1)
    mean = (scores * visibility.dense.to(scores.dtype)).sum(-1, keepdim=True) / n
    return (scores - mean) * (n > 1)  # one key: exactly 0, not what rounding leaves


def centered_keys(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], visibility: Visibility
) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H T"] | None]:
    """Keys whose scores, less an offset for each query, are centred over the visible keys.

    Where all queries see the same keys it is enough to centre those, and there is no offset. The
    offset is the mean of q . k, without any other factor.
    """
    wide = torch.promote_types(k.dtype, torch.float32)
    if visibility.causal:
        # What all keys have in common cancels: taken out first, it costs no digits in bf16.
        # Every query sees the first key, so taking that leaks nothing.
        k = (k.to(wide) - k[:, :, :1].to(wide)).to(k.dtype)
        return k, _causal_row_mean(q, k, visibility)
    n = visibility.num_visible.clamp(min=1)
    mask = visibility.key_mask(k)
    total = (k if mask is None else k * mask).sum(-2, keepdim=True, dtype=wide)
    return ((k.to(wide) - total / n) * (n > 1)).to(k.dtype), None


def _causal_row_mean(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], visibility: Visibility
) -> Float[Tensor, "B H T"]:
    """q . (mean of the keys up to each query): the mean score of each causal row.

    In float32 at least, as a long prefix in bf16 would lose digits.
    """
    wide = torch.promote_types(k.dtype, torch.float32)
    prefix = at_causal_queries(k.to(wide).cumsum(-2), q.shape[-2])
    mean_key = prefix / visibility.num_visible.clamp(min=1)
    return (q.to(wide) * mean_key).sum(-1)


def at_causal_queries(
    prefix: Float[Tensor, "B H S D"], num_queries: int
) -> Float[Tensor, "B H T D"]:
    """Of sums over the keys up to each: the one of each query, 0 for those that see no key.

    Causal queries and keys are aligned at their ends.
    """
    keyless = num_queries - prefix.shape[-2]
    return functional.pad(prefix, (0, 0, keyless, 0)) if keyless > 0 else prefix[..., -keyless:, :]


def visible_scores(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], visibility: Visibility
) -> Float[Tensor, "B H T S"]:
    """q . k, and exactly 0 wherever the query may not read the key. Factors belong into q.

    With right padding a causal query that is real never sees a padded key, so the triangle is all
    it needs; elsewhere a padded key becomes a key of zeros.
    """
    if visibility.causal:
        scores = batched_product(q, k.transpose(-1, -2))
        return scores.tril(k.shape[-2] - q.shape[-2]) if q.shape[-2] > 1 else scores
    mask = visibility.key_mask(k)
    return batched_product(q, (k if mask is None else k * mask).transpose(-1, -2))


def check_center(center: str) -> None:
    """Raise UserError unless `center` is none or row."""
    if center not in ("none", "row"):
        raise UserError(f"`center` must be none or row, but is {center!r}")
