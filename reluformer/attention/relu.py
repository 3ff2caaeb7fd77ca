"""ReLUFormer's attention: rectified scores, a variance-reduction factor, a regulariser."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.attention.scores import centered, check_center, visible_scores
from reluformer.errors import UserError
from reluformer.visibility import Visibility

# Below this sum a row counts as dead: its logarithm is clamped and carries no gradient.
SMALLEST_ROW_SUM = 1e-6


class ReluAttention(Attention):
    """weights = relu(a) / (gamma sqrt(n / 2)), a = q . k / sqrt(D), n = keys visible to that query.

    With unit-normal scores and values the factor holds the context's variance at 1 / gamma^2
    whatever n is. A row whose scores are all negative (a dead row) has a zero context.

    gamma, per head: `fixed` at the given value; `learned` in log space from that value;
    `calibrated` from a few batches before training (`reluformer.training.calibration`).
    `scale=False` leaves the factor out altogether (the ablation that the paper calls diverging).

    `center="row"` subtracts from a its mean over the visible keys, before the ReLU. A query that
    sees a single key (the first causal position) then has a score of exactly 0 and a zero
    context; it counts as a row without penalty.

    The penalty, for each row with sum r and entropy H of its weights divided by r:
    |ln r| + max(H - entropy_c ln n, 0); each term can be switched off. Sums and entropies are
    those of the weights before dropout.

    Source: Shen et al. 2023, arXiv 2302.06461, section 4, equations 5-7. Differs from it in:
    `center`, the modes of gamma (the paper gives no value), and the clamp of ln r at 1e-6.
    """

    def __init__(
        self,
        num_heads: int,
        head_dim: int,
        *,
        gamma: float,
        gamma_mode: str,
        scale: bool,
        center: str,
        normalisation_term: bool,
        entropy_term: bool,
        entropy_c: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(num_heads, head_dim, dropout)
        check_options(gamma, gamma_mode, scale, center, entropy_c)
        self.gamma_mode = gamma_mode
        self.scale = scale
        self.center = center
        self.normalisation_term = normalisation_term
        self.entropy_term = entropy_term
        self.entropy_c = entropy_c
        log_gamma = torch.full((num_heads,), math.log(gamma))
        if gamma_mode == "learned":
            self.log_gamma = nn.Parameter(log_gamma)
        else:
            self.register_buffer("log_gamma", log_gamma)
        # Centred scores of a row do not change when all of them are shifted.
        self.traits = Traits(
            normalised=False,
            non_negative=True,
            exact_zeros=True,
            shift_invariant=center == "row",
        )

    def factor(self, visibility: Visibility) -> Float[Tensor, "#B #H #T 1"]:
        """1 / (gamma sqrt(n / 2)) for each head and query; 1 with the factor switched off."""
        n = visibility.num_visible.clamp(min=1)
        if not self.scale:
            return torch.ones_like(n, dtype=self.log_gamma.dtype)
        return torch.exp(-self.log_gamma[:, None, None]) * (n.double() / 2).rsqrt()

    def weights(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        visibility: Visibility,
    ) -> Float[Tensor, "B H T S"]:
        scores = self.scores(q, k)
        if self.center == "row":
            scores = centered(scores, visibility)
        visible = visibility.dense.to(q.dtype)
        return scores.relu() * visible * self.factor(visibility).to(q.dtype)

    def forward(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S D"],
        visibility: Visibility,
        with_penalty: bool = False,
    ) -> tuple[Float[Tensor, "B H T D"], Penalty | None]:
        # relu(c a) = c relu(a) for c > 0: the factor goes into q instead of the T x S plane.
        q = q * (self.factor(visibility) / math.sqrt(self.head_dim)).to(q.dtype)
        scores = visible_scores(q, k, visibility, self.center == "row")
        weights = nn.functional.relu(scores, inplace=True)
        context = self.drop(weights) @ v
        wanted = with_penalty and (self.normalisation_term or self.entropy_term)
        return context, self.penalty(weights, visibility) if wanted else None

    def report(self) -> dict[str, float]:
        return {"gamma": float(self.log_gamma.detach().exp().mean())} if self.scale else {}

    def penalty(self, weights: Float[Tensor, "B H T S"], visibility: Visibility) -> Penalty:
        """Both terms of the regulariser, summed over real rows and averaged over heads."""
        wide = weights.to(torch.promote_types(weights.dtype, torch.float32))
        counted = visibility.query_is_real
        if self.center == "row":
            counted = counted & (visibility.num_visible > 1).squeeze(-1)
        log_sum = wide.sum(-1).clamp(min=SMALLEST_ROW_SUM).log()  # (B, H, T)
        normalisation = entropy = None
        if self.normalisation_term:
            normalisation = (log_sum.abs() * counted).sum() / self.num_heads
        if self.entropy_term:
            # The gradient of x ln x is infinite at 0, where the ReLU's own gradient is 0.
            row_entropy = log_sum - torch.xlogy(wide, wide).sum(-1) * torch.exp(-log_sum)
            allowed = self.entropy_c * visibility.num_visible.clamp(min=1).log().squeeze(-1)
            entropy = ((row_entropy - allowed).relu() * counted).sum() / self.num_heads
        return Penalty(normalisation, entropy)


def check_options(
    gamma: float, gamma_mode: str, scale: bool, center: str, entropy_c: float
) -> None:
    """Raise UserError where an option is outside what it may be."""
    if not (gamma > 0 and math.isfinite(gamma)):
        raise UserError(f"`gamma` must be a positive number, but is {gamma}")
    if gamma_mode not in ("fixed", "learned", "calibrated"):
        raise UserError(f"`gamma_mode` must be fixed, learned or calibrated, but is {gamma_mode!r}")
    if gamma_mode != "fixed" and not scale:
        raise UserError(f"`gamma_mode` {gamma_mode} needs `scale` true: without it gamma is unused")
    if gamma != 1 and not scale:
        raise UserError(f"`gamma` {gamma} needs `scale` true: without it gamma is unused")
    check_center(center)
    if not 0 <= entropy_c <= 1:
        raise UserError(f"`entropy_c` must lie in [0, 1], but is {entropy_c}")
