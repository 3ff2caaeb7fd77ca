"""Sparse distributions instead of softmax: sparsemax, 1.5-entmax, alpha-entmax, adaptive alpha."""

import importlib.util
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.errors import UserError
from reluformer.visibility import Visibility

# alpha-entmax and its gradient by alpha are undefined at alpha = 1: learned ones stay above this.
SMALLEST_LEARNED_ALPHA = 1.01
SPARSEMAX, ENTMAX15 = 2.0, 1.5
ADASPLASH_LARGEST_ALPHA = 2.0
ADASPLASH_HEAD_DIMS = (16, 32, 64, 128, 256)


class EntmaxAttention(Attention):
    """weights = alpha-entmax(q . k / sqrt(D)) over the visible keys.

    alpha-entmax(z)_j = [(alpha - 1) z_j - tau]_+ ^ (1 / (alpha - 1)), with tau such that the row
    sums to 1: sparsemax at alpha = 2, softmax in the limit alpha -> 1. `fixed` alpha 2 and 1.5 are
    solved exactly by sorting, others by bisection, all by the entmax package, in float32 at least.
    On a GPU, where the adasplash package is installed, self-attention with a fixed alpha and
    without dropout runs fused.

    `learned`: one alpha for each head, from the given value, as
    alpha = 1.01 + 0.99 sigmoid(a), which keeps it between 1.01 and 2.

    Source: Martins and Astudillo 2016 (sparsemax); Peters, Niculae and Martins 2019 (entmax);
    Correia, Niculae and Martins 2019, section 3 (learned). Differs from it in: the bound 1.01
    (theirs is 1, where the gradient does not exist).
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        *,
        alpha: float,
        alpha_mode: str,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(num_heads, head_dim, dropout)
        check_alpha(alpha, alpha_mode)
        if importlib.util.find_spec("entmax") is None:
            raise UserError(
                "sparsemax and entmax attention need the entmax package: "
                "pip install 'reluformer[baselines]'"
            )
        self.alpha_mode = alpha_mode
        self.fixed_alpha = alpha
        if alpha_mode == "learned":
            share = (alpha - SMALLEST_LEARNED_ALPHA) / (2 - SMALLEST_LEARNED_ALPHA)
            logit = math.log(share / (1 - share))
            self.alpha_logit = nn.Parameter(torch.full((num_heads,), logit))
        solved = alpha_mode == "fixed" and alpha <= ADASPLASH_LARGEST_ALPHA
        fused = solved and head_dim in ADASPLASH_HEAD_DIMS and has_adasplash()
        self.traits = Traits(
            normalised=True,
            non_negative=True,
            exact_zeros=True,
            shift_invariant=True,
            fused=fused,
        )

    @property
    def alpha(self) -> Float[Tensor, "H 1 1"]:
        """alpha of each head."""
        if self.alpha_mode == "fixed":
            return torch.tensor(self.fixed_alpha).expand(self.num_heads, 1, 1)
        share = self.alpha_logit.sigmoid()[:, None, None]
        return SMALLEST_LEARNED_ALPHA + (2 - SMALLEST_LEARNED_ALPHA) * share

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        hidden = ~visibility.dense
        sees_nothing = visibility.num_visible == 0  # a row of -inf alone would give NaN
        scores = self.scores(q, k)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = scores.masked_fill(hidden & ~sees_nothing, -torch.inf)
        return self._distribution(scores).masked_fill(hidden, 0.0).to(q.dtype)

    def _distribution(self, scores: Float[Tensor, "B H T S"]) -> Float[Tensor, "B H T S"]:
        import entmax

        if self.alpha_mode == "fixed" and self.fixed_alpha == SPARSEMAX:
            return entmax.sparsemax(scores, dim=-1)
        if self.alpha_mode == "fixed" and self.fixed_alpha == ENTMAX15:
            return entmax.entmax15(scores, dim=-1)
        alpha = self.fixed_alpha if self.alpha_mode == "fixed" else self.alpha.to(scores)
        return entmax.entmax_bisect(scores, alpha, dim=-1)

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        if self._runs_fused(q, k, visibility):
            return self._fused(q, k, v, visibility), None
        return super().forward(q, k, v, visibility)

    def _runs_fused(self, q: Tensor, k: Tensor, visibility: Visibility) -> bool:
        """Whether AdaSplash serves this call: self-attention over sentences that are not empty."""
        return (
            self.traits.fused
            and q.is_cuda
            and q.dtype in (torch.float32, torch.bfloat16, torch.float16)
            and q.shape[-2] == k.shape[-2] > 1
            and visibility.query_lengths is visibility.key_lengths
            and not (self.training and self.dropout > 0)
        )

    def _fused(
        self, q: Tensor, k: Tensor, v: Tensor, visibility: Visibility
    ) -> Float[Tensor, "B H T D"]:
        import adasplash

        lengths = visibility.key_lengths
        if lengths is None:
            lengths = torch.full((len(q),), k.shape[-2], device=q.device)
        return adasplash.adasplash_v1(
            q.contiguous(),
            k.contiguous(),
            v.contiguous(),
            alpha=self.fixed_alpha,
            is_causal=visibility.causal,
            varlen=lengths,
        )

    def report(self) -> dict[str, float]:
        return {"alpha": float(self.alpha.detach().mean())}


def has_adasplash() -> bool:
    """Whether AdaSplash's kernels can be used on this machine."""
    return torch.cuda.is_available() and importlib.util.find_spec("adasplash") is not None


def check_alpha(alpha: float, alpha_mode: str) -> None:
    """Raise UserError where alpha is outside what it may be."""
    if alpha_mode not in ("fixed", "learned"):
        raise UserError(f"`alpha_mode` must be fixed or learned, but is {alpha_mode!r}")
    if alpha_mode == "fixed" and not (1 < alpha < math.inf):
        raise UserError(
            f"`alpha` must be above 1 (1 is softmax: take attention softmax), but is {alpha}"
        )
    if alpha_mode == "learned" and not SMALLEST_LEARNED_ALPHA < alpha < 2:
        raise UserError(
            f"a learned `alpha` must start between {SMALLEST_LEARNED_ALPHA} and 2, but is {alpha}"
        )
