"""ReLUFormer's attention: rectified scores, a variance-reduction factor, a regulariser."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reluformer.attention.base import Attention, Penalty, Traits
from reluformer.attention.scores import centered, centered_keys, check_center
from reluformer.errors import UserError
from reluformer.kernels.attention import pointwise_attention
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
            fused=True,
        )

    @property
    def gain(self) -> Float[Tensor, " H"]:
        """What n^-1/2 is multiplied by: sqrt(2) / gamma; 1 with the factor switched off."""
        if not self.scale:
            return torch.ones_like(self.log_gamma)
        return math.sqrt(2) * torch.exp(-self.log_gamma)

    def factor(self, visibility: Visibility) -> Float[Tensor, "#B #H #T 1"]:
        """1 / (gamma sqrt(n / 2)) for each head and query; 1 with the factor switched off."""
        n = visibility.num_visible.clamp(min=1).double()
        return self.gain[:, None, None] * (n.rsqrt() if self.scale else torch.ones_like(n))

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
        entropies = with_penalty and self.entropy_term
        row_sums = with_penalty and (self.normalisation_term or self.entropy_term)
        offset = None
        if self.center == "row":
            k, offset = centered_keys(q, k, visibility)
            offset = None if offset is None else offset / math.sqrt(self.head_dim)
        found = pointwise_attention(
            q,
            k,
            v,
            visibility,
            activation="relu",
            gain=self.gain,
            alpha=0.5 if self.scale else 0.0,
            scale=1 / math.sqrt(self.head_dim),
            offset=offset,
            row_sums=row_sums,
            entropies=entropies,
            dropout=self.dropout if self.training else 0.0,
        )
        if found.row_sums is None:
            return found.contexts, None
        return found.contexts, self.penalty(found.row_sums, found.entropy_sums, visibility)

    def report(self) -> dict[str, float]:
        return {"gamma": float(self.log_gamma.detach().exp().mean())} if self.scale else {}

    def penalty(
        self,
        row_sums: Float[Tensor, "B H T"],
        entropy_sums: Float[Tensor, "B H T"] | None,
        visibility: Visibility,
    ) -> Penalty:
        """Both terms of the regulariser, summed over real rows and averaged over heads.

        From the sums of each row's weights P and, where wanted, of P ln P: the entropy of P
        divided by its sum r is ln r - sum P ln P / r.
        """
        counted = visibility.query_is_real
        if self.center == "row":
            counted = counted & (visibility.num_visible > 1).squeeze(-1)
        log_sum = row_sums.clamp(min=SMALLEST_ROW_SUM).log()
        normalisation = entropy = None
        if self.normalisation_term:
            normalisation = (log_sum.abs() * counted).sum() / self.num_heads
        if entropy_sums is not None:
            row_entropy = log_sum - entropy_sums * torch.exp(-log_sum)
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
    check_center(center)
    if not 0 <= entropy_c <= 1:
        raise UserError(f"`entropy_c` must lie in [0, 1], but is {entropy_c}")
